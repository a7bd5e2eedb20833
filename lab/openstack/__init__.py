"""A real OpenStack on one machine, for tests and trials. See `OpenStackLab`."""

from lab.openstack.cloud import RunningCloud
from lab.openstack.daemons import StartError
from lab.openstack.faults import Call, Fault, Faults
from lab.openstack.lab import OpenStackLab

__all__ = ["Call", "Fault", "Faults", "OpenStackLab", "RunningCloud", "StartError"]

# mypy: disable-error-code="import-not-found, misc"
"""Neutron's mechanism driver of the lab: binds each port on each host, as no agent is there to do so."""

from __future__ import annotations

from typing import Any

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class AnyHostDriver(api.MechanismDriver):
    """Every port is up as soon as it is bound."""

    @property
    def connectivity(self) -> str:
        """What neutron asks of each driver."""
        return str(portbindings.CONNECTIVITY_L2)

    def initialize(self) -> None:
        """Nothing to set up."""

    def bind_port(self, context: Any) -> None:
        """Bind to the first segment that neutron offers."""
        for segment in context.segments_to_bind[:1]:
            context.set_binding(segment[api.ID], portbindings.VIF_TYPE_OVS, {}, constants.PORT_STATUS_ACTIVE)

"""The Cloud contract over real OpenStack: the cases of tests/test_cloud_contract.py, with tags and with metadata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ehoslite.clouds.openstack import OpenStack
from ehoslite.model import Server
from ehoslite.options import Megabytes, Place
from ehoslite.settings import FlavorChoice, OpenStackCloudSettings
from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from tests.test_cloud_contract import *  # noqa: F403 - the cases are the contract


class OpenStackBackend:
    small, large = "m1.small", "c4.large"

    def __init__(self, lab: OpenStackLab, microversion: str) -> None:
        self.lab = lab
        self.settings = OpenStackCloudSettings(
            image="debian-12",
            flavors=(FlavorChoice(self.small), FlavorChoice(self.large)),
            cloud=lab.name,
            clouds_yaml=Place(Path(lab.clouds_yaml)),
            networks=("internal",),
            memory_reserved=Megabytes(0),
            disk_reserved=Megabytes(0),
            max_microversion=microversion,
        )

    def cloud(self, pool: str = "mine") -> OpenStack:
        return OpenStack("here", self.settings, pool, lambda: 60.0)

    def stop_by_hand(self, server: Server) -> None:
        cloud = self.cloud()
        cloud.calls.post("compute", f"/servers/{server.id}/action", {"os-stop": None}, "2.1")

    def fail_next_build(self) -> None:
        self.lab.set_knobs(fail_build=1, fail_text="the disk is on fire")

    def remains(self, server: Server) -> bool:
        return bool(self.lab.find_processes(server.id))


@pytest.fixture(params=["2.96", "2.51"], ids=["tags", "metadata"])  # type: ignore[no-redef]
def backend(beta: OpenStackLab, request: pytest.FixtureRequest) -> Iterator[OpenStackBackend]:
    """Beta with a quota of three servers; node names are as a pass gives them, for a Nova without tags."""
    beta.set_quota(instances=3, cores=9, ram=9000)
    made = OpenStackBackend(beta, request.param)
    yield made
    beta.clear_knobs()
    for pool in ("mine", "theirs"):
        for server in made.cloud(pool).servers():
            made.cloud(pool).delete(server)
    wait_until(lambda: not made.cloud("mine").servers() and not made.cloud("theirs").servers(), 60, "an empty cloud")

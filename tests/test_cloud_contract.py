"""What every cloud does, whatever it is made of: these cases are the definition of the Cloud interface."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pytest

from ehoslite.clouds import Cloud
from ehoslite.clouds.local import LocalCloud, Trial, processes_of
from ehoslite.errors import ActionFailed, EhosError, NoCapacity
from ehoslite.model import Room, Server, VmState
from ehoslite.options import Megabytes, Place
from ehoslite.settings import FlavorSettings, LocalCloudSettings, LocalQuota
from lab.jobs import wait_until
from lab.release import Release

# Named as a pass names nodes: a Nova without tags finds ours by the name first.
MINE, THEIRS = "ehos-mine-00000001", "ehos-theirs-00000001"
NOTHING = "#cloud-config\nwrite_files: []\n"


class Backend(Protocol):
    """A cloud with a quota of 3 servers, a flavor of 1 core and one of 4 cores and 4096 MB, and what a person could do
    to it by hand."""

    small: str
    large: str

    def cloud(self, pool: str = "mine") -> Cloud:
        """The cloud as this pool sees it."""
        ...

    def stop_by_hand(self, server: Server) -> None: ...

    def fail_next_build(self) -> None: ...

    def remains(self, server: Server) -> bool:
        """Whether anything of a deleted server is left."""
        ...


class LocalBackend:
    small, large = "small", "large"

    def __init__(self, directory: Path, release: Release) -> None:
        flavors = (FlavorSettings(name="small"), FlavorSettings(name="large", cpus=4, memory=Megabytes(4096)))
        self.settings = LocalCloudSettings(
            Place(directory / "nodes"),
            flavors=flavors,
            quota=LocalQuota(instances=3, cores=9, memory=Megabytes(9000)),
            release=Place(release.prefix),
        )

    def cloud(self, pool: str = "mine") -> LocalCloud:
        return LocalCloud("here", self.settings, pool)

    def folder(self, server: Server) -> Path:
        return Path(self.settings.directory) / server.id

    def stop_by_hand(self, server: Server) -> None:
        os.kill(int((self.folder(server) / "pid").read_text()), signal.SIGKILL)

    def fail_next_build(self) -> None:
        self.cloud().try_out(Trial(fail_build=1))

    def remains(self, server: Server) -> bool:
        return self.folder(server).exists() or bool(processes_of(self.folder(server)))


@pytest.fixture(params=["local"])
def backend(folder: Path, release: Release) -> Iterator[Backend]:
    made = LocalBackend(folder, release)
    yield made
    for pool in ("mine", "theirs"):
        for server in made.cloud(pool).servers():
            made.cloud(pool).delete(server)


def only(cloud: Cloud) -> Server:
    (server,) = cloud.servers()
    return server


def wait_for_state(cloud: Cloud, state: VmState) -> Server:
    wait_until(lambda: only(cloud).vm_state is state, 60, f"the server to be {state}")
    return only(cloud)


def test_an_empty_cloud_lists_nothing(backend: Backend) -> None:
    assert backend.cloud().servers() == ()


def test_flavors_have_sizes(backend: Backend) -> None:
    sizes = {flavor.name: flavor.resources for flavor in backend.cloud().flavors()}
    assert sizes[backend.large].cpus == 4
    assert sizes[backend.large].memory == 4096
    assert sizes[backend.small].disk > 0


def test_a_server_is_listed_from_the_create_call_on(backend: Backend) -> None:
    cloud = backend.cloud()
    cloud.create(MINE, backend.small, NOTHING)
    server = only(cloud)
    assert (server.cloud, server.node, server.flavor) == (cloud.name, MINE, backend.small)
    assert server.vm_state in {VmState.BOOTING, VmState.ACTIVE}
    assert wait_for_state(cloud, VmState.ACTIVE).created > 1_700_000_000


def test_a_server_exists_until_it_is_deleted(backend: Backend) -> None:
    """Asked by its id: a listing may leave servers out."""
    cloud = backend.cloud()
    cloud.create(MINE, backend.small, NOTHING)
    (server,) = cloud.servers()
    assert cloud.exists(server.id)
    assert not backend.cloud("theirs").exists("none-such")
    cloud.delete(server)
    wait_until(lambda: not cloud.exists(server.id), 60, "it to be gone")


def test_another_pool_s_servers_are_not_seen(backend: Backend) -> None:
    backend.cloud("theirs").create(THEIRS, backend.small, NOTHING)
    assert backend.cloud("mine").servers() == ()


def look_at_room(backend: Backend) -> Room:
    """As a pass does: the servers first, then the room."""
    cloud = backend.cloud()
    cloud.servers()
    return cloud.room()


def test_room_counts_everybody_s_servers(backend: Backend) -> None:
    before = look_at_room(backend)
    backend.cloud("theirs").create(THEIRS, backend.large, NOTHING)
    wait_until(lambda: look_at_room(backend) != before, 30, "it to be counted")  # Nova counts it when it has a host
    after = look_at_room(backend)
    assert (before.instances - after.instances, before.cores - after.cores) == (1, 4)
    assert before.memory - after.memory == 4096
    backend.cloud("theirs").delete(only(backend.cloud("theirs")))
    wait_until(lambda: look_at_room(backend) == before, 30, "the room to be as before")


def test_a_full_quota_is_no_capacity_and_makes_nothing(backend: Backend) -> None:
    cloud = backend.cloud()
    for number in range(3):
        cloud.create(f"ehos-mine-0000000{number}", backend.small, NOTHING)
    wait_until(lambda: look_at_room(backend).instances == 0, 30, "all to be counted")
    with pytest.raises(NoCapacity):
        cloud.create("ehos-mine-00000003", backend.small, NOTHING)
    assert sorted(server.node for server in cloud.servers()) == [f"ehos-mine-0000000{number}" for number in range(3)]


def test_creations_side_by_side_stay_within_the_quota(backend: Backend) -> None:
    def create(number: int) -> bool:
        try:
            backend.cloud().create(f"ehos-mine-0000000{number}", backend.small, NOTHING)
        except NoCapacity:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        made = sum(threads.map(create, range(8)))
    assert made >= 3

    def settled() -> bool:
        """Real Nova may take more creations than the quota allows; it then puts the surplus into error."""
        states = [server.vm_state for server in backend.cloud().servers()]
        return VmState.BOOTING not in states and len(states) == made

    wait_until(settled, 60, "the servers to be built")
    good = [server for server in backend.cloud().servers() if server.vm_state is not VmState.ERROR]
    assert len(good) <= 3


def test_an_unknown_flavor_is_refused_and_makes_nothing(backend: Backend) -> None:
    with pytest.raises(ActionFailed, match="enormous"):
        backend.cloud().create(MINE, "enormous", NOTHING)
    assert backend.cloud().servers() == ()


def test_deleting_leaves_nothing(backend: Backend) -> None:
    cloud = backend.cloud()
    cloud.create(MINE, backend.small, NOTHING)
    server = wait_for_state(cloud, VmState.ACTIVE)
    cloud.delete(server)
    wait_until(lambda: cloud.servers() == () and not backend.remains(server), 30, "the server to be gone")


def test_deleting_the_gone_succeeds(backend: Backend) -> None:
    cloud = backend.cloud()
    cloud.create(MINE, backend.small, NOTHING)
    server = only(cloud)
    cloud.delete(server)
    cloud.delete(server)
    wait_until(lambda: cloud.servers() == (), 30, "the server to be gone")
    cloud.delete(server)


def test_deleting_while_it_boots(backend: Backend) -> None:
    cloud = backend.cloud()
    cloud.create(MINE, backend.small, NOTHING)
    server = only(cloud)
    cloud.delete(server)
    wait_until(lambda: not backend.remains(server), 30, "nothing to be left")


def test_stopped_by_hand_is_stopped(backend: Backend) -> None:
    cloud = backend.cloud()
    cloud.create(MINE, backend.small, NOTHING)
    backend.stop_by_hand(wait_for_state(cloud, VmState.ACTIVE))
    wait_for_state(cloud, VmState.STOPPED)
    cloud.delete(only(cloud))


def test_a_failed_build_is_an_error_with_its_fault(backend: Backend) -> None:
    cloud = backend.cloud()
    backend.fail_next_build()
    cloud.create(MINE, backend.small, NOTHING)
    assert " " in wait_for_state(cloud, VmState.ERROR).fault


def test_every_error_is_ours(backend: Backend) -> None:
    """What a cloud raises derives from EhosError, so one failed action never ends a pass."""
    raising: list[Callable[[], object]] = [
        lambda: backend.cloud().create(MINE, "", NOTHING),
        lambda: backend.cloud().create(MINE, f"{backend.small}\n", NOTHING),
    ]
    for call in raising:
        with pytest.raises(EhosError):
            call()

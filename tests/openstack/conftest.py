"""Two real clouds that this folder's tests share, and stands on them with a fresh HTCondor pool each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.openstack import OpenStackLab
from lab.openstack_stand import OpenStackStand, guest_command
from lab.pool import temporary_directory
from lab.release import Release
from tests.openstack.direct import delete_all, new_node, open_directly

Clouds = tuple[OpenStackLab, OpenStackLab]
MakeOpenStack = Callable[..., OpenStackStand]


@pytest.fixture(scope="session")
def clouds(release: Release) -> Iterator[Clouds]:
    """Alpha and beta, with quotas of their own."""
    with ExitStack() as stack:
        root = stack.enter_context(temporary_directory())
        alpha = OpenStackLab(root / "alpha", name="alpha", guest_command=guest_command(release), volumes=True)
        beta = OpenStackLab(root / "beta", name="beta", guest_command=guest_command(release))
        yield stack.enter_context(alpha), stack.enter_context(beta)


@pytest.fixture
def alpha(clouds: Clouds) -> Iterator[OpenStackLab]:
    """The first cloud, healed before and after."""
    yield from _healed(clouds[0])


@pytest.fixture
def beta(clouds: Clouds) -> Iterator[OpenStackLab]:
    """The second cloud, healed before and after."""
    yield from _healed(clouds[1])


@pytest.fixture
def bare(alpha: OpenStackLab) -> Iterator[OpenStackLab]:
    """Alpha, with servers that have no guest. At the end they are deleted, by their metadata: all servers have it."""
    alpha.set_knobs(never_join=-1)
    yield alpha
    alpha.faults.clear()
    delete_all(open_directly(alpha, max_microversion="2.51"), wait=False)


@pytest.fixture
def node() -> str:
    """A node id that no other test has."""
    return new_node()


def _healed(lab: OpenStackLab) -> Iterator[OpenStackLab]:
    yield lab
    lab.faults.clear()
    lab.clear_knobs()
    lab.set_quota(instances=100, cores=400, ram=1_000_000)


@pytest.fixture
def make_openstack(release: Release, folder: Path) -> Iterator[MakeOpenStack]:
    """Starts a stand on these clouds; it is stopped at the end of the test."""
    with ExitStack() as stack:

        def make(*labs: OpenStackLab, **options: Any) -> OpenStackStand:
            return stack.enter_context(OpenStackStand(folder, release, labs, **options))

        yield make

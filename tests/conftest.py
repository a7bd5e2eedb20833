"""Fixtures for every test: HTCondor's programs, and stands that are taken down whatever happens."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from lab.pool import temporary_directory
from lab.release import Release, find_or_build
from lab.stand import Stand

# Speed is measured by `make bench`; a slow machine fails no property. In CI every run tries the same examples.
hypothesis.settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("house")

MakeStand = Callable[..., Stand]

# Folders whose tests share clouds that are brought up once: all of a folder runs in one worker. Some files of the
# longer lane go to the worker of the other, which brings up clouds for them, too, so none is waited for at the end.
TOGETHER = ("openstack", "openstack_stand")
TO_THE_OTHER = ("boundaries", "calls", "contract", "leftovers", "scaling")
MOVED = {f"tests/openstack/test_{name}.py": "openstack_stand" for name in TO_THE_OTHER}


def lane_of(nodeid: str) -> str:
    """The folder with which it shares clouds; the test itself where it shares nothing."""
    file = nodeid.partition("::")[0]
    folder = MOVED.get(file, Path(file).parent.name)
    return folder if folder in TOGETHER else nodeid


def turn_of(item: pytest.Item) -> int:
    """When it begins. On a fresh machine the first lane makes an OpenStack for minutes, for which the second would only
    wait: tests that need HTCondor alone come before it, and those that wait for cron's minutes, or they would be last.
    """
    lane = lane_of(item.nodeid)
    if lane in TOGETHER:
        return 2 * TOGETHER.index(lane)
    return 1 if item.nodeid < "tests/real/test_m" or item.nodeid.startswith("tests/test_cron") else 3


def pytest_configure() -> None:
    """Have a failed test show what its passes printed."""
    logging.getLogger("lab.stand").setLevel(logging.INFO)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the workers begin with the longest."""
    items.sort(key=turn_of)


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Hands tests to the workers one by one, but those of such a folder all to the same worker."""

    def _split_scope(self, nodeid: str) -> str:
        return lane_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """xdist asks for its scheduler here."""
    config.option.loadscopereorder = False  # our order is one of time, not of numbers
    return Together(config, log)


@pytest.fixture(scope="session")
def release() -> Release:
    """HTCondor's programs, made on first use."""
    return find_or_build()


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that the daemons' account can enter, which pytest's own is not for root."""
    with temporary_directory() as directory:
        yield directory


@pytest.fixture
def make_stand(release: Release, folder: Path) -> Iterator[MakeStand]:
    """Starts a stand with these options; it is stopped at the end of the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(_stand(folder, release, options))


def _stand(folder: Path, release: Release, options: dict[str, Any]) -> Stand:
    return Stand(folder, release, **options)

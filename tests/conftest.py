"""Fixtures for every test: HTCondor's programs, and stands that are taken down whatever happens."""

from __future__ import annotations

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
MOVED = {f"tests/openstack/test_{name}.py": "openstack_stand" for name in ("boundaries", "calls", "contract")}


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Hands tests to the workers one by one, but those of such a folder all to the same worker, and first."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = MOVED.get(file, Path(file).parent.name)
        return folder if folder in TOGETHER else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """xdist asks for its scheduler here."""
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

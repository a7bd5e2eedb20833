"""The clouds that this folder's tests share, and what they do with them."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openstack
import pytest

from lab.openstack import OpenStackLab
from lab.openstack.layout import DAEMONS
from lab.openstack.processes import wait_until
from lab.openstack.rest import ApiError

GUEST = ("/bin/sh", str(Path(__file__).parent / "guest.sh"))
SECONDS = 240.0
INTERVAL = 0.2


class Client:
    """A client of one cloud, with the SDK that the project uses."""

    def __init__(self, lab: OpenStackLab, entry: str = "") -> None:
        self.lab = lab
        config = openstack.config.OpenStackConfig(config_files=[str(lab.clouds_yaml)], load_envvars=False)
        self.sdk: Any = openstack.connection.Connection(config=config.get_one(entry or lab.name, api_timeout=30))

    def create(self, name: str, flavor: str = "m1.small", user_data: str = "", **values: Any) -> Any:
        """Have nova create a server, without waiting."""
        compute = self.sdk.compute
        values = {"networks": "none", "image_id": self.sdk.image.find_image("debian-12").id} | values
        if user_data:
            values["user_data"] = base64.b64encode(user_data.encode()).decode()
        return compute.create_server(name=name, flavor_id=compute.find_flavor(flavor).id, **values)

    def boot(self, name: str, **values: Any) -> Any:
        """Have nova create a server, and wait until it is ACTIVE."""
        return self.wait(self.create(name, **values), "ACTIVE")

    def wait(self, server: Any, status: str) -> Any:
        """Wait until the server has the status."""
        failures = [] if status == "ERROR" else ["ERROR"]
        return self.sdk.compute.wait_for_server(server, status, failures, interval=INTERVAL, wait=SECONDS)

    def delete(self, server: Any) -> None:
        """Delete the server, and wait until it is gone."""
        self.sdk.compute.delete_server(server)
        self.sdk.compute.wait_for_delete(server, interval=INTERVAL, wait=SECONDS)


@pytest.fixture(scope="session")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenStackLab, OpenStackLab]]:
    """Two clouds side by side, started at once."""
    root = tmp_path_factory.mktemp("clouds")
    root.chmod(0o755)
    alpha = OpenStackLab(root / "alpha", name="alpha", guest_command=GUEST, volumes=True)
    beta = OpenStackLab(root / "beta", name="beta", guest_command=GUEST, quotas={"instances": 2})
    try:
        with ThreadPoolExecutor() as pool:
            for started in [pool.submit(alpha.start), pool.submit(beta.start)]:
                started.result()
        yield alpha, beta
    finally:
        alpha.stop()
        beta.stop()


@pytest.fixture
def alpha(clouds: tuple[OpenStackLab, OpenStackLab]) -> Iterator[OpenStackLab]:
    """The first cloud, left without servers, faults and knobs."""
    lab = clouds[0]
    lab.forget_calls()
    yield lab
    clean(lab)


@pytest.fixture
def beta(clouds: tuple[OpenStackLab, OpenStackLab]) -> Iterator[OpenStackLab]:
    """The second cloud, which has a small quota, left without servers, faults and knobs."""
    yield clouds[1]
    clean(clouds[1])


@pytest.fixture
def client(alpha: OpenStackLab) -> Client:
    """A client of the first cloud."""
    return Client(alpha)


def list_servers(lab: OpenStackLab) -> list[Any]:
    """Return all servers of the cloud, of all projects, asked past the proxy."""
    found: list[Any] = lab.call_as_admin("GET", "nova", "/servers/detail?all_tenants=1")["servers"]
    return found


def clean(lab: OpenStackLab) -> None:
    """Leave the cloud as the next test expects it, also after a test that failed half-way."""
    for daemon in DAEMONS:
        if lab.daemons.is_running(daemon):
            lab.resume(daemon)
        elif daemon != "cinder" or lab.name == "alpha":
            lab.revive(daemon)
    lab.faults.clear()
    lab.clear_knobs()
    for server in list_servers(lab):
        try:
            lab.call_as_admin("DELETE", "nova", f"/servers/{server['id']}")
        except ApiError as error:
            if error.status != 404:  # what the test has deleted may be gone only now
                raise
    assert wait_until(lambda: not list_servers(lab), SECONDS, INTERVAL), "servers are left"


def find_mentioning(text: str) -> list[int]:
    """Return the processes that have the text in their command line or environment, but for this one."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in words:
            found.append(int(folder.name))
    return found

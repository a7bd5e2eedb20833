"""Listing 3,000 servers and creating 40 on the real OpenStack of the lab, beside bare calls for the same."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ehoslite.act import SIDE_BY_SIDE
from ehoslite.clouds.openstack import OpenStack
from ehoslite.options import Place, Seconds
from ehoslite.settings import FlavorChoice, OpenStackCloudSettings
from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from lab.openstack.clone import clone_server
from lab.pool import temporary_directory

SERVERS, CREATED, RUNS = 3000, 40, 3
USER_DATA = "#cloud-config\n{}\n"


def rows() -> Iterator[tuple[str, str]]:
    """The figures, each beside the bare calls' in the same run."""
    with temporary_directory() as folder, OpenStackLab(folder / "alpha", quotas={"instances": 10_000}) as lab:
        cloud = open_cloud(lab)
        cloud.flavors()
        yield from creating(cloud)
        yield from listing(cloud, lab)


def open_cloud(lab: OpenStackLab) -> OpenStack:
    """The lab's cloud as a pass sees it."""
    settings = OpenStackCloudSettings(
        image="debian-12",
        flavors=(FlavorChoice("m1.small"),),
        cloud=lab.name,
        clouds_yaml=Place(Path(lab.clouds_yaml)),
        networks=("internal",),
        timeout=Seconds(300),
    )
    return OpenStack("alpha", settings, "bench", lambda: 3600.0)


def creating(cloud: OpenStack) -> Iterator[tuple[str, str]]:
    """Wall time of 40 creations, ours and bare POSTs of the same bodies by as many threads."""
    ours = timed(lambda: side_by_side(lambda node: cloud.create(node, "m1.small", USER_DATA), node_ids(0)))
    delete_all(cloud)
    bodies = [cloud.request(node, "m1.small", "") for node in node_ids(1)]
    address, token = endpoint(cloud)
    bare = timed(lambda: side_by_side(lambda body: fetch(f"{address}/servers", token, body), bodies))
    delete_all(cloud)
    yield f"creating {CREATED} servers, {SIDE_BY_SIDE} at a time: wall", f"{ours:.1f} s"
    yield "the same as bare POSTs", f"{bare:.1f} s; ratio {ours / bare:.2f}"


def listing(cloud: OpenStack, lab: OpenStackLab) -> Iterator[tuple[str, str]]:
    """CPU of this process for listing, ours and bare fetches and parses of the same pages."""
    cloud.create("ehos-bench-00000000", "m1.small", USER_DATA)
    wait_until(lambda: [one.vm_state.value for one in cloud.servers()] == ["active"], 60, "a server to copy")
    (server,) = cloud.servers()
    clone_server(lab.layout, server.id, SERVERS - 1)
    address, token = endpoint(cloud)
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(RUNS):
        with cpu(ours):
            count = len(cloud.servers())
        with cpu(bare):
            fetch_pages(f"{address}/servers/detail?tags=ehoslite-pool%3Dbench&limit=1000", token)
    yield f"listing {count} servers: CPU of the client", f"{statistics.median(ours):.3f} s"
    yield "the same pages fetched and parsed bare", f"{statistics.median(bare):.3f} s"


def endpoint(cloud: OpenStack) -> tuple[str, str]:
    """Nova's address and a token."""
    connection = cloud.calls.connection()
    return str(connection.compute.get_endpoint()).rstrip("/"), str(connection.session.get_token())


def fetch(url: str, token: str, body: dict[str, Any] | None = None) -> Any:
    """One bare call."""
    headers = {
        "X-Auth-Token": token,
        "Content-Type": "application/json",
        "OpenStack-API-Version": "compute 2.96",
    }
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=300) as answer:  # noqa: S310
        return json.loads(answer.read() or b"{}")


def fetch_pages(url: str, token: str) -> None:
    """All pages of a listing."""
    following: list[str] = [url]
    while following:
        body = fetch(following[0], token)
        following = [link["href"] for link in body.get("servers_links", []) if link["rel"] == "next"]


def node_ids(series: int) -> list[str]:
    """Forty node ids."""
    return [f"ehos-bench-{series:04x}{number:04x}" for number in range(CREATED)]


def side_by_side(do: Callable[[Any], Any], tasks: list[Any]) -> None:
    """As many at a time as a pass has."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        list(threads.map(do, tasks))


def delete_all(cloud: OpenStack) -> None:
    """Wait for the builds, then delete every server."""
    wait_until(lambda: all(one.vm_state.value != "booting" for one in cloud.servers()), 180, "the builds")
    side_by_side(cloud.delete, list(cloud.servers()))
    wait_until(lambda: not cloud.servers(), 180, "the servers to be gone")


def timed(do: Callable[[], None]) -> float:
    """Wall seconds."""
    began = time.monotonic()
    do()
    return time.monotonic() - began


@contextmanager
def cpu(into: list[float]) -> Iterator[None]:
    """CPU seconds of this process."""
    began = time.process_time()
    yield
    into.append(time.process_time() - began)

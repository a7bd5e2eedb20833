"""One cloud as a pass sees it, without a pass; and what its administrator sees of it."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ehoslite.clouds.openstack import NODE_TAG, OpenStack
from ehoslite.model import Server
from ehoslite.options import Megabytes, Place
from ehoslite.settings import FlavorChoice, OpenStackCloudSettings
from lab.jobs import wait_until
from lab.openstack import OpenStackLab

NOTHING = "#cloud-config\nwrite_files: []\n"
TINY = "m1.tiny"


def open_directly(
    lab: OpenStackLab,
    *,
    pool: str = "direct",
    remaining: Callable[[], float] = lambda: 60.0,
    sleep: Callable[[float], None] = lambda _: None,
    **options: Any,
) -> OpenStack:
    """The cloud with these options. It waits for nothing between its attempts."""
    given = {
        "image": "debian-12",
        "flavors": (FlavorChoice(TINY),),
        "cloud": lab.name,
        "clouds_yaml": Place(Path(lab.clouds_yaml)),
        "networks": ("internal",),
        "memory_reserved": Megabytes(0),
        "disk_reserved": Megabytes(0),
        **options,
    }
    return OpenStack(lab.name, OpenStackCloudSettings(**given), pool, remaining, sleep=sleep)


def new_node(pool: str = "direct") -> str:
    """A node id that no other test has: what others made may still be on its way out."""
    return f"ehos-{pool}-{secrets.token_hex(4)}"


def look(cloud: OpenStack) -> None:
    """Every reading call of a pass that makes a server, in its order."""
    cloud.servers()
    cloud.flavors()
    cloud.room()
    cloud.names.networks()
    cloud.names.image()


def all_servers(lab: OpenStackLab) -> list[dict[str, Any]]:
    """Every server of every project, past the proxy."""
    servers: list[dict[str, Any]] = lab.call_as_admin("GET", "nova", "/servers/detail?all_tenants=1")["servers"]
    return servers


def servers_per_node(lab: OpenStackLab) -> Counter[str]:
    """How many servers carry each node id, past the proxy."""
    return Counter(server["metadata"][NODE_TAG] for server in all_servers(lab) if NODE_TAG in server["metadata"])


def of_node(cloud: OpenStack, node: str) -> list[Server]:
    """The servers of this node, as a pass lists them."""
    return [server for server in cloud.servers() if server.node == node]


def only(cloud: OpenStack, node: str) -> Server:
    """The server of this node; there must be just one."""
    (server,) = of_node(cloud, node)
    return server


def delete_all(cloud: OpenStack, *, wait: bool = True) -> None:
    """Delete this pool's servers, and wait until they are gone."""
    for server in cloud.servers():
        cloud.delete(server)
    if wait:
        wait_until(lambda: not cloud.servers(), 90, "an empty cloud")

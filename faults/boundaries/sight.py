"""What a cloud really has, seen past the product: by its own folders or by its administrator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.openstack import OpenStackLab


@dataclass(frozen=True)
class Seen:
    """A server, whoever's it says it is."""

    id: str
    node: str


class Sight(Protocol):
    """How one cloud is looked at."""

    def servers(self) -> Sequence[Seen]:
        """Every server that a pass of ours may have made, tagged or not."""
        ...

    def beside(self, listed: set[str]) -> list[str]:
        """What else is there that was made for nodes that are not among the listed."""
        ...


class LocalSight:
    """The local cloud's folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def servers(self) -> Sequence[Seen]:
        """By every folder with tags."""
        found = []
        for path in self.directory.glob("[!.]*/server.json"):
            with suppress(FileNotFoundError):
                found.append(Seen(path.parent.name, str(json.loads(path.read_text())["node"])))
        return found

    def beside(self, listed: set[str]) -> list[str]:
        """Folders that are half-made or half-gone."""
        del listed
        return [path.name for path in self.directory.glob(".*-*") if path.is_dir()]


class OpenStackSight:
    """A cloud as its administrator sees it; what is ours has a name that begins so."""

    def __init__(self, lab: OpenStackLab, prefix: str) -> None:
        self.lab = lab
        self.prefix = prefix

    def servers(self) -> Sequence[Seen]:
        """By their names, in all projects."""
        found = self.lab.call_as_admin("GET", "nova", "/servers/detail?all_tenants=1")["servers"]
        return [Seen(one["id"], one["name"]) for one in found if one["name"].startswith(self.prefix)]

    def beside(self, listed: set[str]) -> list[str]:
        """Ports and floating IPs that carry a node's name."""
        ports = self.lab.call_as_admin("GET", "neutron", "/v2.0/ports")["ports"]
        addresses = self.lab.call_as_admin("GET", "neutron", "/v2.0/floatingips")["floatingips"]
        names = [(f"port {one['id']}", str(one["name"])) for one in ports]
        names += [(f"floating IP {one['id']}", str(one["description"])) for one in addresses]
        return [what for what, node in names if node.startswith(self.prefix) and node not in listed]

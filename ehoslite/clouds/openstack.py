"""Servers on OpenStack: listed raw by tag, created with their tags, never twice.

Everything goes by plain calls over the SDK's login (clouds/calls.py): building the SDK's objects costs 4.5 ms of CPU a
server, reading JSON next to nothing (measured, openstacksdk 4.22).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ehoslite.clouds.calls import Calls
from ehoslite.clouds.console import brief, last_words
from ehoslite.clouds.leftovers import Leftovers
from ehoslite.clouds.names import Names
from ehoslite.clouds.pages import pages
from ehoslite.clouds.promises import promises_of
from ehoslite.clouds.quotas import room_of
from ehoslite.clouds.recipe import made_of, recipe_of
from ehoslite.clouds.request import NO_TAGS, TAGS_SINCE, Request
from ehoslite.errors import BadRequest, CloudFault, CloudUnreachable, Gone, Unclear
from ehoslite.model import Flavor, Leftover, Room, Server, VmState
from ehoslite.resources import Resources
from ehoslite.settings import OpenStackCloudSettings

KIB_PER_MB, MB_PER_GB = 1024, 1024
POOL_TAG, NODE_TAG, MADE_OF_TAG = "ehoslite-pool", "ehoslite-node", "ehoslite-made-of"
# Nova's limit on user data, in base64 characters (measured; the manual says the same).
LONGEST_USER_DATA = 65535
PAGE = 1000
# Of a console log; a failed boot's reason stands at its end.
LINES = 20

STATES = {
    "BUILD": VmState.BOOTING,
    "REBUILD": VmState.BOOTING,
    "ACTIVE": VmState.ACTIVE,
    "REBOOT": VmState.ACTIVE,
    "HARD_REBOOT": VmState.ACTIVE,
    "PASSWORD": VmState.ACTIVE,
    "MIGRATING": VmState.ACTIVE,
    "RESIZE": VmState.ACTIVE,
    "VERIFY_RESIZE": VmState.ACTIVE,
    "REVERT_RESIZE": VmState.ACTIVE,
    "SHUTOFF": VmState.STOPPED,
    "SUSPENDED": VmState.STOPPED,
    "PAUSED": VmState.STOPPED,
    "SHELVED": VmState.STOPPED,
    "SHELVED_OFFLOADED": VmState.STOPPED,
    "ERROR": VmState.ERROR,
    "DELETED": VmState.DELETING,
    "SOFT_DELETED": VmState.DELETING,
}


class OpenStack:
    """One OpenStack project, for one pool."""

    def __init__(
        self,
        name: str,
        settings: OpenStackCloudSettings,
        pool: str,
        remaining: Callable[[], float],
        known: dict[str, Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.settings = settings
        self.pool = pool
        self.calls = Calls(settings, name, remaining, sleep)
        self.names = Names(settings, self.calls, {} if known is None else known)
        self.recipe, self.promises = recipe_of(settings), promises_of(settings)
        self._leftovers = Leftovers(settings, pool, self.calls, self.names)
        self._listed: list[dict[str, Any]] = []

    def flavors(self) -> tuple[Flavor, ...]:
        """The configured flavors with the sizes that the cloud gives them, less what the system takes."""
        with self._making_sense():
            found = self.names.flavors()
            return tuple(
                self._flavor(found[choice.name], choice.name, choice.price) for choice in self.settings.flavors
            )

    @contextmanager
    def _making_sense(self) -> Iterator[None]:
        """An answer with missing keys or wrong types is this cloud's fault, not the end of the pass; so is a memory of
        names that does not hold."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            self.names.forget()
            text = f"an answer makes no sense: {type(error).__name__}: {brief(error)}"
            raise CloudUnreachable(text, "server-error") from error

    def _flavor(self, seen: Mapping[str, Any], name: str, price: float) -> Flavor:
        memory = max(0, int(seen["ram"]) - self.settings.memory_reserved)
        gigabytes = self.settings.boot_volume or int(seen["disk"])
        disk = max(0, (gigabytes + self.settings.scratch_size) * MB_PER_GB - self.settings.disk_reserved) * KIB_PER_MB
        gpus = gpus_of(seen.get("extra_specs", {}))
        size, made = Resources(int(seen["vcpus"]), memory, disk, gpus), self._made_of(name, seen)
        return Flavor(self.name, name, size, price, int(seen["ram"]), self.recipe, self.promises, made_of=made)

    def _made_of(self, name: str, seen: Mapping[str, Any]) -> str:
        """What a server of this flavor is made of; empty when Glance does not tell the image, which stops nothing."""
        image = self.names.image_if_known()
        size = (name, seen["vcpus"], seen["ram"], seen["disk"], sorted(seen.get("extra_specs", {}).items()))
        return made_of(self.settings, image, size) if image else ""

    def servers(self) -> tuple[Server, ...]:
        """Every server with this pool's tag, in whatever state; page by page, or not at all."""
        self.names.image_fault = None  # each look at a cloud begins here
        with self._making_sense():
            every = [*self._pages(self._ours()), *self._untagged()]
            self._listed = [server for server in every if self._node_of(server)]
            return tuple(self._server(server) for server in self._listed)

    def _untagged(self) -> list[dict[str, Any]]:
        """Servers of ours from when max_microversion was below 2.52: looked for once an hour, or while there are any.
        One whose tags somebody took away is not among them: that one was let go."""
        if not self.has_tags() or self.names.known.get(NO_TAGS) == self.settings.max_microversion:
            return []
        query = f"not-tags={quote(f'{POOL_TAG}={self.pool}')}"
        seen = [server for server in self._pages(query) if server.get("metadata", {}).get(NO_TAGS)]
        found = [server for server in seen if self._node_of(server)]
        if not found:
            self.names.known[NO_TAGS] = self.settings.max_microversion
        return found

    def _ours(self, node: str = "") -> str:
        """The query that selects our servers, or those of one node just asked for. Without tags it is the whole
        project, of which the metadata tells ours: people rename servers."""
        if self.has_tags():
            tags = f"{POOL_TAG}={self.pool}" + (f",{NODE_TAG}={node}" if node else "")
            return f"tags={quote(tags)}"
        return f"name={quote(f'^{node}$')}" if node else ""

    def has_tags(self) -> bool:
        """Whether this Nova takes tags with a creation; older ones know our servers by their metadata."""
        return self.microversion() >= TAGS_SINCE

    def microversion(self) -> tuple[int, int]:
        """The microversion of Nova to speak: the highest that both sides know."""
        return min(self.names.nova_version(), _version(self.settings.max_microversion))

    def _nova(self) -> str:
        return "{}.{}".format(*self.microversion())

    def _pages(self, query: str) -> Iterator[dict[str, Any]]:
        path = f"/servers/detail?{query}{'&' if query else ''}limit={PAGE}"
        return pages(self.calls, "compute", path, "servers", self._nova())

    def _marks(self, server: Mapping[str, Any]) -> Mapping[str, Any]:
        """Our marks on a server: tags, or metadata where there were none."""
        tags = dict(tag.partition("=")[::2] for tag in server.get("tags", []))
        metadata: Mapping[str, Any] = server.get("metadata", {})
        return tags if self.has_tags() and NO_TAGS not in metadata else metadata

    def _node_of(self, server: Mapping[str, Any]) -> str:
        """The node id that a server of this pool carries; empty for any other server."""
        marks = self._marks(server)
        return str(marks.get(NODE_TAG, "")) if marks.get(POOL_TAG) == self.pool else ""

    def _server(self, seen: Mapping[str, Any]) -> Server:
        status = str(seen.get("status", ""))
        deleting = seen.get("OS-EXT-STS:task_state") == "deleting"
        return Server(
            self.name,
            str(seen["id"]),
            self._node_of(seen),
            self._flavor_of(seen),
            VmState.DELETING if deleting else STATES.get(status, VmState.UNKNOWN),
            _epoch(seen.get("created")),
            " ".join(str(seen.get("fault", {}).get("message", "")).split())[:300],
            status,
            _epoch(seen.get("updated")),
            str(self._marks(seen).get(MADE_OF_TAG, "")),
        )

    def _flavor_of(self, seen: Mapping[str, Any]) -> str:
        """The name of a server's flavor; before 2.47 Nova tells its id only."""
        flavor = seen.get("flavor", {})
        return str(flavor.get("original_name") or self.names.flavor_name(str(flavor.get("id", ""))))

    def exists(self, server: str) -> bool:
        """Whether this server is there and still ours: asked directly, where a listing leaves it out. One of a cell
        that is down is shown without its marks, in the state UNKNOWN, and counts as there."""
        with self._making_sense():
            try:
                seen = self.calls.get("compute", f"/servers/{quote(server)}", self._nova())["server"]
            except Gone:
                return False
            status = seen.get("status")
            return status == "UNKNOWN" or (status not in {"DELETED", "SOFT_DELETED"} and bool(self._node_of(seen)))

    def room(self) -> Room:
        """What the quota, our own limits and the cap on building servers leave; call it after `servers`."""
        with self._making_sense():
            listed = [(self._flavor_of(server), server) for server in self._listed]
            return room_of(self.settings, self.calls, listed, self.flavors(), self._nova())

    def console(self, server: Server) -> str:
        """The end of its console log; what Nova does not keep is empty."""
        body = {"os-getConsoleOutput": {"length": LINES}}
        with self._making_sense():
            return last_words(
                str(self.calls.post("compute", f"/servers/{quote(server.id)}/action", body)["output"] or "")
            )

    def create(self, node: str, flavor: str, user_data: str) -> str:
        """Make the server, once. A reply that got lost is looked up by tag; what is found is ours."""
        data = base64.b64encode(user_data.encode()).decode()
        if len(data) > LONGEST_USER_DATA:
            raise BadRequest(f"the user data is too long: {len(data)} of {LONGEST_USER_DATA} characters in base64")
        try:
            with self._making_sense():
                body = self.request(node, flavor, data)
        except (BadRequest, Gone):  # Neutron knows a network or a group no more by the id that is remembered
            self.names.forget()
            raise
        try:
            made = self.calls.post("compute", "/servers", body, self._nova()).get("server")
            return str(made.get("id", "")) if isinstance(made, dict) else ""
        except Unclear as error:
            if found := self._find(node):
                return found
            raise Unclear(f"{error}; no server of {node} is listed (yet)") from error
        except CloudFault as error:
            if error.code == "bad-request":
                self.names.forget()
            raise

    def request(self, node: str, flavor: str, data: str) -> dict[str, Any]:
        """What creates this node's server, with the user data in base64; its ports are made."""
        marks = {POOL_TAG: self.pool, NODE_TAG: node}
        known = self.names.flavors().get(flavor)
        if known and (parts := self._made_of(flavor, known)):
            marks[MADE_OF_TAG] = parts
        return Request(self.settings, self.names, self.calls, self.microversion()).body(node, flavor, data, marks)

    def _find(self, node: str) -> str:
        """The id of this node's server; empty if none is listed."""
        try:
            return next((str(server["id"]) for server in self._pages(self._ours(node)) if self._node_of(server)), "")
        except (CloudFault, KeyError, TypeError):
            return ""

    def delete(self, server: Server) -> None:
        """Delete the server; its volumes go with it, its port and floating IP as leftovers of the next pass."""
        self.calls.delete("compute", f"/servers/{quote(server.id)}")

    def leftovers(self) -> tuple[Leftover, ...]:
        """The ports and floating IPs that carry the name of a node of this pool, whether its server is there or not."""
        with self._making_sense():
            return self._leftovers.found()

    def remove(self, leftover: Leftover) -> None:
        """Remove it; what is gone already is a success."""
        self._leftovers.remove(leftover)


def gpus_of(specs: Mapping[str, Any]) -> int:
    """How many GPUs a flavor's extra_specs give: of placement's VGPU and PGPU, or of PCI aliases."""
    count = 0
    for name, value in specs.items():
        if name.split(":")[-1] in {"VGPU", "PGPU"} and str(value).isdigit():
            count += int(value)
        elif name == "pci_passthrough:alias":
            amounts = [part.rpartition(":")[2] for part in str(value).split(",")]
            count += sum(int(amount) if amount.isdigit() else 1 for amount in amounts)
    return count


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def _epoch(moment: object) -> float:
    """Nova's times ("2026-01-31T12:00:00Z") as epoch seconds; 0 for what is none."""
    try:
        return datetime.fromisoformat(str(moment).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0

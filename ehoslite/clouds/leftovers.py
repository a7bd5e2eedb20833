"""What was made for nodes beside their servers and does not go with them: ports and floating IPs of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ehoslite.clouds.calls import Calls
from ehoslite.clouds.names import Names
from ehoslite.clouds.pages import pages
from ehoslite.errors import CloudFault
from ehoslite.model import Leftover
from ehoslite.settings import OpenStackCloudSettings

Made = tuple[Leftover, ...]
PORT, ADDRESS = "port", "floating IP"
PATHS = {PORT: "ports", ADDRESS: "floatingips"}
# Among the remembered names: with these options none was left of what they do not ask for.
NONE_LEFT = "no ports or floating IPs are left"


@dataclass(frozen=True)
class Leftovers:
    """The ports and floating IPs of one cloud that carry the name of a node of this pool."""

    settings: OpenStackCloudSettings
    pool: str
    calls: Calls
    names: Names

    def found(self) -> Made:
        """All of them, whether the node's server is there or not."""
        if self.settings.floating_ip:
            self.names.known.pop(NONE_LEFT, None)
            ports = self._ports()
            return self._ours(ports + self._addresses(ports))
        wanted = self._ports() if self.settings.ports else None
        if self.names.known.get(NONE_LEFT) == self.settings.ports:
            return self._ours(wanted or ())
        return self._with_those_of_other_days(wanted)

    def _with_those_of_other_days(self, wanted: Made | None) -> Made:
        """With what was made before `floating_ip` or `ports` was switched off: looked for once an hour, or while there
        is any."""
        ports = self._if_it_answers(self._ports) if wanted is None else wanted
        addresses = () if ports is None else self._if_it_answers(lambda: self._addresses(ports)) or ()
        found = self._ours((ports or ()) + addresses)
        if found == self._ours(wanted or ()):
            self.names.known[NONE_LEFT] = self.settings.ports
        return found

    def _if_it_answers(self, ask: Callable[[], Made]) -> Made | None:
        """None where the answer is a fault: this look is a service beyond the configuration, and a cloud without
        Neutron is well without it."""
        try:
            return ask()
        except (CloudFault, LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            return None

    def _ports(self) -> Made:
        """Every port of the project, with its name for the node."""
        return tuple(
            Leftover(self.calls.name, PORT, str(one["id"]), str(one.get("name")), bool(one.get("device_id")))
            for one in self._list(PORT, "id", "name", "device_id")
        )

    def _addresses(self, ports: Made) -> Made:
        """Every floating IP of the project, with its description for the node; in use where its port is."""
        used = {port.id for port in ports if port.in_use}
        return tuple(
            Leftover(
                self.calls.name, ADDRESS, str(one["id"]), str(one.get("description")), str(one.get("port_id")) in used
            )
            for one in self._list(ADDRESS, "id", "description", "port_id")
        )

    def _list(self, kind: str, *fields: str) -> Iterator[dict[str, Any]]:
        """Those of the login's own project: an administrator is shown everybody's, and another project may have a pool
        of this name."""
        what = "&".join(f"fields={field}" for field in fields)
        path = f"/{PATHS[kind]}?project_id={quote(self.calls.project())}&{what}"
        return pages(self.calls, "network", path, PATHS[kind])

    def _ours(self, made: Made) -> Made:
        return tuple(one for one in made if _is_a_node(one.node, f"ehos-{self.pool}-"))

    def remove(self, leftover: Leftover) -> None:
        """Remove it; what is gone already is a success."""
        self.calls.delete("network", f"/{PATHS[leftover.kind]}/{quote(leftover.id)}")


def _is_a_node(name: str, prefix: str) -> bool:
    """Whether it is a node's of ours: the prefix and eight hexadecimal digits, no longer pool's name."""
    rest = name.removeprefix(prefix)
    return rest != name and len(rest) == 8 and all(letter in "0123456789abcdef" for letter in rest)

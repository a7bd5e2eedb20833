"""What the names in the configuration stand for in one OpenStack: ids, resolved once and remembered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any
from urllib.parse import quote

from ehoslite.clouds.calls import Calls
from ehoslite.errors import CloudFault, CloudUnreachable, Gone
from ehoslite.settings import OpenStackCloudSettings

UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")


class Names:
    """The names of one cloud. `known` may be kept between passes; a name that is missing or ambiguous raises
    CloudUnreachable (misconfigured): a clear fault of this cloud, and of no other."""

    def __init__(self, settings: OpenStackCloudSettings, calls: Calls, known: dict[str, Any]) -> None:
        self.settings = settings
        self.calls = calls
        self.known = known
        self._every: list[dict[str, Any]] = []
        self.image_fault: CloudFault | None = None  # what Glance said at this look: it is not asked twice for that
        self._alone = RLock()

    def forget(self) -> None:
        """Resolve all names anew: the cloud has refused what they stood for."""
        with self._alone:
            self.known.clear()
            self.image_fault = None

    def _once(self, key: str, resolve: Callable[[], Any]) -> Any:
        with self._alone:  # creations side by side ask for the same names
            if key not in self.known:
                self.known[key] = resolve()
            return self.known[key]

    def nova_version(self) -> tuple[int, int]:
        """The highest microversion that this Nova speaks."""
        major, minor = self._once("nova", self._ask_nova_version)
        return int(major), int(minor)

    def _ask_nova_version(self) -> list[int]:
        version = self.calls.get("compute", "/").get("version", {}).get("version") or "2.1"
        return [int(part) for part in str(version).split(".")[:2]]

    def flavors(self) -> dict[str, dict[str, Any]]:
        """The configured flavors by name, as Nova describes them, with their extra_specs."""
        return {
            choice.name: self._once(f"flavor {choice.name}", self._flavor(choice.name)) for choice in self._choices()
        }

    def _choices(self) -> Any:
        return self.settings.flavors

    def _flavor(self, name: str) -> Callable[[], dict[str, Any]]:
        def resolve() -> dict[str, Any]:
            self._every = self._every or self.calls.get("compute", "/flavors/detail", "2.1")["flavors"]
            chosen = self._only("flavor", name, [one for one in self._every if name in (one["name"], one["id"])])
            specs = self.calls.get("compute", f"/flavors/{quote(chosen['id'])}/os-extra_specs", "2.1")
            sizes = {key: chosen[key] for key in ("id", "name", "vcpus", "ram", "disk")}
            return {**sizes, "extra_specs": specs.get("extra_specs", {})}

        return resolve

    def flavor_name(self, key: str) -> str:
        """The name of the configured flavor with this id; the id itself for any other."""
        return next((name for name, flavor in self.flavors().items() if flavor["id"] == key), key)

    def image(self) -> str:
        """The image's id: by id, by exact name, or the newest whose name begins so."""
        with self._alone:
            if self.image_fault is None:
                try:
                    return str(self._once(f"image {self.settings.image} {self.settings.image_newest}", self._image))
                except CloudFault as fault:
                    self.image_fault = CloudUnreachable(str(fault), fault.code)
            raise CloudUnreachable(str(self.image_fault), self.image_fault.code)

    def image_if_known(self) -> str:
        """The image's id; empty when it cannot be told. Then Glance is not asked for that again until the memory of
        names ends: a listing must not wait for it pass by pass."""
        key = "image is not to be had"
        if key not in self.known:
            try:
                return self.image()
            except (CloudFault, LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
                self.known[key] = True
        return ""

    def _image(self) -> str:
        wanted = self.settings.image
        if UUID.fullmatch(wanted) and self._exists("image", f"/images/{wanted}"):
            return wanted
        if not self.settings.image_newest:
            found = self.calls.get("image", f"/images?name={quote(wanted)}&status=active")["images"]
            return str(self._only("image", wanted, found)["id"])
        every = self.calls.get("image", "/images?status=active&sort=created_at:desc&limit=1000")["images"]
        newest = [image for image in every if str(image["name"]).startswith(wanted)]
        if not newest:
            raise CloudUnreachable(f"no active image has a name that begins with {wanted!r}", "misconfigured")
        return str(max(newest, key=lambda image: image["created_at"])["id"])

    def networks(self) -> list[str]:
        """The ids of the configured networks."""
        return [self.network(name) for name in self.settings.networks]

    def network(self, name: str) -> str:
        """A network's id."""
        return self._of_neutron("network", "networks", name)

    def security_group(self, name: str) -> str:
        """A security group's id, where a port of ours needs it. By name it is the project's own, or one that is shared
        with it: an administrator is shown everybody's, and each project has a `default`."""
        return self._of_neutron("security group", "security-groups", name, own=True)

    def _of_neutron(self, what: str, path: str, name: str, own: bool = False) -> str:
        def ask(query: str) -> list[Any]:
            return list(self.calls.get("network", f"/{path}?{query}")[path.replace("-", "_")])

        def resolve() -> str:
            by_id = UUID.fullmatch(name) is not None
            query = f"{'id' if by_id else 'name'}={quote(name)}"
            if own and not by_id:
                found = ask(f"{query}&project_id={quote(self.calls.project())}") or ask(f"{query}&shared=true")
            else:
                found = ask(query)
            return str(self._only(what, name, found)["id"])

        return str(self._once(f"{what} {name}", resolve))

    def _exists(self, service: str, path: str) -> bool:
        try:
            return bool(self.calls.get(service, path))
        except Gone:
            return False

    def _only(self, what: str, name: str, found: list[Any]) -> Mapping[str, Any]:
        if len(found) != 1:
            why = (
                f"there is no {what} {name!r}"
                if not found
                else f"{len(found)} {what}s are called {name!r}; give the id"
            )
            raise CloudUnreachable(why, "misconfigured")
        return dict(found[0])

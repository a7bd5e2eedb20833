"""What a creation asks Nova for, and what is made before it: ports and a floating IP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ehoslite.clouds.calls import Calls
from ehoslite.clouds.names import Names
from ehoslite.errors import ActionFailed
from ehoslite.settings import OpenStackCloudSettings

# In the metadata of a server that was made without tags.
NO_TAGS = "ehoslite-no-tags"
# Nova takes tags with a creation since 2.52.
TAGS_SINCE = (2, 52)


@dataclass(frozen=True)
class Request:
    """The creation of one server, for a Nova of this microversion."""

    settings: OpenStackCloudSettings
    names: Names
    calls: Calls
    microversion: tuple[int, int]

    def body(self, node: str, flavor: str, data: str, marks: Mapping[str, str]) -> dict[str, Any]:
        """The body of the POST; `data` is the user data in base64, `marks` say whose the server is. Makes the ports."""
        settings, names = self.settings, self.names
        known = names.flavors()
        if flavor not in known:
            raise ActionFailed(f"there is no flavor {flavor!r} in {self.calls.name}")
        tagged = self.microversion >= TAGS_SINCE
        server: dict[str, Any] = {
            "name": node,
            "flavorRef": known[flavor]["id"],
            "user_data": data,
            "config_drive": settings.config_drive,
            "metadata": {**settings.metadata, **marks, **({} if tagged else {NO_TAGS: "yes"})},
            "networks": self._networks(node),
        }
        if not settings.boot_volume:
            server["imageRef"] = names.image()
        if tagged:
            server["tags"] = [f"{name}={value}" for name, value in marks.items()]
        if settings.security_groups and not settings.makes_ports:
            server["security_groups"] = [{"name": group} for group in settings.security_groups]
        if settings.keypair:
            server["key_name"] = settings.keypair
        if settings.availability_zone:
            server["availability_zone"] = settings.availability_zone
        if devices := self._devices():
            server["block_device_mapping_v2"] = devices
        hints = {"os:scheduler_hints": {"group": settings.server_group}} if settings.server_group else {}
        return {"server": server, **hints}

    def _devices(self) -> list[dict[str, Any]]:
        """Volumes that Nova makes with the server and deletes with it."""
        settings, devices = self.settings, []
        common = {"destination_type": "volume", "delete_on_termination": True}
        if settings.boot_volume:
            source = {"source_type": "image", "uuid": self.names.image(), "volume_size": settings.boot_volume}
            devices.append({"boot_index": 0, **source, **common})
        elif settings.scratch_size:
            local = {"source_type": "image", "uuid": self.names.image(), "destination_type": "local"}
            devices.append({"boot_index": 0, **local, "delete_on_termination": True})
        if settings.scratch_size:
            devices.append({"boot_index": -1, "source_type": "blank", "volume_size": settings.scratch_size, **common})
        return devices

    def _networks(self, node: str) -> Any:
        """The networks' ids; ports of our own where they are wanted, or an address must be there before the server."""
        networks = self.names.networks()
        if not self.settings.makes_ports:
            return [{"uuid": network} for network in networks] or ("auto" if self.microversion >= (2, 37) else [])
        ports = [self._make_port(node, network) for network in networks]
        if self.settings.floating_ip:
            self._make_address(node, ports[0])
        return [{"port": port} for port in ports]

    def _make_address(self, node: str, port: str) -> None:
        body = {
            "floating_network_id": self.names.network(self.settings.floating_ip),
            "port_id": port,
            "description": node,
        }
        self.calls.post("network", "/floatingips", {"floatingip": body})

    def _make_port(self, node: str, network: str) -> str:
        body: dict[str, Any] = {"network_id": network, "name": node}
        if self.settings.security_groups:
            body["security_groups"] = [self.names.security_group(group) for group in self.settings.security_groups]
        return str(self.calls.post("network", "/ports", {"port": body})["port"]["id"])

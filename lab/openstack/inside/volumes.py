# mypy: disable-error-code="import-not-found, misc"
"""Cinder's volume driver of the lab: volumes that are only written down, without any data."""

from __future__ import annotations

from typing import Any

from cinder.volume import driver

CAPACITY_GB = 1_000_000


class LabVolumeDriver(driver.VolumeDriver):
    """Says yes to all; nova's fake driver attaches without a device."""

    VERSION = "1"

    def check_for_setup_error(self) -> None:
        """Nothing can be wrong."""

    def _update_volume_stats(self) -> None:
        self._stats = {
            "volume_backend_name": "lab",
            "vendor_name": "ehoslite",
            "driver_version": self.VERSION,
            "storage_protocol": "lab",
            "total_capacity_gb": CAPACITY_GB,
            "free_capacity_gb": CAPACITY_GB,
            "reserved_percentage": 0,
        }

    def create_volume(self, volume: Any) -> None:
        """Nothing to make."""

    def clone_image(self, *_: Any) -> tuple[dict[str, Any], bool]:
        """Say that the image is on the volume already: cinder would download and convert it."""
        return {}, True

    def delete_volume(self, volume: Any) -> None:
        """Nothing to remove."""

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Nothing to extend."""

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Nothing to export."""

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        """Nothing to export."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """Nothing to withdraw."""

    def initialize_connection(self, volume: Any, connector: Any) -> dict[str, Any]:  # noqa: ARG002 cinder's signature
        """Return what nova's driver would connect to."""
        return {"driver_volume_type": "lab", "data": {"volume_id": volume.id, "size_gb": volume.size}}

    def terminate_connection(self, volume: Any, connector: Any, **rest: Any) -> None:
        """Nothing to cut."""

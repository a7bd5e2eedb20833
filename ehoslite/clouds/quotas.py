"""What one OpenStack still allows: quotas with what everybody in the project uses, and our own limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ehoslite.clouds.calls import Calls
from ehoslite.model import UNLIMITED, Flavor, Room
from ehoslite.settings import OpenStackCloudSettings


def room_of(
    settings: OpenStackCloudSettings,
    calls: Calls,
    listed: Sequence[Mapping[str, Any]],
    flavors: Sequence[Flavor],
    microversion: str,
) -> Room:
    """The room for further servers; what a server needs beside cores and memory is counted in servers."""
    absolute = calls.get("compute", "/limits", microversion)["limits"]["absolute"]
    counts = {
        "the quota of instances": left(absolute, "maxTotalInstances", "totalInstancesUsed"),
        "limits.nodes": settings.limits.nodes - len(listed),
        "limits.building": settings.limits.building - sum(one.get("status") == "BUILD" for one in listed),
        **_volumes(settings, calls),
        **_addresses(settings, calls),
    }
    tightest = min(counts, key=lambda name: counts[name])
    sizes = {flavor.name: flavor for flavor in flavors}
    used = [sizes.get(str(one.get("flavor", {}).get("original_name", ""))) for one in listed]
    cores = settings.limits.cores - sum(flavor.resources.cpus for flavor in used if flavor)
    memory = settings.limits.memory - sum(flavor.counted_memory for flavor in used if flavor)
    return Room(
        counts[tightest],
        min(cores, left(absolute, "maxTotalCores", "totalCoresUsed")),
        min(memory, left(absolute, "maxTotalRAMSize", "totalRAMUsed")),
        "" if tightest == "the quota of instances" else tightest,
    )


def left(limits: Mapping[str, Any], most: str, used: str) -> float:
    """What is left of a limit; -1 means that there is none."""
    limit = limits.get(most, -1)
    return UNLIMITED if limit < 0 else limit - limits.get(used, 0)


def _volumes(settings: OpenStackCloudSettings, calls: Calls) -> dict[str, float]:
    """How many nodes Cinder's quotas allow, where a node has volumes."""
    sizes = [size for size in (settings.boot_volume, settings.scratch_size) if size]
    if not sizes:
        return {}
    absolute = calls.get("block_storage", "/limits")["limits"]["absolute"]
    return {
        "the quota of volumes": left(absolute, "maxTotalVolumes", "totalVolumesUsed") // len(sizes),
        "the quota of gigabytes": left(absolute, "maxTotalVolumeGigabytes", "totalGigabytesUsed") // sum(sizes),
    }


def _addresses(settings: OpenStackCloudSettings, calls: Calls) -> dict[str, float]:
    """How many nodes Neutron's quotas allow, where a node has a floating IP and ports of ours."""
    if not settings.floating_ip:
        return {}
    project = calls.connection().current_project_id
    quotas = calls.get("network", f"/quotas/{project}/details.json")["quota"]
    counts = {"the quota of floating IPs": ("floatingip", 1), "the quota of ports": ("port", len(settings.networks))}
    return {name: _of_quota(quotas.get(kind, {})) // max(1, each) for name, (kind, each) in counts.items()}


def _of_quota(quota: Mapping[str, Any]) -> float:
    limit = quota.get("limit", -1)
    return UNLIMITED if limit < 0 else limit - quota.get("used", 0) - quota.get("reserved", 0)

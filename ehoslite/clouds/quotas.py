"""What one OpenStack still allows: quotas with what everybody in the project uses, and our own limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ehoslite.clouds.calls import Calls
from ehoslite.model import BUILDING, Flavor, Room
from ehoslite.resources import UNLIMITED
from ehoslite.settings import OpenStackCloudSettings


def room_of(
    settings: OpenStackCloudSettings,
    calls: Calls,
    listed: Sequence[tuple[str, Mapping[str, Any]]],
    flavors: Sequence[Flavor],
    microversion: str,
) -> Room:
    """The room for further servers; what a server needs beside cores and memory is counted in servers. `listed` has
    our servers, each with its flavor's name."""
    absolute = calls.get("compute", "/limits", microversion)["limits"]["absolute"]
    counts = {
        "the quota of instances": left(absolute, "maxTotalInstances", "totalInstancesUsed"),
        "limits.nodes": settings.limits.nodes - len(listed),
        BUILDING: settings.limits.building - sum(one.get("status") == "BUILD" for _, one in listed),
        **_volumes(settings, calls),
        **_addresses(settings, calls),
    }
    tightest = min(counts, key=lambda name: counts[name])
    sizes = {flavor.name: flavor for flavor in flavors}
    used = [counted(one.get("flavor", {}), sizes.get(name)) for name, one in listed]
    ours = sum(cpus for cpus, _ in used), sum(megabytes for _, megabytes in used)
    cores, cores_bound = tighter(
        left(absolute, "maxTotalCores", "totalCoresUsed"), settings.limits.cores - ours[0], "limits.cores"
    )
    memory, memory_bound = tighter(
        left(absolute, "maxTotalRAMSize", "totalRAMUsed"), settings.limits.memory - ours[1], "limits.memory"
    )
    return Room(
        counts[tightest],
        cores,
        memory,
        "" if tightest == "the quota of instances" else tightest,
        min(count for name, count in counts.items() if name != BUILDING),
        cores_bound,
        memory_bound,
    )


def tighter(quota: float, own: float, name: str) -> tuple[float, str]:
    """What is left of the quota, or of our own limit of this name with that name, whichever is less."""
    return (own, name) if own < quota else (quota, "")


def counted(shown: Mapping[str, Any], flavor: Flavor | None) -> tuple[float, float]:
    """Cores and MB of memory of a server: as Nova shows them with it since 2.47, else by its configured flavor; of one
    that is not configured any more an older Nova tells nothing."""
    if "vcpus" in shown and "ram" in shown:
        return float(shown["vcpus"]), float(shown["ram"])
    return (flavor.counted_cpus, flavor.counted_memory) if flavor else (0.0, 0.0)


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
    if not settings.makes_ports:
        return {}
    quotas = calls.get("network", f"/quotas/{calls.project()}/details.json")["quota"]
    counts = {"the quota of ports": ("port", len(settings.networks))}
    if settings.floating_ip:
        counts["the quota of floating IPs"] = ("floatingip", 1)
    return {name: _of_quota(quotas.get(kind, {})) // max(1, each) for name, (kind, each) in counts.items()}


def _of_quota(quota: Mapping[str, Any]) -> float:
    limit = quota.get("limit", -1)
    return UNLIMITED if limit < 0 else limit - quota.get("used", 0) - quota.get("reserved", 0)

"""Judges what the clouds say of the pieces that a node needs: good, or what to do. No call is made here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from ehoslite.clouds.finding import Said, count_of, instead, list_out
from ehoslite.model import Flavor, Room
from ehoslite.resources import Resources
from ehoslite.settings import OpenStackCloudSettings

MB_PER_GB = 1024
# HTCondor's shared port; UDP carries the updates and invitations that need no answer.
CONDOR_PORT = 9618
PROTOCOLS = {"TCP": {"tcp", "6"}, "UDP": {"udp", "17"}}
# What Neutron says of a rule for every protocol.
EVERY_PROTOCOL = {"any", "0", ""}
# A clock that is off by more is said: tokens and Retry-After are reckoned by it.
CLOCK_TOLERANCE = 5.0
BYTES_PER_GB = 1024**3


def clock_fault(date: str, begun: float, ended: float) -> str:
    """How far the cloud's clock is from ours, by the Date of an answer to a call of ours that began and ended at these
    epoch seconds; empty while that is within reason. Date has whole seconds."""
    try:
        said = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return ""
    off = said - ended if said > ended else min(0.0, said + 1 - begun)
    if abs(off) <= CLOCK_TOLERANCE:
        return ""
    way = "ahead of" if off > 0 else "behind"
    return f"the cloud's is {abs(off):.0f} s {way} ours: tokens and Retry-After suffer; is NTP (chrony) running here?"


def image_advice(wanted: str, every: Iterable[Mapping[str, Any]]) -> str:
    """What to do about an image that is not the one image, given every image, the newest first."""
    images = list(every)
    same = [one for one in images if one["name"] == wanted]
    if len(same) > 1:
        return ": " + ", ".join(f"{one['id']} ({one['created_at']})" for one in same)
    if same:
        return f"; it is there, but {same[0]['status']}: wait for it, or upload it again"
    names = [str(one["name"] or "") for one in images]
    begin = [name for name in names if name.startswith(wanted)]
    if begin:
        return f"; {len(begin)} names begin so ({', '.join(begin[:5])}): give one, or image_newest: true for the newest"
    return instead(wanted, names)


def flavor_faults(seen: Mapping[str, Any], settings: OpenStackCloudSettings) -> list[str]:
    """Why a node of this flavor would have nothing to offer."""
    disk = ((settings.boot_volume or int(seen["disk"])) + settings.scratch_size) * MB_PER_GB
    faults = []
    if int(seen["ram"]) <= settings.memory_reserved:
        faults.append(f"memory_reserved ({settings.memory_reserved} MB) leaves nothing of its memory")
    if disk <= settings.disk_reserved:
        faults.append(
            f"disk_reserved ({settings.disk_reserved} MB) leaves nothing of its disk: no job fits; set boot_volume or "
            "scratch_size, or choose another flavor"
        )
    return faults


def image_faults(seen: Mapping[str, Any], image: Mapping[str, Any], settings: OpenStackCloudSettings) -> list[str]:
    """Why Nova would refuse the image on this flavor (nova.compute.api, _validate_flavor_image): a disk of 0 is made as
    large as the image. What is sparse in the image is none on the disk: virtual_size counts, where Glance knows it."""
    memory, disk = int(image.get("min_ram") or 0), settings.boot_volume or int(seen["disk"])
    size = max(int(image.get("size") or 0), int(image.get("virtual_size") or 0))
    least = max(int(image.get("min_disk") or 0), -(-size // BYTES_PER_GB))
    faults = [f"the image needs {memory} MB memory"] if memory > int(seen["ram"]) else []
    return faults + ([f"the image needs {least} GB disk"] if 0 < disk < least else [])


def quota_faults(
    seen: Mapping[str, Any], absolute: Mapping[str, Any], settings: OpenStackCloudSettings
) -> Iterator[str]:
    """Why not even the first node of this flavor can be made; -1 stands for no quota."""
    cores, memory = int(absolute.get("maxTotalCores", -1)), int(absolute.get("maxTotalRAMSize", -1))
    if 0 <= cores < int(seen["vcpus"]):
        yield f"out of reach: the quota is {count_of(cores, 'core')} in all"
    if 0 <= memory < int(seen["ram"]):
        yield f"out of reach: the quota is {memory} MB memory in all"
    if settings.limits.cores < int(seen["vcpus"]):
        yield f"out of reach: limits.cores is {settings.limits.cores}"
    if settings.limits.memory < int(seen["ram"]) - settings.memory_reserved:
        yield f"out of reach: limits.memory is {settings.limits.memory}"


def network_choice(names: list[str]) -> Said:
    """What comes of it that no network is configured where the project sees these."""
    if len(names) == 1:
        return True, f"{names[0]}, the only one"
    if names:
        many = f"the project sees {len(names)}: {list_out(names, 'and')}"
        return False, f'none is configured and {many}; Nova will refuse ("multiple possible networks"): name one'
    return False, "none is configured and the project has none: make one with a subnet, and name it in `networks`"


def port_opening(groups: list[Mapping[str, Any]]) -> Said:
    """Whether these groups together let port 9618 in by TCP and UDP, and from where."""
    known = {str(group["id"]): str(group["name"]) for group in groups}
    rules = [rule for group in groups for rule in group["security_group_rules"]]
    sources = {name: sources_of(rules, words, known) for name, words in PROTOCOLS.items()}
    closed = [name for name, found in sources.items() if not found]
    if not closed:
        return True, "; ".join(f"{name} from {list_out(found, 'and')}" for name, found in sources.items())
    command = "openstack security group rule create --ingress --dst-port 9618 --remote-ip NETWORK --protocol"
    advice = ", and ".join(f"`{command} {name.lower()} {groups[0]['name']}`" for name in closed)
    return False, f"closed for {list_out(closed, 'and')}: {advice}"


def sources_of(rules: Iterable[Mapping[str, Any]], words: set[str], known: Mapping[str, str]) -> list[str]:
    """From where these rules let HTCondor's port in by one protocol."""
    found = []
    for rule in rules:
        low, high = rule.get("port_range_min"), rule.get("port_range_max")
        fits = str(rule.get("protocol") or "").lower() in words | EVERY_PROTOCOL
        if rule["direction"] == "ingress" and fits and (low or 0) <= CONDOR_PORT <= (high or 65535):
            found.append(source_of(rule, known))
    return ["anywhere"] if "anywhere" in found else sorted(set(found))


def source_of(rule: Mapping[str, Any], known: Mapping[str, str]) -> str:
    """From where one rule lets in."""
    if group := rule.get("remote_group_id"):
        return f"members of group {known.get(group, group)} alone (submit hosts must be such)"
    if addresses := rule.get("remote_address_group_id"):
        return f"address group {addresses}"
    prefix = rule.get("remote_ip_prefix")
    anywhere = "anywhere by IPv6" if rule.get("ethertype") == "IPv6" else "anywhere"
    return anywhere if prefix in (None, "0.0.0.0/0", "::/0") else str(prefix)


def room_left(room: Room, flavors: Sequence[Flavor], ours: int) -> Said:
    """How many nodes of each flavor may still be made; none at all is a fault where none of ours is the reason."""
    fits = {flavor.name: room.holds(flavor) for flavor in flavors}
    have = f"{_amount(room.instances)} servers, {_amount(room.cores)} cores, {_amount(room.memory)} MB memory left"
    have += f" (servers by {room.bound})" if room.bound else ""
    have += f" beside {count_of(ours, 'node')} of this pool" if ours else ""
    allowed = list_out([f"{_amount(count)} {name}" for name, count in fits.items()], "or") if fits else "no flavor yet"
    if any(fits.values()) or ours or not fits:
        return True, f"{have}; room for {allowed}"
    full = min((room.what_binds(flavor) for flavor in flavors), key=len)
    by_others = "" if all(name.startswith("limits.") for name in full) else ", or remove what uses it up"
    return False, f"{have}; room for {allowed}: raise {list_out(list(full), 'and')}{by_others}"


def _amount(number: float) -> str:
    """A number as a person says it; our own default limits are as good as none."""
    return "any number of" if number >= 10**8 else f"{max(number, 0):.0f}"


def size_of(cloud: str, name: str, cpus: int, memory: int) -> Flavor:
    """A flavor as quotas count it: whole."""
    return Flavor(cloud, name, Resources(cpus, memory))

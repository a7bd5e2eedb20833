"""The rules, each under the name that an operator would give it. Small pure functions that plan.py combines.

Which flavors serve a shape, and what limits do to that, is in ways.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import ceil
from zlib import crc32

from ehoslite.carving import side_by_side
from ehoslite.memory import Boots
from ehoslite.model import CloudView, CondorState, Flavor, Node, Shape, VmState, World
from ehoslite.nodes import FRESH, SILENT
from ehoslite.resources import Resources
from ehoslite.settings import Settings

# Nova's words for a server that keeps its memory while it does not run; one that is SHUTOFF or SHELVED has lost it.
FROZEN = {"SUSPENDED", "PAUSED"}


# However often boots have failed, one is tried again after an hour: the cloud may be well again.
LONGEST_BACKOFF = 3600.0
# Boots are judged by those before them once there are three; passes see a node join up to a minute or two late.
OBSERVED_BOOTS, BOOT_MARGIN, SHORTEST_BOOT = 3, 3.0, 300.0


def smallest_first(flavors: Iterable[Flavor]) -> list[Flavor]:
    """Cheapest, then smallest: a right-sized node costs 13 % less on real traces than one size for all."""
    return sorted(flavors, key=lambda flavor: (flavor.price, flavor.resources, flavor.name))


def runs_on(shape: Shape, flavor: Flavor) -> bool:
    """Whether such a job could ever run on a node of this flavor."""
    return flavor.resources.fits(shape.request) and shape.runs(flavor.ilk)


def flavors_for(shape: Shape, clouds: Iterable[CloudView]) -> list[Flavor]:
    """The flavors of these clouds on which such a job could ever run, smallest first."""
    return smallest_first(flavor for cloud in clouds for flavor in cloud.flavors if runs_on(shape, flavor))


def flavors_to_try(shape: Shape, clouds: Iterable[CloudView]) -> list[Flavor]:
    """The flavors of these clouds that are large enough for such a job, and of which nobody knows yet whether it runs
    there, smallest first."""
    return fitting_flavors(shape.request, (one for cloud in clouds for one in cloud.flavors if one.ilk in shape.tries))


def fitting_flavors(request: Resources, flavors: Iterable[Flavor]) -> list[Flavor]:
    """The flavors on which the request could ever run, smallest first."""
    return smallest_first(flavor for flavor in flavors if flavor.resources.fits(request))


def cloud_order(
    allocation: str, clouds: Sequence[CloudView], nodes: Mapping[str, int], request: Resources, draw: str
) -> list[CloudView]:
    """The clouds in the order in which they are asked for the next node. `nodes` counts ours in each; `draw` names
    this draw of `random`: the same draw gives the same order."""
    if allocation == "round-robin":
        return sorted(clouds, key=lambda cloud: nodes.get(cloud.name, 0))
    if allocation == "random":
        return sorted(clouds, key=lambda cloud: crc32(f"{draw}/{cloud.name}".encode()))
    if allocation == "cheapest":
        return sorted(clouds, key=lambda cloud: cheapest_price(request, cloud.flavors))
    return list(clouds)


def one_at_a_time(allocation: str) -> bool:
    """Whether each node is a decision of its own, or a cloud takes as many as it can."""
    return allocation in {"round-robin", "random"}


def cheapest_price(request: Resources, flavors: Iterable[Flavor]) -> float:
    """The lowest price of room for one such request on a full node; infinite where none fits."""
    fitting = fitting_flavors(request, flavors)
    prices = [flavor.price / min(side_by_side(flavor.resources, request), 1000) for flavor in fitting]
    return min(prices, default=float("inf"))


def cloud_minimum(cloud: str, settings: Settings) -> int:
    """How many nodes to keep in this cloud, whatever the queue."""
    known = settings.clouds.get(cloud)
    return known.nodes_min if known else 0


def has_reserve(settings: Settings) -> bool:
    """Whether free cores are to be kept ready."""
    return bool(settings.scaling.reserve_cores or settings.scaling.reserve_share)


def reserve_wanted(cores_in_use: float, settings: Settings) -> float:
    """How many free cores to keep ready: so many, or that share of the load, whichever is more. On real traces a fifth
    cut the wait above an always-on pool by a third (60 s to 40 s) and cost 4 % more."""
    return max(float(settings.scaling.reserve_cores), ceil(settings.scaling.reserve_share * cores_in_use - 1e-9))


def has_drifted(node: Node, flavor: Flavor | None, offered: Collection[str]) -> bool:
    """Whether it is made of something else than a new node of its flavor would be: another image, template or option
    (`made_of` of both), or its flavor is offered no more. What is not known is no difference."""
    if node.cloud not in offered or not node.servers or not node.servers[0].made_of:
        return False
    return flavor is None or bool(flavor.made_of and flavor.made_of != node.servers[0].made_of)


def retire_order(order: str, node: Node, price: float, *, drifted: bool) -> tuple[float | str, ...]:
    """The sort key by which idle nodes go, first to last; among equals the longest idle."""
    created = min((server.created for server in node.servers), default=node.created)
    first: tuple[float, ...] = {
        "longest-idle": (),
        "dearest": (-price,),
        "emptiest": (-sum(slot.free.cpus for slot in node.slots), -sum(slot.free.memory for slot in node.slots)),
        "oldest-image": (not drifted, created),
    }[order]
    return (*first, node.idle_since, node.id)


def drift_at_once(nodes: int, settings: Settings) -> int:
    """How many nodes may be on their way out at a time for having drifted."""
    return max(settings.scaling.drift_nodes, int(settings.scaling.drift_share * nodes))


def is_ghost(node: Node, world: World) -> bool:
    """Whether only ads are left of it: its cloud answered without it, and its startd is silent."""
    if node.servers or not node.slots:
        return False
    answered = {cloud.name for cloud in world.clouds if not cloud.fault}
    silent_clouds = {cloud.name for cloud in world.clouds if cloud.fault}
    return (node.cloud in answered or not silent_clouds) and world.now - node.heard > FRESH


def is_forgotten_soon(node: Node, world: World) -> bool:
    """Whether it is remembered only because its startd was heard a moment ago: its server and its ads are gone."""
    return node.joined > 0 and not node.servers and not node.slots and not is_of_silent_cloud(node, world)


def counts_to_limits(node: Node, world: World) -> bool:
    """Everything counts that may exist: intended, booting, stopped, failed, of a silent cloud. Only ghosts do not."""
    return not is_ghost(node, world)


def backs_off_until(boots: Boots, settings: Settings) -> float:
    """Until when nothing is created there: the wait doubles with each pass in which boots have failed."""
    if not boots.failures:
        return 0.0
    wait: float = settings.scaling.boot_backoff * 2.0 ** min(boots.rounds - 1, 30)
    return boots.failed_at + min(wait, LONGEST_BACKOFF)


def boot_allowed(times: Sequence[float], settings: Settings) -> float:
    """How long a boot may take: three times the longest of those observed, once there are some, within limits."""
    if len(times) < OBSERVED_BOOTS:
        return settings.scaling.boot_timeout
    return min(settings.scaling.boot_timeout, max(SHORTEST_BOOT, BOOT_MARGIN * max(times)))


def is_booting(node: Node, now: float) -> bool:
    """Whether it may still join: a young server (or an intent) whose startd was never seen. One that is remembered and
    that a listing leaves out, or whose cloud is silent, is missed for a while, not replaced."""
    return (
        node.condor_state is CondorState.ABSENT
        and (node.vm_state in {VmState.BOOTING, VmState.ACTIVE} or not node.servers)
        and silent_for(node, now) <= node.boot_allowed
    )


def comes_back(node: Node, world: World, settings: Settings) -> bool:
    """Whether a node whose ads are missing may well be alive: they have only just gone (a startd that restarts, an
    invalidation by somebody), or the collector has only just started and the node was heard up to then."""
    heard = max(node.heard, node.joined, node.watched)
    if node.condor_state is not CondorState.LOST or node.slots or not _may_run(node, world):
        return False
    if collector_is_young(world, settings):
        return min(world.collector_since, world.now) - heard <= SILENT
    return world.now - heard <= FRESH


def _may_run(node: Node, world: World) -> bool:
    return node.vm_state in {VmState.ACTIVE, VmState.BOOTING} or is_of_silent_cloud(node, world)


def is_of_silent_cloud(node: Node, world: World) -> bool:
    """Whether the cloud that would list its server has not answered."""
    return any(cloud.fault and cloud.name == node.cloud for cloud in world.clouds)


def is_serving(node: Node) -> bool:
    """Whether it takes jobs or runs them, and goes on doing so."""
    return node.condor_state in {CondorState.IDLE, CondorState.BUSY} and node.vm_state in {
        VmState.ACTIVE,
        VmState.BOOTING,
        VmState.UNKNOWN,
    }


def can_be_taken_back(node: Node) -> bool:
    """Whether a drain of ours can be undone to serve jobs at once."""
    return (
        node.condor_state in {CondorState.DRAINED, CondorState.DRAINING}
        and node.drained_by_us
        and node.vm_state is VmState.ACTIVE
    )


def idle_too_long(node: Node, now: float, settings: Settings) -> bool:
    """Whether it has been idle without a break past idle_timeout."""
    return (
        node.condor_state is CondorState.IDLE
        and node.idle_since > 0
        and now - node.idle_since >= settings.scaling.idle_timeout
    )


def collector_is_young(world: World, settings: Settings) -> bool:
    """Whether the collector started so lately that a node it does not know may still be running jobs."""
    heard = max((slot.heard for slot in world.slots), default=world.now)
    return min(heard, world.now) - world.collector_since < settings.condor.collector_warmup


def may_retire(world: World, settings: Settings) -> bool:
    """Whether idle nodes may be drained: all jobs are known, and the collector has had the time to hear of them."""
    return not world.demand.silent and not collector_is_young(world, settings)


def deleting_for(node: Node, now: float) -> float:
    """How long its server has been deleting, as far as its cloud tells."""
    return now - max(node.servers[0].changed, node.servers[0].created)


def is_going(node: Node, now: float, settings: Settings) -> bool:
    """Whether its server is being deleted and may soon be gone: one that takes longer than a boot is stuck."""
    return node.vm_state is VmState.DELETING and deleting_for(node, now) <= settings.scaling.boot_timeout


def silent_for(node: Node, now: float) -> float:
    """How long its startd has given no sign of life while passes looked for one; for a node whose past is unknown,
    since we first saw it."""
    return now - max(node.heard, node.joined, node.created, node.watched)


def silence_allowed(node: Node, settings: Settings) -> float:
    """How long a node may be silent before it is replaced. One that we made and that never joined runs no job, so its
    boot timeout counts; of any other a schedd may still hold a claim until the job lease has run out."""
    never_joined = node.condor_state is CondorState.ABSENT and node.created_here
    return node.boot_allowed if never_joined else settings.scaling.lost_timeout


def may_hold_a_job(node: Node, now: float, settings: Settings) -> bool:
    """Whether its ads say that it is claimed and are young enough that the schedd may still hold the claim; or could
    not say so, because somebody froze the server: a job sleeps in its memory and goes on when it is resumed."""
    if node.claimed and now - max(node.heard, node.watched) <= settings.scaling.lost_timeout:
        return True
    frozen = any(server.status in FROZEN for server in node.servers) and node.condor_state is not CondorState.DRAINED
    return frozen and silent_for(node, now) <= settings.scaling.lost_timeout

"""What limits would leave without the nodes that nothing needs: there jobs that no idle node fits get theirs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ehoslite import policies
from ehoslite.actions import Delete
from ehoslite.allowance import Allowance
from ehoslite.draft import Draft
from ehoslite.model import BUILDING, CondorState, Flavor, Node, Shape, VmState


def room_to_come(draft: Draft) -> list[Flavor]:
    """The flavors of which jobs that a limit leaves without a node get one when what goes is gone: idle nodes that may
    be drained for it in this pass, and what is on its way out. Their room is not for the minimum, the spare or the
    reserve, which would take it again."""
    if not draft.short:
        return []
    can_go = policies.may_retire(draft.world, draft.settings)
    idle = [node for node in draft.counted if can_go and is_unneeded(draft, node) and not draft.shares_machine(node)]
    after = allowance_after(draft, idle)
    worth = {flavor for shape, _ in draft.short for flavor in flavors_worth_room(draft, shape)}
    return [flavor for flavor in draft.flavors.values() if flavor in worth and after.allows(flavor)]


def is_unneeded(draft: Draft, node: Node) -> bool:
    """Whether it is idle, and neither jobs nor the minimum want it."""
    is_idle = node.condor_state is CondorState.IDLE and node.vm_state is VmState.ACTIVE
    return is_idle and not draft.is_kept(node)


def flavors_worth_room(draft: Draft, shape: Shape) -> list[Flavor]:
    """The flavors for this shape, and those to be tried out for it, that lack nothing but room."""
    flavors = [*policies.flavors_for(shape, draft.clouds), *policies.flavors_to_try(shape, draft.clouds)]
    return [flavor for flavor in flavors if is_worth_room(draft, flavor)]


def is_worth_room(draft: Draft, flavor: Flavor) -> bool:
    """Whether room is all that one of this flavor lacks: a cap on servers that build passes by itself."""
    room = draft.allowance.rooms[flavor.cloud]
    return draft.allowance.trusted(flavor) > 0 and (room.bound != BUILDING or room.instances >= 1)


def allowance_after(draft: Draft, gone: Sequence[Node]) -> Allowance:
    """What may be made once these nodes, and those on their way out already, are gone."""
    after, leaving = draft.allowance.copy(), {node.id for node in (*gone, *on_their_way_out(draft))}
    for node in draft.counted:
        if node.id in leaving:
            after.give_back(node.cloud, draft.amounts[node.id])
    return after


def on_their_way_out(draft: Draft) -> Iterator[Node]:
    """Nodes that we drain and that nothing wants back, those that are or will now be deleted, and those that count
    for a moment after. A server whose deletion is stuck is none of them: it may never go."""
    deleted = {action.node.id for action in draft.actions if isinstance(action, Delete)}
    for node in draft.counted:
        if node.vm_state is VmState.DELETING:
            goes = policies.is_going(node, draft.now, draft.settings)
        else:
            drained = policies.can_be_taken_back(node) and not draft.is_kept(node) and not draft.shares_machine(node)
            goes = drained or node.id in deleted or policies.is_forgotten_soon(node, draft.world)
        if goes:
            yield node

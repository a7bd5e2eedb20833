"""The verbs: what a pass may do, with its reasons, what it decides, and what came of it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ehoslite.model import Flavor, Leftover, Node, Shape, World


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a code that programs read (docs/reasons.md lists them) and a sentence that a person reads."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Create:
    """Make one server of this flavor; its node id is chosen when the intent is written."""

    flavor: Flavor
    reason: Reason
    verb = "create"

    @property
    def subject(self) -> str:
        return f"{self.flavor.cloud}/{self.flavor.name}"


@dataclass(frozen=True, slots=True)
class Drain:
    """Ask the startd to take no more jobs, if it judges itself idle."""

    node: Node
    reason: Reason
    verb = "drain"

    @property
    def subject(self) -> str:
        return self.node.id


@dataclass(frozen=True, slots=True)
class Undrain:
    """Take a draining node back: jobs wait for it."""

    node: Node
    reason: Reason
    verb = "undrain"

    @property
    def subject(self) -> str:
        return self.node.id


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the node's servers and what was made with them, then its ads. `drained` says that it must be seen
    Drained/Idle once more right before."""

    node: Node
    reason: Reason
    drained: bool = False
    verb = "delete"

    @property
    def subject(self) -> str:
        return self.node.id


@dataclass(frozen=True, slots=True)
class Forget:
    """Invalidate the ads that a node left in the collector though its server is gone."""

    node: Node
    reason: Reason
    verb = "forget"

    @property
    def subject(self) -> str:
        return self.node.id


@dataclass(frozen=True, slots=True)
class Sweep:
    """Remove what was made with a node that is no more."""

    leftover: Leftover
    reason: Reason
    verb = "sweep"

    @property
    def subject(self) -> str:
        return f"{self.leftover.kind} {self.leftover.id}"


Action = Create | Drain | Undrain | Delete | Forget | Sweep


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Something that was not done, and why: a shape, a node or a cloud is its subject. Several shapes may have the same
    name, so `shape` is the one that it is about."""

    subject: str
    reason: Reason
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What all nodes cost an hour, as the pass found them, and have cost in this calendar month; each with the cap in
    force, None where there is none."""

    hour: float
    hour_cap: float | None
    month: str
    spent: float
    month_cap: float | None

    def __str__(self) -> str:
        def capped(said: str, cap: float | None) -> str:
            return said if cap is None else f"{said} (at most {cap:.6g})"

        hour = capped(f"{self.hour:.6g} an hour", self.hour_cap)
        return f"{hour}, {capped(f'{self.spent:.6g} in {self.month} so far', self.month_cap)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass means to do, and what it does not; `flavors` are those that it chose among, `cost` is that of the
    nodes before it acts, `packed` is how many idle jobs it counts on each node for, by node id."""

    actions: tuple[Action, ...] = ()
    held: tuple[HoldBack, ...] = ()
    nodes: tuple[Node, ...] = ()
    flavors: tuple[Flavor, ...] = ()
    cost: Cost | None = None
    packed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one action: `error` is empty on success; `node` is the id that a creation was given."""

    action: Action
    node: str
    error: str = ""
    harmless: bool = False  # not done, and that is a normal outcome (the node got a job in between)
    certain: bool = False  # a creation that certainly made nothing
    fault: str = ""  # the cloud's fault, by its name (docs/reasons.md)
    server: str = ""  # the id of the server that a creation made, where the cloud told it
    detail: str = ""  # what else is known: the end of a failed boot's console log


@dataclass(frozen=True, slots=True)
class Pass:
    """One finished pass: what it saw, what it decided, what came of it."""

    world: World
    plan: Plan
    outcomes: tuple[Outcome, ...]

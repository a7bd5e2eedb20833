"""How shapes and flavors go together: what a node of a flavor has said of itself, and why a shape does not run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a shape cannot run on a flavor: the clauses that fail, of its Requirements or of the node's START. Where
    `surely` is not set, nobody knows, and one of its nodes is tried unless one is there already."""

    flavor: str
    clauses: tuple[str, ...]
    surely: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """What a node of a flavor really advertised: the attributes that its next one will have too, as a ClassAd. `key`
    names the flavor as booting.py does, `at` is when it was seen. One whose node may be of another recipe is not
    `exact`: what it lacks is not known to be missing. `size` is empty where the node has several static slots.
    `made_of` is its server's (Server.made_of), empty if that is not known."""

    key: str
    at: float
    ad: str
    exact: bool = True
    cpus: float = 0.0
    memory: float = 0.0
    disk: float = 0.0
    gpus: float = 0.0
    made_of: str = ""

    def tells_of(self, made_of: str) -> bool:
        """Whether a node that is made of this lacks what it lacks: the name of an image may stand for a newer one."""
        return self.exact and made_alike(self.made_of, made_of)


def made_alike(one: str, other: str) -> bool:
    """Whether two nodes may be made of the same, by their `made_of`; what is not known is no difference."""
    return not one or not other or one == other

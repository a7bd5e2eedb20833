"""How shapes and flavors go together: what a node of a flavor has said of itself, and why a shape does not run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a shape cannot run on a flavor: the clauses that fail, of its Requirements or of the node's START. Where
    `surely` is not set, the flavor's nodes have not been seen yet, and one may be tried."""

    flavor: str
    clauses: tuple[str, ...]
    surely: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """What a node of a flavor really advertised: the attributes that its next one will have too, as a ClassAd. `key`
    names the flavor as booting.py does, `at` is when it was seen. One whose node may be of another recipe is not
    `exact`: what it lacks is not known to be missing. `size` is empty where the node has several static slots."""

    key: str
    at: float
    ad: str
    exact: bool = True
    cpus: float = 0.0
    memory: float = 0.0
    disk: float = 0.0
    gpus: float = 0.0

"""Whose jobs count: caps on users and accounting groups, and jobs that the negotiator has not seen yet. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ehoslite.ads import number, read_demand, text
from ehoslite.asking import Unanswered
from ehoslite.model import Demand, Unserved

# What a group of jobs says of itself for this, beside its count (schedds.py).
NEGOTIATED, RUNNING = "Negotiated", "Running"


@dataclass(frozen=True, slots=True)
class Served:
    """Which jobs count, beside all others: `caps` by the name of a user or accounting group; `negotiated_only` counts
    only those that the negotiator has asked for."""

    caps: Mapping[str, int]
    negotiated_only: bool = False


def read_served(answers: Mapping[str, Any], served: Served) -> Demand:
    """The answers of the schedds as demand, without what is not served."""
    if not served.caps and not served.negotiated_only:
        return read_demand(answers)
    silent = {name: answer for name, answer in answers.items() if isinstance(answer, Unanswered)}
    groups = [group for answer in answers.values() if not isinstance(answer, Unanswered) for group in answer]
    kept, unserved = serve(groups, served)
    return replace(read_demand({**silent, "": kept}), unserved=unserved)


def serve(groups: Iterable[Mapping[str, Any]], served: Served) -> tuple[list[dict[str, Any]], tuple[Unserved, ...]]:
    """The groups of idle jobs with those counts that are served, and what is not. A cap counts running jobs first, then
    idle ones in an order that does not depend on the schedds'."""
    every = list(groups)
    left = Counter(served.caps)
    for group in every:
        for name in capping(group, served.caps):
            left[name] -= int(number(group, RUNNING))
    kept, unseen, capped = [], 0, Counter[str]()
    for group in sorted((group for group in every if RUNNING not in group), key=_order):
        jobs = int(number(group, "JobCount"))
        if served.negotiated_only and group.get(NEGOTIATED) is False:
            unseen += jobs
            continue
        names = capping(group, served.caps)
        allowed = max(0, min([jobs, *(left[name] for name in names)]))
        for name in names:
            left[name] -= allowed
        if allowed < jobs:
            capped[min(names, key=lambda name: left[name])] += jobs - allowed
        kept.append({**group, "JobCount": allowed})
    return kept, tuple(_unserved(unseen, capped, served.caps))


def _order(group: Mapping[str, Any]) -> tuple[str, str, str, float]:
    return text(group, "Owner"), text(group, "AcctGroup"), str(group.get("Ad", "")), number(group, "JobCount")


def _unserved(unseen: int, capped: Mapping[str, int], caps: Mapping[str, int]) -> Iterable[Unserved]:
    if unseen:
        yield Unserved(unseen, "not-negotiated", "that the negotiator has not asked for yet")
    for name in sorted(capped):
        yield Unserved(capped[name], "capped", whose_are_capped(name, caps))


def whose_are_capped(name: str, caps: Mapping[str, int]) -> str:
    """How the jobs that this cap holds back are spoken of."""
    return f"of {name}, of whom {caps[name]} jobs count at a time (demand.caps)"


def capping(group: Mapping[str, Any], caps: Mapping[str, int]) -> list[str]:
    """The names among the caps that these jobs fall under: their owner's, and that of their accounting group or of one
    that it is a part of (group_physics of group_physics.cms)."""
    owner, accounted = text(group, "Owner"), text(group, "AcctGroup").lower()
    return [name for name in sorted(caps) if name == owner or f"{accounted}.".startswith(f"{name.lower()}.")]

"""Whose jobs count: caps on users and accounting groups, and jobs that the negotiator has not seen yet. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from ehoslite.ads import number, read_demand, request_of, text
from ehoslite.asking import Unanswered
from ehoslite.model import Demand, Unserved
from ehoslite.resources import Resources

# What a group of jobs says of itself for this, beside its count (schedds.py).
NEGOTIATED, RUNNING = "Negotiated", "Running"


@dataclass(frozen=True, slots=True)
class Served:
    """Which jobs count, beside all others: `caps` by the name of a user or accounting group; `negotiated_only` counts
    only those that the negotiator has asked for. Jobs that fit into none of `rooms`, where those are known, come last
    under a cap: they could not use it."""

    caps: Mapping[str, int]
    negotiated_only: bool = False
    rooms: tuple[Resources, ...] = ()

    def fits(self, group: Mapping[str, Any]) -> bool:
        """Whether such a job has room anywhere, by its amounts."""
        request = request_of(group)
        return not self.rooms or any(room.fits(request) for room in self.rooms)


def read_served(answers: Mapping[str, Any], served: Served) -> Demand:
    """The answers of the schedds as demand, without what is not served."""
    if not served.caps and not served.negotiated_only:
        return read_demand(answers)
    silent = {name: answer for name, answer in answers.items() if isinstance(answer, Unanswered)}
    groups = [group for answer in answers.values() if not isinstance(answer, Unanswered) for group in answer]
    kept, unserved = serve(groups, served, vouched=not silent)
    return replace(read_demand({**silent, "": kept}), unserved=unserved)


def serve(
    groups: Iterable[Mapping[str, Any]], served: Served, *, vouched: bool = True
) -> tuple[list[dict[str, Any]], tuple[Unserved, ...]]:
    """The groups of idle jobs with those counts that are served, and what is not. A cap counts running jobs first; the
    rest is dealt to the idle ones in a way that does not depend on the order in which they came. Where it is not
    `vouched` for that these groups have all that run, any cap may be used up: a schedd that does not answer may run as
    many."""
    every = list(groups)
    left = Counter(served.caps if vouched else dict.fromkeys(served.caps, 0))
    for group in every:
        for name in capping(group, served.caps):
            left[name] -= int(number(group, RUNNING))
    idle = sorted((group for group in every if RUNNING not in group), key=_order)
    asked_for = [group for group in idle if not (served.negotiated_only and group.get(NEGOTIATED) is False)]
    unseen = sum(_jobs(group) for group in idle) - sum(_jobs(group) for group in asked_for)
    allowed = count_under(left, asked_for, served)
    kept = [{**group, "JobCount": jobs} for group, jobs in zip(asked_for, allowed, strict=True)]
    held = [(group, _jobs(group) - jobs) for group, jobs in zip(asked_for, allowed, strict=True) if jobs < _jobs(group)]
    return kept, (*_unseen(unseen), *_capped(held, left, served.caps))


def count_under(left: Counter[str], groups: Sequence[Mapping[str, Any]], served: Served) -> list[int]:
    """How many jobs of each of these groups count under caps of which so much is `left`; takes it from there."""
    names = [capping(group, served.caps) for group in groups]
    unmet = [_jobs(group) for group in groups]
    fitting = [served.fits(group) for group in groups]
    for turn in (True, False):
        mine = [place for place, fits in enumerate(fitting) if fits is turn]
        while wanted := {one: unmet[one] for one in mine if unmet[one] and all(left[name] > 0 for name in names[one])}:
            for name in sorted(left):
                wanted.update(deal(left[name], {one: groups[one] for one in wanted if name in names[one]}, wanted))
            for place, jobs in wanted.items():  # what one cap gives another may forbid: then it is dealt out once more
                unmet[place] -= jobs
                left.subtract(dict.fromkeys(names[place], jobs))
    return [_jobs(group) - rest for group, rest in zip(groups, unmet, strict=True)]


def deal(amount: int, groups: Mapping[int, Mapping[str, Any]], wanted: Mapping[int, int]) -> dict[int, int]:
    """What each group gets of what it wants: an equal part for each owner, and in it for each group of jobs."""
    owners: defaultdict[str, list[int]] = defaultdict(list)
    for place, group in groups.items():
        owners[text(group, "Owner")].append(place)
    parts = in_equal_parts(amount, [sum(wanted[place] for place in places) for places in owners.values()])
    dealt: dict[int, int] = {}
    for places, part in zip(owners.values(), parts, strict=True):
        dealt.update(zip(places, in_equal_parts(part, [wanted[place] for place in places]), strict=True))
    return dealt


def in_equal_parts(amount: int, wants: Sequence[int]) -> list[int]:
    """What each gets of an amount: as much as any other, or all that it wants where that is less."""
    parts = [0] * len(wants)
    for waiting, place in zip(range(len(wants), 0, -1), sorted(range(len(wants)), key=wants.__getitem__), strict=True):
        parts[place] = min(wants[place], ceil(amount / waiting))
        amount -= parts[place]
    return parts


def _jobs(group: Mapping[str, Any]) -> int:
    return int(number(group, "JobCount"))


def _order(group: Mapping[str, Any]) -> tuple[str, str, str, str, float]:
    names = text(group, "Owner"), text(group, "AcctGroup"), text(group, "AccountingGroup")
    return (*names, str(group.get("Ad", "")), number(group, "JobCount"))


def _unseen(jobs: int) -> Iterable[Unserved]:
    if jobs:
        yield Unserved(jobs, "not-negotiated", "that the negotiator has not asked for yet")


def _capped(
    held: Iterable[tuple[Mapping[str, Any], int]], left: Mapping[str, int], caps: Mapping[str, int]
) -> Iterator[Unserved]:
    """What the caps hold back, each group of so many jobs under the cap of which the least is left."""
    jobs, requests = Counter[str](), defaultdict[str, set[Resources]](set)
    for group, count in held:
        name = min(capping(group, caps), key=lambda name: left[name])
        jobs[name] += count
        requests[name].add(request_of(group))
    for name in sorted(jobs):
        yield Unserved(jobs[name], "capped", whose_are_capped(name, caps), tuple(sorted(requests[name])))


def whose_are_capped(name: str, caps: Mapping[str, int]) -> str:
    """How the jobs that this cap holds back are spoken of."""
    return f"of {name}, of whom {caps[name]} jobs count at a time (demand.caps)"


def capping(group: Mapping[str, Any], caps: Mapping[str, int]) -> list[str]:
    """The names among the caps that these jobs fall under: their owner's, that of the user to whom they are accounted,
    and that of their accounting group or of one that it is a part of (group_physics of group_physics.cms). Users may
    have dots in their names: where jobs do not tell their group apart, whoever the last parts name is the user."""
    owner, account, accounted = (text(group, name) for name in ("Owner", "AcctGroup", "AccountingGroup"))
    if accounted == owner:
        accounted = ""
    told = bool(account) and accounted.lower().startswith(f"{account.lower()}.")
    user = accounted[len(account) + 1 :] if told else accounted
    groups = [f"{one}.".lower() for one in (account, accounted) if one]

    def falls_under(name: str) -> bool:
        is_user = name in {owner, user} or (not told and user.endswith(f".{name}"))
        return is_user or any(one.startswith(f"{name.lower()}.") for one in groups)

    return [name for name in sorted(caps) if falls_under(name)]

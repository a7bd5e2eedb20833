"""Evaluates Requirements as the negotiator does, both ways, and names the clauses that fail. Runs in the children that
ask HTCondor (asking.py): the bindings are imported there, and plain values are given back.

Packing compares amounts itself (Resources.holds). For slots that exist what it compares is therefore taken out of the
job's Requirements and of the slot's: thousands of slots that differ in free disk alone are then one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from ehoslite.ads import inside_references, outside_references
from ehoslite.matching import Verdict
from ehoslite.wouldbe import words

# `TARGET.Disk >= RequestDisk` and its like, clauses that condor_submit adds: true wherever packing finds room.
COMPARED = re.compile(r"TARGET\.(Cpus|Memory|Disk|GPUs) >= (?:MY\.)?Request\1", re.IGNORECASE)

# The first failing clauses of the job, and of the slot, tell enough.
CLAUSES = 3


def parse_ad(attributes: Mapping[str, str]) -> Any:
    """A ClassAd of these expressions; one that does not parse is left out."""
    import classad2
    import htcondor2  # noqa: F401 - registers the functions that Requirements use (split and others)

    ad = classad2.ClassAd()
    for name, text in attributes.items():
        with suppress(classad2.ClassAdException, ValueError, KeyError, TypeError):
            ad[name] = parse(text)
    return ad


@lru_cache(maxsize=10_000)
def parse(text: str) -> Any:
    """The expression."""
    import classad2

    return classad2.ExprTree(text)


def judge_offer(job: Any, slot: Any, certain: frozenset[str] | None) -> Verdict:
    """The verdict on one shape and one would-be slot, both as ClassAds; `certain` as in Offer."""
    if job.symmetricMatch(slot) and ("Requirements" not in job or is_true("Requirements", job, slot)):
        return Verdict(True)
    asked = failing_clauses("Requirements", job, slot)
    offered = failing_clauses("Requirements", slot, job)
    surely = certain is None or not (asked or offered)
    if certain is not None:
        surely |= any(_of_slot(job, clause) <= certain for clause in asked)
        surely |= any(_of_slot(slot, clause, own=True) <= certain for clause in offered)
    texts = [*asked[:CLAUSES], *(f"the node's own {clause}" for clause in offered[:CLAUSES])]
    return Verdict(False, tuple(texts) or ("Requirements",), surely)


def _of_slot(mine: Any, clause: str, *, own: bool = False) -> set[str]:
    """What a clause asks of the slot, in lower case: of the other ad, or of its `own`."""
    expression = parse(clause)
    outside = outside_references(mine, expression, clause)
    if not own:
        return {name for scope, name in outside if scope != "my"}
    return inside_references(mine, expression) | {name for scope, name in outside if scope != "target"}


def failing_clauses(name: str, mine: Any, target: Any, seen: tuple[str, ...] = ()) -> list[str]:
    """The top-level clauses of an attribute of `mine` that are not true with `target`. Where a clause is the name of
    another expression of the ad (START), its clauses are given."""
    failing: list[str] = []
    for clause in split_clauses(str(mine.lookup(name)) if name in mine else "undefined"):
        if is_true(clause, mine, target):
            continue
        inner = re.sub(r"^MY\.", "", clause, flags=re.IGNORECASE).lower()
        if inner.isidentifier() and inner in mine and inner not in seen and not is_literal(mine, inner):
            failing += failing_clauses(inner, mine, target, (*seen, name.lower(), inner)) or [clause]
        else:
            failing.append(f"{clause} is {mine.lookup(inner)}" if inner.isidentifier() and inner in mine else clause)
    return failing


def is_literal(ad: Any, name: str) -> bool:
    """Whether an attribute is a plain value, in which there is nothing to look into."""
    return bool(re.fullmatch(r'true|false|undefined|error|[-+.\deE]+|"[^"]*"', str(ad.lookup(name)), re.IGNORECASE))


def is_true(clause: str, mine: Any, target: Any) -> bool:
    """Whether a clause is true, as the negotiator takes it: a number other than 0 is true too. It inlines the job's own
    attributes first, by which values come before what asks the slot: `TARGET.Site == "north" || error` is an error to
    it, though plain evaluation, by which startds and schedds judge, ends at the first part (measured, HTCondor 23.9.6).
    """
    expression = parse(mine_text(clause, mine))
    return truth(expression, mine, target) and truth(inline(expression, mine), mine, target)


def mine_text(clause: str, mine: Any) -> str:
    """The clause, or what it is the name of."""
    return str(mine.lookup(clause)) if clause.isidentifier() and clause in mine else clause


def inline(expression: Any, mine: Any) -> Any:
    """The expression with all that its own ad tells put in; a plain value where nothing else is asked."""
    try:
        return mine.flatten(expression)
    except (ValueError, RuntimeError):  # expressions that name each other in a circle
        return expression


def truth(expression: Any, mine: Any, target: Any) -> bool:
    """Whether an expression, or a value, is true."""
    value = expression.eval(mine, target) if hasattr(expression, "eval") else expression
    return value is True or (type(value) in (int, float) and value != 0)


@lru_cache(maxsize=10_000)
def split_clauses(text: str) -> tuple[str, ...]:
    """The parts of an expression between its top-level &&, without the brackets around them."""
    text = strip_brackets(text.strip())
    parts, depth, begin, quote, position = [], 0, 0, "", 0
    while position < len(text):
        letter = text[position]
        if quote:
            position += letter == "\\"
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif depth == 0 and (text.startswith("||", position) or (letter == "?" and text[position - 1] != "=")):
            return (text,)  # weaker than &&, so this is one clause
        elif depth == 0 and text.startswith("&&", position):
            parts.append(text[begin:position])
            begin, position = position + 2, position + 1
        position += 1
    if not parts:
        return (text,)
    return tuple(clause for part in [*parts, text[begin:]] for clause in split_clauses(part))


def strip_brackets(text: str) -> str:
    """The text without brackets that hold all of it."""
    while text.startswith("(") and text.endswith(")"):
        depth, quote, escaped = 0, "", False
        for position, letter in enumerate(text):
            if quote:
                quote = "" if letter == quote and not escaped else quote
                escaped = letter == "\\" and not escaped
                continue
            quote = letter if letter in "\"'" else ""
            depth += (letter == "(") - (letter == ")")
            if depth == 0 and position < len(text) - 1:
                return text
        text = text[1:-1].strip()
    return text


def without_amounts(requirements: str) -> str:
    """Requirements without the clauses that packing answers."""
    clauses = split_clauses(requirements)
    return " && ".join(f"({clause})" for clause in clauses if not COMPARED.fullmatch(clause)) or "true"


class Job:
    """A shape in evaluation: `asks` are the attributes of a slot that its Requirements refer to, in lower case."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.ad = parse_ad(attributes)
        # A job that does not say what it requires is as one that requires undefined: it runs nowhere.
        text = without_amounts(attributes.get("Requirements", "undefined"))
        self.needs = parse(text)
        self.inlined = inline(self.needs, self.ad)
        outside = outside_references(self.ad, self.needs, text)
        self.asks = frozenset(name for scope, name in outside if scope != "my")

    def runs_on(self, slot: Any) -> bool:
        """Whether job and slot want each other, amounts aside."""
        if not (truth(self.needs, self.ad, slot) and truth(self.inlined, self.ad, slot)):
            return False
        return "Start" not in slot or is_true("Start", slot, self.ad)


def match_slots(jobs: Mapping[int, Job], slots: Iterable[Any], asked: Iterable[str]) -> dict[str, int]:
    """For each slot's name a number whose bit n says whether job n runs there; amounts are left to packing. `asked` are
    the attributes of the slots that their START refers to.

    Slots that are equal in all that a job asks, in what START asks, and in what that is made of, are judged once."""
    ads = {str(slot["Name"]): slot for slot in slots if "Name" in slot}
    groups: defaultdict[frozenset[str], list[int]] = defaultdict(list)
    for number, job in jobs.items():
        groups[job.asks | {"start", *(name.lower() for name in asked)}].append(number)
    columns = {name: [_made_of(ad, name) for ad in ads.values()] for name in sorted(frozenset().union(*groups))}
    found = dict.fromkeys(ads, 0)
    for asks, numbers in groups.items():
        for alike in _alike(list(ads), [columns[name] for name in sorted(asks)]):
            slot = ads[alike[0]]
            mask = sum(1 << number for number in numbers if jobs[number].runs_on(slot))
            for name in alike if mask else ():
                found[name] |= mask
    return found


def _made_of(ad: Any, name: str) -> tuple[str, ...]:
    """The text of an attribute, and of each attribute of the ad that it is made of: startds send expressions as they
    are written, and a collector adds what they refer to (measured, HTCondor 23.9.6)."""
    texts: dict[str, str] = {}
    names = [name]
    while names:
        name = names.pop()
        if name not in texts:
            texts[name] = _text(ad, name)
            names += _words(texts[name])
    return tuple(texts.values())


@lru_cache(maxsize=10_000)
def _words(text: str) -> list[str]:
    return sorted(words(text))


def _text(ad: Any, name: str) -> str:
    try:
        return str(ad.lookup(name))
    except KeyError:
        return ""


def _alike(names: Sequence[str], columns: Sequence[Sequence[Hashable]]) -> list[list[str]]:
    """The names of slots that have the same in all these columns."""
    found: defaultdict[tuple[Hashable, ...], list[str]] = defaultdict(list)
    for name, row in zip(names, zip(*columns, strict=True), strict=True):
        found[row].append(name)
    return list(found.values())

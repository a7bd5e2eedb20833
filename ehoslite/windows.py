"""Which limits hold now: windows begin and end by cron expressions, read by the wall clock of a time zone. Pure.

A window that begins at 02:30 begins at 03:00 in the night in which the clock skips that hour, and is there twice in the
night that has it twice: as a person with a watch would have it.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ehoslite.settings import ScalingSettings, WindowSettings

# Five fields of numbers, names of months and days, and L; croniter would also take what means something else at each
# reading (H, R), seconds and years.
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIELD = rf"(?:[0-9*/,#?-]|{'|'.join((*_MONTHS, *_DAYS))}|l)+"
_EXPRESSION = re.compile(rf"\s*{_FIELD}(?:\s+{_FIELD}){{4}}\s*", re.IGNORECASE)
# The 29th of February comes after eight years at the most.
_YEARS = 8
_RANGE = re.compile(r"\b([a-z]+|\d+)-([a-z]+|\d+)\b", re.IGNORECASE)
_NUMBERS = {name: at for first, names in ((0, _DAYS), (1, _MONTHS)) for at, name in enumerate(names, first)}
_NOT_LIMITS = {"name", "start", "end"}


def in_force(scaling: ScalingSettings, now: float) -> tuple[ScalingSettings, tuple[str, ...]]:
    """The scaling options that hold at this time, and the names of the windows that are open. Where several are open,
    each option is what the last of them in the file gives."""
    open_now = []
    if scaling.windows:
        clock = wall_clock(now, scaling.time_zone)
        open_now = [window for window in scaling.windows if is_open(window, clock)]
    for window in open_now:
        given = {one.name: getattr(window, one.name) for one in fields(window) if one.name not in _NOT_LIMITS}
        scaling = replace(scaling, **{name: value for name, value in given.items() if value is not None})
    least = min(scaling.nodes_min, scaling.nodes_max), min(scaling.nodes_spare, scaling.nodes_max)
    scaling = replace(scaling, nodes_min=least[0], nodes_spare=least[1])  # the maximum wins
    return scaling, tuple(window.name for window in open_now)


def is_open(window: WindowSettings, clock: datetime) -> bool:
    """Whether it has begun and not ended since. One that ends and begins in the same minute goes on."""
    begun, ended = last_time(window.start, clock), last_time(window.end, clock)
    return begun is not None and (ended is None or begun >= ended)


def last_time(expression: str, clock: datetime) -> datetime | None:
    """The last minute up to this one at which the expression matches, by the wall clock."""
    from croniter import CroniterBadDateError, croniter

    after = clock.replace(second=0, microsecond=0) + timedelta(minutes=1)
    try:
        found: datetime = croniter(expression, after, max_years_between_matches=_YEARS).get_prev(datetime)
    except CroniterBadDateError:
        return None
    return found


def why_invalid(expression: str) -> str:
    """What is wrong with a cron expression; empty if nothing is."""
    from croniter import CroniterError

    if not _EXPRESSION.fullmatch(expression):
        return "is no cron expression of five fields: minute, hour, day of the month, month, day of the week"
    if same := next((one for one in _RANGE.finditer(expression) if _number(one[1]) == _number(one[2])), None):
        return f"has a range from a value to itself, {same[0]}: write the value alone"  # croniter 7.0: every one
    try:
        never = last_time(expression, datetime(2026, 1, 1)) is None  # noqa: DTZ001 - a wall clock's
    except (CroniterError, ValueError, KeyError) as error:
        return f"is no cron expression: {error}"
    return "matches no day that there is" if never else ""


def _number(value: str) -> int:
    """The number that a value of a cron expression stands for."""
    return int(value) if value.isdigit() else _NUMBERS.get(value.lower(), -1)


def is_time_zone(name: str) -> bool:
    """Whether this machine knows a time zone of this name."""
    try:
        zone(name)
    except (OSError, ValueError):
        return False
    return True


def zone(name: str) -> tzinfo:
    """The time zone of this name; UTC needs no time zones on the machine. Raises OSError, ValueError (KeyError's
    kind of it in zoneinfo is a ZoneInfoNotFoundError)."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except KeyError as error:
        raise ValueError(f"there is no time zone {name}") from error


def wall_clock(now: float, time_zone: str) -> datetime:
    """What a clock on the wall shows there."""
    return datetime.fromtimestamp(now, zone(time_zone)).replace(tzinfo=None)


def month_of(now: float, time_zone: str) -> str:
    """The calendar month, written 2026-11."""
    return f"{wall_clock(now, time_zone):%Y-%m}"


def month_began(now: float, time_zone: str) -> float:
    """When this calendar month began."""
    first = datetime.fromtimestamp(now, zone(time_zone)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.timestamp()

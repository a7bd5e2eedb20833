"""What an option is: a dataclass field with its help and checks. settings.py has them all."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, NewType

Seconds = NewType("Seconds", float)
Megabytes = NewType("Megabytes", int)
Place = NewType("Place", Path)

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True)
class Option:
    """What is known of an option beside its type and default; `shown` stands for a default that the machine makes."""

    help: str
    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[str, ...] = ()
    pattern: str = ""
    pattern_help: str = ""
    secret: bool = False
    sample: Any = None
    shown: str = ""


def option(help: str, default: Any = MISSING, *, factory: Any = MISSING, **more: Any) -> Any:  # noqa: A002
    """A dataclass field that carries an Option; without a default the option must be given."""
    metadata = {"option": Option(help, **more)}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


NAME = {
    "pattern": r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?",
    "pattern_help": "1 to 32 lower-case letters, digits and inner hyphens",
}

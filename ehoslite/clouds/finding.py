"""What a check of a cloud finds: good, or what to do; and how a check's own trouble becomes a finding."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ehoslite.errors import EhosError

# What a check yields: whether it is good, and the sentence.
Said = tuple[bool, str]
Check = tuple[str, Callable[[], Iterable[Said]]]

# More names than these tell nobody which one was meant.
NAMES_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One line of `ehoslite cloud check`: `text` says what was seen, or, when it is not `ok`, what to do."""

    cloud: str
    check: str
    ok: bool
    text: str


def carry_out(cloud: str, checks: Iterable[Check]) -> Iterator[Finding]:
    """The findings of every check, whatever becomes of the others."""
    for name, check in checks:
        try:
            for ok, text in check():
                yield Finding(cloud, name, ok, " ".join(text.split()))
        except EhosError as error:
            yield Finding(cloud, name, False, " ".join(str(error).split()))
        except OSError as error:
            yield Finding(cloud, name, False, f"{error.filename}: {error.strerror}")
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            yield Finding(cloud, name, False, f"the answer makes no sense: {type(error).__name__}: {error}")


def instead(wanted: str, there: Iterable[str]) -> str:
    """The names that may have been meant, as the end of a sentence that something is not there."""
    names = sorted({name for name in there if name})
    near = difflib.get_close_matches(wanted, names, NAMES_SHOWN, 0.5)
    if near:
        return f"; did you mean {list_out(near, 'or')}?"
    more = [f"{len(names) - NAMES_SHOWN} more"] if len(names) > NAMES_SHOWN else []
    return f"; known: {list_out([*names[:NAMES_SHOWN], *more], 'and')}" if names else "; there is none at all"


def count_of(number: int, noun: str) -> str:
    """So many of something: 1 core, 2 cores."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def list_out(words: Sequence[str], last: str) -> str:
    """The words as a sentence lists them: a, b and c."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

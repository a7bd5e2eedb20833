"""Prints the sample configuration and the reference of the options from settings.py, the one place where they stand.

`python -m ehoslite.sampling docs/configuration.md` puts the reference between the markers of that file.
"""

from __future__ import annotations

import dataclasses
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from ehoslite.options import Megabytes, Option, Place, Seconds
from ehoslite.settings import CLOUD_TYPES, CloudSettings, Settings

HEAD = """\
# The configuration of ehoslite. A line that is commented out shows the default or, where there is none, an example.
# Write times as 300, 5m or 1h 30m, and memory and disk as 2048 (MB) or 2 GB.
"""
BEGIN, END = "<!-- options: begin -->", "<!-- options: end -->"

WIDTH = 100
# A section whose helps are all so short has them at the ends of its lines.
BRIEF = 30

WORDS = {
    Seconds: "time",
    Megabytes: "amount",
    Place: "path",
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    str: "text",
    tuple: "list of texts",
    Mapping: "texts by name",
}

Field = dataclasses.Field[Any]


def sample() -> str:
    """A commented configuration, valid as printed: what must be given stands, the rest shows its default."""
    return HEAD + "\n" + "\n".join(_section(Settings, "")) + "\n"


def table() -> str:
    """Every option as Markdown, a table for each section."""
    return "\n".join(_tables(Settings, "", "The whole file"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the reference, or put it between the markers of the files that are named."""
    names = list(sys.argv[1:] if arguments is None else arguments)
    for name in names:
        text = Path(name).read_text(encoding="utf-8")
        if text.find(END) < text.find(BEGIN) or BEGIN not in text:
            print(f"{name}: the markers {BEGIN} and {END} are not in it, in this order", file=sys.stderr)
            return 1
        Path(name).write_text(put_between(text, table()), encoding="utf-8")
    if not names:
        print(table())
    return 0


def put_between(text: str, reference: str) -> str:
    """The text with the reference between its markers."""
    head, rest = text.split(BEGIN, 1)
    return f"{head}{BEGIN}\n\n{reference}\n\n{END}{rest.split(END, 1)[1]}"


def default_of(entry: Field) -> Any:
    """The default, made where it comes from a factory."""
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def must_be_given(entry: Field) -> bool:
    """Whether the option has no default."""
    return entry.default is MISSING and entry.default_factory is MISSING


def written(value: Any, kind: Any = None) -> str:
    """A value as it would be written in the file."""
    if kind is Seconds:
        return duration(float(value))
    if kind is Megabytes:
        return f"{value} MB" if value % 1024 else f"{value // 1024} GB"
    if value is None or value == "":
        return '""' if value == "" else ""
    if isinstance(value, Mapping | tuple):
        return "{}" if isinstance(value, Mapping) else "[]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def duration(value: float) -> str:
    """Seconds as people write them."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if value and value % length == 0:
            return f"{value / length:g}{unit}"
    return f"{value:g}s"


def _section(kind: type[Any], indent: str) -> Iterator[str]:
    if all(len(_known(entry).help) <= BRIEF for entry in fields(kind)):
        yield from _brief(kind, indent)
        return
    hints = typing.get_type_hints(kind)
    for number, entry in enumerate(_in_order(kind)):
        if number:
            yield ""
        yield from _comment(_known(entry).help, indent)
        yield from _entry(entry, hints[entry.name], indent)


def _brief(kind: type[Any], indent: str) -> Iterator[str]:
    hints = typing.get_type_hints(kind)
    lines = [(_line(entry, hints[entry.name]), _known(entry).help) for entry in _in_order(kind)]
    width = max(len(line) for line, _ in lines)
    for line, text in lines:
        yield f"{indent}{line:{width}}  # {text}"


def _entry(entry: Field, kind: Any, indent: str) -> Iterator[str]:
    if is_dataclass(kind) and isinstance(kind, type):
        yield f"{indent}{entry.name}:"
        yield from _section(kind, indent + "  ")
    elif _is_clouds(kind):
        yield f"{indent}{entry.name}:"
        yield from _clouds(_known(entry), indent + "  ")
    elif (part := _listed(kind)) and not must_be_given(entry) and not default_of(entry):
        for line in [f"{entry.name}:", *_first_of_list(part, "  ")]:
            yield f"{indent}#{line and ' '}{line}"
    elif part:
        yield f"{indent}{entry.name}:"
        yield from _first_of_list(part, indent + "  ")
    else:
        yield indent + _line(entry, kind)


def _line(entry: Field, kind: Any) -> str:
    known, given = _known(entry), must_be_given(entry)
    example = given or (entry.default in {None, ""} and known.sample is not None)
    value = known.shown or (known.sample if example else default_of(entry))
    line = f"{entry.name}: {written(value, kind)}".rstrip()
    return line if given or entry.name == "type" else f"# {line}"


def _clouds(known: Option, indent: str) -> Iterator[str]:
    """A cloud of each type; the file is valid with the first one alone, the others are commented out."""
    for number, kind in enumerate(CLOUD_TYPES.values()):
        if number == 0:
            yield f"{indent}{known.sample}:"
            yield from _section(kind, indent + "  ")
            continue
        name = _type_of(kind)
        yield ""
        for line in [f"a cloud of type {name}:", f"{name}:", *_section(kind, "  ")]:
            yield f"{indent}#{line and ' '}{line}"


def _first_of_list(kind: Any, indent: str) -> Iterator[str]:
    """The one entry of a list; its first line takes the dash."""
    for number, line in enumerate(_section(kind, "")):
        yield f"{indent}{'- ' if number == 0 else '  '}{line}" if line else ""


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
    )


def _tables(kind: type[Any], path: str, title: str) -> Iterator[str]:
    hints = typing.get_type_hints(kind)
    yield f"### {title}"
    yield ""
    yield "| Option | Value | Default | Meaning |"
    yield "| --- | --- | --- | --- |"
    for entry in _in_order(kind):
        cells = (f"`{path}{entry.name}`", _value(entry, hints[entry.name]), _default(entry, hints[entry.name]))
        yield f"| {' | '.join(cells)} | {_known(entry).help.replace('|', chr(92) + '|')} |"
    for entry in _in_order(kind):
        inner = hints[entry.name]
        for part, place in _parts(inner, f"{path}{entry.name}"):
            yield ""
            what = f", type `{_type_of(part)}`" if _is_clouds(inner) else ""
            yield from _tables(part, f"{place}.", f"`{place}`{what}: {_known(entry).help}")


def _parts(kind: Any, place: str) -> list[tuple[type[Any], str]]:
    """The sections below an option, with their places in the file."""
    if _is_clouds(kind):
        return [(cloud, f"{place}.NAME") for cloud in CLOUD_TYPES.values()]
    if part := _listed(kind):
        return [(part, f"{place}[]")]
    return [(kind, place)] if is_dataclass(kind) and isinstance(kind, type) else []


def _value(entry: Field, kind: Any) -> str:
    """What the option takes, in words."""
    known = _known(entry)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in typing.get_args(kind))
    if _parts(kind, ""):
        return "a list of sections" if _listed(kind) else "sections by name" if _is_clouds(kind) else "a section"
    limits = [known.pattern_help or WORDS[typing.get_origin(kind) or kind]]
    limits += ["also below 0"] if kind in {int, float} and known.at_least is None else []
    limits += [f"at least {_limit(known.at_least, kind)}"] if known.at_least else []
    limits += [f"at most {_limit(known.at_most, kind)}"] if known.at_most is not None else []
    return ", ".join(limits)


def _limit(value: float, kind: Any) -> str:
    return duration(value) if kind is Seconds else f"{value:g}{' MB' if kind is Megabytes else ''}"


def _default(entry: Field, kind: Any) -> str:
    if must_be_given(entry) or entry.name == "type":
        return "must be given"
    if _listed(kind):
        return "one with the defaults" if len(default_of(entry)) == 1 else "none"
    if _parts(kind, ""):
        return "as below"
    value = _known(entry).shown or written(default_of(entry), kind)
    return f"`{value}`" if value not in {"", '""', "{}", "[]"} else "none"


def _in_order(kind: type[Any]) -> list[Field]:
    """The options as people look for them: the type of a cloud tells what the others mean."""
    return sorted(fields(kind), key=lambda entry: entry.name != "type")


def _known(entry: Field) -> Option:
    found: Option = entry.metadata["option"]
    return found


def _is_clouds(kind: Any) -> bool:
    return typing.get_origin(kind) is Mapping and typing.get_args(kind)[1] == CloudSettings


def _listed(kind: Any) -> type[Any] | None:
    """The section of which this type is a list."""
    part = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None
    return part if is_dataclass(part) and isinstance(part, type) else None


def _type_of(kind: type[Any]) -> str:
    return next(name for name, known in CLOUD_TYPES.items() if known is kind)


if __name__ == "__main__":
    sys.exit(main())

"""Opens a YAML file as far as its nodes, which know their lines. Whatever the file holds, it ends in a clear fault."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import yaml

from ehoslite.errors import Fault, FixConfiguration

# Far above any real file. libyaml's composer calls itself for each level: 100 000 brackets crash the interpreter, and
# a few aliases of aliases make more values than there is memory for.
MOST_BYTES = 1_000_000
MOST_DEPTH = 50
MOST_VALUES = 100_000

Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_text(path: Path) -> str:
    """The text of the file. Raises FixConfiguration when it cannot be read, is no UTF-8 or is larger than 1 MB."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except IsADirectoryError as error:
        raise _fault(path, 0, "is a directory; name the file in it") from error
    except OSError as error:
        raise _fault(path, 0, f"cannot be read: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise _fault(path, 0, f"is larger than {MOST_BYTES // 1_000_000} MB: is it the right file?")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _fault(path, line, f"not UTF-8 text: {error.reason}") from error


def compose(path: Path, text: str) -> yaml.Node | None:
    """The document in this text, None if there is none. Raises FixConfiguration when it is not YAML or is boundless."""
    try:
        _check_levels(path, text)
        document = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise _fault(path, line, f"not valid YAML: {said}{_hint(text, line)}") from error
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise _fault(path, line, f"not valid YAML: {str(error).splitlines()[0]}") from error
    if document is not None:
        _check_aliases(path, document)
    return document


def _check_levels(path: Path, text: str) -> None:
    """Count the levels before anything calls itself for each of them."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise _fault(path, line, f"is nested deeper than {MOST_DEPTH} levels")


def _check_aliases(path: Path, document: yaml.Node) -> None:
    """Count levels and values once more with every alias written out; one that holds itself has no last level."""
    waiting, seen = [(document, 1)], 0
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if depth > MOST_DEPTH:
            what = f"is nested deeper than {MOST_DEPTH} levels: does an alias (*) stand within its own anchor (&)?"
            raise _fault(path, node.start_mark.line + 1, what)
        if seen > MOST_VALUES:
            raise _fault(path, node.start_mark.line + 1, f"holds more than {MOST_VALUES} values")
        if isinstance(node, yaml.MappingNode):
            waiting += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(part, depth + 1) for part in node.value]


def _hint(text: str, line: int) -> str:
    lines = text.split("\n")
    return "; YAML is indented with blanks, not tabs" if 0 < line <= len(lines) and "\t" in lines[line - 1] else ""


def _fault(path: Path, line: int, what: str) -> FixConfiguration:
    return FixConfiguration([Fault(f"{path}:{line}" if line else str(path), "", what)])


def has_control(text: str) -> bool:
    """Whether the text has a letter that breaks a line, steers a terminal or cannot be written as UTF-8."""
    return any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in text)

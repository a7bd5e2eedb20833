"""Fills a cloud-init template. Values are put in after the YAML is parsed, so none can break out of its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ehoslite.errors import Fault, FixConfiguration

# {tag}, but not ${shell} nor $(MACRO); {{tag}} stands for a literal {tag}.
TAG = re.compile(r"(?<![$\w{])\{([a-z][a-z0-9_]*)\}(?!\})|\{\{([a-z][a-z0-9_]*)\}\}")

NODE_TAGS = ("node", "pool", "cloud", "flavor", "collector", "domain", "node_domain", "token", "retirement")

HEADER = "#cloud-config\n"


def read_template(path: Path) -> Any:
    """The template as parsed YAML. Raises FixConfiguration when it is not a cloud-config that YAML can read."""
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise FixConfiguration([Fault(f"{path}{line}", "", f"not valid YAML: {error.problem}")]) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FixConfiguration([Fault(str(path), "", f"cannot be read: {error}")]) from error
    if not text.startswith("#cloud-config") or not isinstance(document, dict):
        what = "is no cloud-config: its first line must be #cloud-config and the rest a mapping"
        raise FixConfiguration([Fault(str(path), "", what)])
    return document


def check_template(path: Path, known: Mapping[str, str]) -> list[Fault]:
    """What is wrong with a template: unreadable, or tags that nothing fills."""
    try:
        texts = _texts(read_template(path))
    except FixConfiguration as error:
        return list(error.faults)
    tags = sorted({tag for text in texts for tag in tags_in(text)} - set(known) - set(NODE_TAGS))
    names = ", ".join(sorted({*NODE_TAGS, *known}))
    return [
        Fault(str(path), f"{{{tag}}}", f"nothing fills this tag; known are {names}, others go into template_values")
        for tag in tags
    ]


def tags_in(text: str) -> list[str]:
    """The tags in this text, literal ones left out."""
    return [match[1] for match in TAG.finditer(text) if match[1]]


def user_data(template: Any, values: Mapping[str, str], path: Path) -> str:
    """The filled template as cloud-config text. Raises FixConfiguration for a tag without a value and for a value with
    control characters: a line break in a value would start a new line of the node's configuration."""
    for name, value in values.items():
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise FixConfiguration([Fault(str(path), f"{{{name}}}", "its value has a line break or control character")])
    return HEADER + yaml.safe_dump(_fill(template, values, path), sort_keys=False, width=4096)


def _fill(part: Any, values: Mapping[str, str], path: Path) -> Any:
    if isinstance(part, dict):
        return {key: _fill(value, values, path) for key, value in part.items()}
    if isinstance(part, list):
        return [_fill(value, values, path) for value in part]
    return _fill_text(part, values, path) if isinstance(part, str) else part


def _fill_text(text: str, values: Mapping[str, str], path: Path) -> str:
    def value(match: re.Match[str]) -> str:
        if match[2]:
            return f"{{{match[2]}}}"
        if match[1] not in values:
            raise FixConfiguration([Fault(str(path), f"{{{match[1]}}}", "nothing fills this tag")])
        return values[match[1]]

    return TAG.sub(value, text)


def _texts(part: Any) -> list[str]:
    if isinstance(part, dict):
        return [text for value in part.values() for text in _texts(value)]
    if isinstance(part, list):
        return [text for value in part for text in _texts(value)]
    return [part] if isinstance(part, str) else []

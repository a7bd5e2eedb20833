"""Fills a cloud-init template. Values are put in after the YAML is parsed, so none can break out of its place."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from ehoslite.errors import Fault, FixConfiguration
from ehoslite.yamlfile import Loader, compose, has_control, read_text

TAG_NAME = r"[a-z][a-z0-9_]*"

# {tag}, but not ${shell} nor $(MACRO); {{tag}} stands for a literal {tag}.
TAG = re.compile(rf"\{{\{{({TAG_NAME})\}}\}}|(?<!\$)\{{({TAG_NAME})\}}")

NODE_TAGS = (
    *("node", "pool", "cloud", "flavor", "collector", "domain", "node_domain", "token"),
    *("retirement", "lease"),
)

HEADER = "#cloud-config\n"


def read_template(path: Path) -> Any:
    """The template as parsed YAML. Raises FixConfiguration when it is not a cloud-config that YAML can read."""
    text = read_text(path)
    node = compose(path, text)
    if not text.startswith("#cloud-config") or not isinstance(node, yaml.MappingNode):
        what = "is no cloud-config: its first line must be #cloud-config and the rest a mapping"
        raise FixConfiguration([Fault(str(path), "", what)])
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506  (a safe loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise FixConfiguration([Fault(f"{path}{line}", "", f"not valid YAML: {error.problem}")]) from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:  # a date of month 13 and the like
        raise FixConfiguration([Fault(str(path), "", f"has a value that YAML cannot read: {error}")]) from error


def check_template(path: Path, known: Collection[str]) -> list[Fault]:
    """What is wrong with a template: unreadable, tags that nothing fills, or tags where none are filled."""
    try:
        template = read_template(path)
    except FixConfiguration as error:
        return list(error.faults)
    tags = sorted({tag for text in _texts(template) for tag in tags_in(text)} - {*known, *NODE_TAGS})
    names = ", ".join(sorted({*NODE_TAGS, *known}))
    return [
        Fault(str(path), f"{{{tag}}}", f"nothing fills this tag; known are {names}, others go into template_values")
        for tag in tags
    ] + [
        Fault(str(path), f"{{{tag}}}", "a tag in the name of an option is not filled; {{tag}} stands for itself")
        for tag in sorted({tag for text in _keys(template) for tag in tags_in(text)})
    ]


def tags_in(text: str) -> list[str]:
    """The tags in this text, literal ones left out."""
    return [match[2] for match in TAG.finditer(text) if match[2]]


def user_data(template: Any, values: Mapping[str, str], path: Path) -> str:
    """The filled template as cloud-config text. Raises FixConfiguration for a tag without a value and for a value with
    control characters: a line break in a value would start a new line of the node's configuration."""
    for name, value in values.items():
        if has_control(value):
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
        if match[1]:
            return f"{{{match[1]}}}"
        if match[2] not in values:
            raise FixConfiguration([Fault(str(path), f"{{{match[2]}}}", "nothing fills this tag")])
        return values[match[2]]

    return TAG.sub(value, text)


def _texts(part: Any) -> list[str]:
    if isinstance(part, dict):
        return [text for value in part.values() for text in _texts(value)]
    if isinstance(part, list):
        return [text for value in part for text in _texts(value)]
    return [part] if isinstance(part, str) else []


def _keys(part: Any) -> list[str]:
    if isinstance(part, dict):
        return [key for key in part if isinstance(key, str)] + [key for value in part.values() for key in _keys(value)]
    return [key for value in part for key in _keys(value)] if isinstance(part, list) else []

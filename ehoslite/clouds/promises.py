"""What a template promises: the attributes that its nodes' startds will advertise, as far as its text alone tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ehoslite.cloudinit import TAG, read_template
from ehoslite.config import find_template
from ehoslite.errors import FixConfiguration
from ehoslite.settings import LocalCloudSettings, OpenStackCloudSettings

SETTING = re.compile(r"\s*([A-Za-z_][\w.]*)\s*=(?!=)\s*(.*?)\s*$")
IF, ENDIF = re.compile(r"\s*if\s", re.IGNORECASE), re.compile(r"\s*endif\b", re.IGNORECASE)
MACRO = re.compile(r"\$\(([\w.]+)\)")
# HTCondor expands macros in macros; nobody nests them deeper, and a loop must end.
DEEPEST = 10


def promises_of(settings: LocalCloudSettings | OpenStackCloudSettings) -> tuple[tuple[str, str], ...]:
    """Name and expression of what STARTD_ATTRS names, of START and of ARCH, where the template gives them a value for
    which no node has to be known. What stands in an `if` counts as not known."""
    found = find_template(Path(settings.template))
    try:
        template = read_template(found) if found else {}
    except FixConfiguration:  # said by who fills it
        return ()
    macros = dict(_settings(template))
    named = " ".join(_expand(macros.get(which, ""), macros) for which in ("STARTD_ATTRS", "STARTD_EXPRS"))
    promised = {name: macros.get(name.upper(), "") for name in re.findall(r"\w+", named)}
    promised |= {"Start": macros.get("START", ""), "Arch": f'"{macros["ARCH"]}"' if "ARCH" in macros else ""}
    known = ((name, _expand(text, macros)) for name, text in promised.items())
    return tuple(sorted((name, text) for name, text in known if text and "$" not in text and not TAG.search(text)))


def _settings(template: Any) -> Iterator[tuple[str, str]]:
    """The settings of HTCondor that the template writes, in order, names in upper case; a daemon's own prefix (STARTD.)
    is left out. A setting that an `if` may change is not known."""
    for entry in template.get("write_files", []):
        if not str(entry.get("path", "")).startswith("/etc/condor") or not isinstance(entry.get("content"), str):
            continue
        depth, own = 0, dict[str, str]()
        for line in re.sub(r"\\\n", " ", entry["content"]).splitlines():
            depth += bool(IF.match(line)) - bool(ENDIF.match(line))
            setting = SETTING.match(line)
            if not setting:
                continue
            name, value = setting[1].upper().removeprefix("STARTD."), setting[2]
            if depth and name != "START":  # the lease's START asks that it is not over: true on a new node
                yield name, "$(not known)"
            elif not depth:
                itself = re.compile(rf"\$\({re.escape(name)}\)", re.IGNORECASE)
                own[name] = itself.sub(lambda _: own.get(name, ""), value)  # noqa: B023 - used at once
                yield name, own[name]


def _expand(text: str, macros: dict[str, str]) -> str:
    for _ in range(DEEPEST):
        wider = MACRO.sub(lambda macro: macros.get(macro[1].upper(), macro[0]), text)
        if wider == text:
            break
        text = wider
    return text

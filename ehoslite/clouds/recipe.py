"""What a cloud's servers are made of, as short texts: when one changes, what earlier boots have taught is void, or a
node is to be replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ehoslite.config import find_template
from ehoslite.settings import LocalCloudSettings, OpenStackCloudSettings, OpenStackLimits

AnyCloudSettings = TypeVar("AnyCloudSettings", bound=LocalCloudSettings | OpenStackCloudSettings)

# The options that a running node has in it. The image counts by its id; who asks, how long and how often does not.
OPENSTACK = (
    "networks",
    "security_groups",
    "keypair",
    "availability_zone",
    "server_group",
    "config_drive",
    "boot_volume",
    "scratch_size",
    "floating_ip",
    "ports",
    "metadata",
)
LOCAL = ("user", "release")


def recipe_of(settings: LocalCloudSettings | OpenStackCloudSettings) -> str:
    """Eight hexadecimal digits of all options that decide whether a server boots, and of its template's text. Limits,
    prices and the password are no part of it."""
    kept: LocalCloudSettings | OpenStackCloudSettings
    if isinstance(settings, OpenStackCloudSettings):
        kept = replace(settings, limits=OpenStackLimits(), flavors=(), password="", username="", nodes_min=0)
    else:
        kept = replace(settings, flavors=(), nodes_min=0)
    return _digits([repr(_in_order(kept))], settings)


def made_of(settings: LocalCloudSettings | OpenStackCloudSettings, image: str, size: Iterable[Any]) -> str:
    """Eight hexadecimal digits of what a server is: the id of its image, its flavor's size, its template's text and the
    options that it has in it. Options count where they are not at their defaults, so that a new version of ehoslite
    with further options makes no node another one. `template_values` may be secret and are no part of it."""
    names = OPENSTACK if isinstance(settings, OpenStackCloudSettings) else LOCAL
    defaults = {
        one.name: one.default_factory() if one.default is MISSING else one.default for one in _with_default(settings)
    }
    ordered = _in_order(settings)
    given = [(name, getattr(ordered, name)) for name in names if getattr(settings, name) != defaults[name]]
    return _digits([image, repr(tuple(size)), repr(given)], settings)


def _in_order(settings: AnyCloudSettings) -> AnyCloudSettings:
    """The settings with what has no order of its own in one order: who sorts lines of the file changes no server."""
    values = {one.name: getattr(settings, one.name) for one in fields(settings)}
    ordered: dict[str, Any] = {
        name: dict(sorted(value.items())) for name, value in values.items() if isinstance(value, Mapping)
    }
    if isinstance(settings, OpenStackCloudSettings):
        ordered["security_groups"] = tuple(sorted(settings.security_groups))
    return replace(settings, **ordered)


def _with_default(settings: LocalCloudSettings | OpenStackCloudSettings) -> list[Any]:
    return [one for one in fields(settings) if one.default is not MISSING or one.default_factory is not MISSING]


def _digits(parts: Iterable[str], settings: LocalCloudSettings | OpenStackCloudSettings) -> str:
    template = find_template(Path(settings.template))
    text = template.read_bytes() if template else b""
    return hashlib.sha256("\0".join(parts).encode() + text).hexdigest()[:8]

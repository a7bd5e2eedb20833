"""What a cloud's servers are made of, as one short text: when it changes, what earlier boots have taught is void."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from ehoslite.config import find_template
from ehoslite.settings import LocalCloudSettings, OpenStackCloudSettings, OpenStackLimits


def recipe_of(settings: LocalCloudSettings | OpenStackCloudSettings) -> str:
    """Eight hexadecimal digits of all options that decide what a server is, and of its template's text. Limits, prices
    and the password are no part of it."""
    kept: LocalCloudSettings | OpenStackCloudSettings
    if isinstance(settings, OpenStackCloudSettings):
        kept = replace(settings, limits=OpenStackLimits(), flavors=(), password="", username="")
    else:
        kept = replace(settings, flavors=())
    template = find_template(Path(settings.template))
    text = template.read_bytes() if template else b""
    return hashlib.sha256(repr(kept).encode() + text).hexdigest()[:8]

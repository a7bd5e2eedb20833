"""Listings of an OpenStack API that come in pages: Nova's servers, Neutron's ports and floating IPs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ehoslite.clouds.calls import Calls
from ehoslite.errors import CloudUnreachable


def pages(
    calls: Calls, service: str, path: str, kind: str, microversion: str | None = None
) -> Iterator[dict[str, Any]]:
    """Everything of a listing, page by page; `kind` is its key in the answer. Nova cuts its answers at max_limit,
    Neutron at pagination_max_limit, whatever was asked for. Raises CloudUnreachable, also for pages without end."""
    seen: set[str] = set()
    place, following = path.partition("?")[0], [path]
    while following:
        if following[0] in seen:
            raise CloudUnreachable("a page of its listing leads back to one before", "server-error")
        seen.add(following[0])
        body = calls.get(service, following[0], microversion)
        yield from body[kind]
        links = [link["href"] for link in body.get(f"{kind}_links", []) if link.get("rel") == "next"]
        following = [f"{place}?{link.partition('?')[2]}" for link in links[:1]]

"""A cloud beneath the backend that answers from what a test gives it, and tells what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

from ehoslite.clouds.calls import Calls
from ehoslite.clouds.openstack import OpenStack
from ehoslite.settings import FlavorChoice, OpenStackCloudSettings

PROJECT = "our-project"
Reply = Callable[[Mapping[str, list[str]]], dict[str, Any]]


def openstack_settings(**options: Any) -> OpenStackCloudSettings:
    """Settings of one cloud with these options."""
    return OpenStackCloudSettings("worker", (FlavorChoice("small"),), **options)


class Answering:
    """Replies by path, each from the query's words; a path without one makes no sense here."""

    def __init__(self, **replies: Reply) -> None:
        self.replies = {f"/{path}": reply for path, reply in replies.items()}
        self.asked: list[str] = []

    def get(self, _service: str, path: str, _microversion: str | None = None) -> dict[str, Any]:
        """In place of Calls.get."""
        place, _, query = path.partition("?")
        self.asked.append(place)
        return self.replies[place](parse_qs(query))

    def beneath(self, calls: Calls) -> None:
        """Have these calls answered from here."""
        vars(calls).update(get=self.get, _connection=SimpleNamespace(current_project_id=PROJECT))

    def calls(self, settings: OpenStackCloudSettings) -> Calls:
        """Calls that are answered from here."""
        made = Calls(settings, "alpha", lambda: 60.0, lambda _: None)
        self.beneath(made)
        return made

    def cloud(self, known: dict[str, Any] | None = None, **options: Any) -> OpenStack:
        """A cloud that is answered from here, of the pool "lab"."""
        cloud = OpenStack("alpha", openstack_settings(**options), "lab", lambda: 60.0, known)
        self.beneath(cloud.calls)
        return cloud


def in_pages(kind: str, key: str, every: list[dict[str, Any]], size: int) -> Reply:
    """A listing that gives so many at a time, whatever is asked for, and a link to the next page."""

    def reply(query: Mapping[str, list[str]]) -> dict[str, Any]:
        ids = [one[key] for one in every]
        start = ids.index(query["marker"][0]) + 1 if "marker" in query else 0
        shown = every[start : start + size]
        words = "&".join(f"{name}={word}" for name, given in query.items() if name != "marker" for word in given)
        link = {"rel": "next", "href": f"http://cloud:1/v2/{kind}?{words}&marker={shown[-1][key]}"} if shown else {}
        links = [{"rel": "previous", "href": "http://cloud:1/v2/wrong"}, link] if start + size < len(every) else []
        return {kind: shown, **({f"{kind}_links": links} if links else {})}

    return reply

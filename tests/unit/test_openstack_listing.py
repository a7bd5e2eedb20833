"""Servers as Nova lists them: page by page, and known by their marks whatever they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ehoslite.clouds.request import NO_TAGS
from tests.unit.answering import Answering, in_pages

PET = "my-pet"


def server(number: int, pool: str = "lab", *, tagged: bool = False, name: str = "") -> dict[str, Any]:
    """A server of this pool; with tags or only with metadata, as without tags they are made."""
    node = f"ehos-{pool}-0000000{number}"
    marks = {"ehoslite-pool": pool, "ehoslite-node": node}
    tags = [f"{key}={value}" for key, value in marks.items()] if tagged else []
    metadata = marks if tagged else {**marks, NO_TAGS: "yes"}
    return {
        "id": f"id-{pool}-{number}", "name": name or node, "status": "ACTIVE", "tags": tags, "metadata": metadata,
        "flavor": {"original_name": "small"},
    }  # fmt: skip


class Nova(Answering):
    """Selects by tags and by name as Nova does, and gives two servers at a time."""

    def __init__(self, servers: list[dict[str, Any]]) -> None:
        super().__init__()
        self.servers = servers
        self.replies = {"/": lambda _: {"version": {"version": "2.96"}}, "/servers/detail": self._list}

    def _list(self, query: Mapping[str, list[str]]) -> dict[str, Any]:
        tags, without = set(",".join(query.get("tags", [])).split(",")) - {""}, query.get("not-tags", [""])[0]
        (name,) = query.get("name", [""])
        seen = [
            one for one in self.servers
            if tags <= set(one["tags"]) and without not in one["tags"] and one["name"].startswith(name.strip("^$"))
        ]  # fmt: skip
        return in_pages("servers", "id", seen, 2)(query)


@pytest.mark.parametrize(("microversion", "tagged"), [("2.96", True), ("2.51", False)], ids=["tags", "metadata"])
def test_every_page_is_followed(microversion: str, tagged: bool) -> None:
    nova = Nova([server(number, tagged=tagged) for number in range(5)])
    cloud = nova.cloud(max_microversion=microversion)
    assert [one.id for one in cloud.servers()] == [f"id-lab-{number}" for number in range(5)]
    assert nova.asked.count("/servers/detail") == 3 + tagged


@pytest.mark.parametrize("microversion", ["2.96", "2.51"])
def test_a_server_of_the_time_without_tags_is_known_by_any_name(microversion: str) -> None:
    """People rename servers; asked for by its id it is there, so it must be listed too."""
    nova = Nova([server(1, name=PET), server(2), server(3, "lab-2"), server(4, "lab-2", name="ehos-lab-00000004")])
    cloud = nova.cloud(max_microversion=microversion)
    assert [one.node for one in cloud.servers()] == ["ehos-lab-00000001", "ehos-lab-00000002"]


def test_servers_of_other_pools_do_not_keep_up_the_look_for_untagged_ones() -> None:
    nova = Nova([server(1, tagged=True), server(2, "lab-2", name=PET)])
    cloud = nova.cloud()
    for looks in (2, 1):
        nova.asked.clear()
        assert [one.node for one in cloud.servers()] == ["ehos-lab-00000001"]
        assert nova.asked.count("/servers/detail") == looks

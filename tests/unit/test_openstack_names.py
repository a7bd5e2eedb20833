"""Which of several things of one name is meant: with an administrator's login Neutron lists those of all projects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ehoslite.errors import CloudUnreachable
from tests.unit.answering import PROJECT, Answering

ID = "0f6f4f2f-7a1c-4c1e-8a3c-3c112f4fb5d0"
GROUPS = [
    {"id": "ours", "name": "default", "project_id": PROJECT},
    {"id": "theirs", "name": "default", "project_id": "another"},
    {"id": "lent", "name": "lent", "project_id": "another", "shared": "true"},
    {"id": "secret", "name": "secret", "project_id": "another"},
    {"id": ID, "name": "by-id", "project_id": "another"},
]
NETWORKS = [{"id": "external", "name": "public", "project_id": "another"}]


def listing(key: str, every: list[dict[str, str]]) -> Any:
    """What Neutron selects for an administrator."""

    def reply(query: Mapping[str, list[str]]) -> dict[str, Any]:
        return {key: [one for one in every if all(one.get(name) == given[0] for name, given in query.items())]}

    return reply


@pytest.fixture
def neutron() -> Answering:
    replies = {"security-groups": listing("security_groups", GROUPS), "networks": listing("networks", NETWORKS)}
    return Answering(**replies)


@pytest.mark.parametrize(("name", "found"), [("default", "ours"), ("lent", "lent"), (ID, ID)])
def test_a_security_group_is_the_projects_own_or_lent_to_it(neutron: Answering, name: str, found: str) -> None:
    assert neutron.cloud().names.security_group(name) == found


def test_another_projects_security_group_is_none(neutron: Answering) -> None:
    with pytest.raises(CloudUnreachable, match="no security group 'secret'"):
        neutron.cloud().names.security_group("secret")


def test_a_network_may_be_anybodys(neutron: Answering) -> None:
    """Shared and external ones belong to others."""
    assert neutron.cloud().names.network("public") == "external"

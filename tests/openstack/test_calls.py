"""Each call to OpenStack, with each fault of the network and the services at it; logins, names and secrets."""

from __future__ import annotations

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from ehoslite.clouds.request import Request
from ehoslite.errors import BadRequest, CloudUnreachable, Unclear
from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from lab.openstack.faults import Fault
from tests.openstack.direct import (
    NOTHING,
    TINY,
    delete_all,
    look,
    new_node,
    of_node,
    only,
    open_directly,
    servers_per_node,
)

Call = tuple[str, str, str]
TOKEN: Call = ("keystone", "POST", "/v3/auth/tokens")
LIST: Call = ("nova", "GET", "/v2.1/servers/detail")
GLANCE: Call = ("glance", "GET", "/")
CREATE: Call = ("nova", "POST", "/v2.1/servers")
DELETE: Call = ("nova", "DELETE", "/v2.1/servers/{id}")
READS = (
    TOKEN,
    ("nova", "GET", "/v2.1/flavors/detail"),
    ("nova", "GET", "/v2.1/flavors/{id}/os-extra_specs"),
    ("nova", "GET", "/v2.1/"),
    LIST,
    ("nova", "GET", "/v2.1/limits"),
    ("neutron", "GET", "/v2.0/networks"),
    GLANCE,
    ("glance", "GET", "/v2/images"),
)


@dataclass(frozen=True)
class Trouble:
    """A kind of fault, and the name that it leaves us with when it lasts."""

    code: str
    kind: str = "status"
    status: int = 503
    retry_after: str | None = None

    def at(self, call: Call, times: int | None = None) -> Fault:
        service, method, path = call
        pattern = "^" + re.escape(path).replace(r"\{id\}", "[^/]+") + r"(\?|$)"
        kind: Any = self.kind
        return Fault(kind, service, method, pattern, 0, times, self.status, self.retry_after)


TROUBLES = {
    "429": Trouble("throttled", status=429),
    "429-with-Retry-After": Trouble("throttled", status=429, retry_after="1"),
    "500": Trouble("server-error", status=500),
    "502": Trouble("server-error", status=502),
    "503": Trouble("server-error", status=503, retry_after="1"),
    "504": Trouble("server-error", status=504),
    "401": Trouble("unauthorized", status=401),
    "reset": Trouble("unreachable", "reset"),
    "lose_reply": Trouble("unreachable", "lose_reply"),
    "cut": Trouble("unreachable", "cut"),
    "truncate": Trouble("server-error", "truncate"),
}


def test_a_creating_pass_makes_these_calls_and_no_other(bare: OpenStackLab, node: str) -> None:
    """So that the tests below leave none out."""
    bare.forget_calls()
    cloud = open_directly(bare)
    look(cloud)
    cloud.create(node, TINY, NOTHING)
    cloud.delete(only(cloud, node))
    made = {(call.service, call.method, call.path) for call in bare.calls()}
    assert made == {*READS, CREATE, DELETE}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_one_fault_at_every_reading_call_is_overcome(bare: OpenStackLab, trouble: str) -> None:
    calls = [call for call in READS if (trouble, call) != ("401", TOKEN)]  # a refused login is not tried again
    faults = [bare.faults.add(TROUBLES[trouble].at(call, times=1)) for call in calls]
    look(open_directly(bare))
    assert [bare.faults.count_hits(number) for number in faults] == [1] * len(calls)


@pytest.mark.parametrize("call", READS, ids=lambda call: f"{call[0]}{call[2]}")
def test_a_lasting_fault_is_named_and_forgotten_when_it_ends(bare: OpenStackLab, call: Call) -> None:
    """Without a crash, whatever the call; the SDK's own repetitions do not add to ours."""
    for name, trouble in TROUBLES.items():
        number = bare.faults.add(trouble.at(call))
        cloud = open_directly(bare)
        with pytest.raises(CloudUnreachable) as caught:
            look(cloud)
        assert caught.value.code == ("server-error" if call == GLANCE else trouble.code), name
        assert len(str(caught.value)) < 450
        if call != GLANCE:
            attempts = 4 if name != "401" else 1 if call == TOKEN else 2
            assert bare.faults.count_hits(number) == attempts, name
        bare.faults.clear()
        look(cloud)


def test_retry_after_is_honoured_and_capped(bare: OpenStackLab) -> None:
    nodes: list[str] = []
    for call in (TOKEN, LIST, CREATE):
        for status in (429, 503) if call == LIST else (429,):
            waits: list[float] = []
            cloud = open_directly(bare, sleep=waits.append)
            bare.faults.add(Trouble("", status=status, retry_after="7").at(call, times=1))
            cloud.servers()
            nodes.append(new_node())
            cloud.create(nodes[-1], TINY, NOTHING)
            assert waits == [7.0]
    for call in (TOKEN, LIST):
        number = bare.faults.add(Trouble("", status=429, retry_after="3600").at(call))
        waits = []
        with pytest.raises(CloudUnreachable) as caught:
            open_directly(bare, sleep=waits.append).servers()
        assert (caught.value.code, waits, bare.faults.count_hits(number)) == ("throttled", [], 1)
        bare.faults.clear()
    assert [servers_per_node(bare)[node] for node in nodes] == [1] * len(nodes)


@pytest.mark.parametrize(("remaining", "attempts"), [(60.0, 4), (3.0, 1)])
def test_a_call_that_hangs_is_repeated_as_the_time_allows(bare: OpenStackLab, remaining: float, attempts: int) -> None:
    """One more attempt must not take over half of what is left: the other clouds need it."""
    number = bare.faults.add(Fault("hang", "nova", "GET", "/servers/detail"))
    with pytest.raises(CloudUnreachable) as caught:
        open_directly(bare, timeout=1.5, remaining=lambda: remaining).servers()
    assert (caught.value.code, bare.faults.count_hits(number)) == ("timeout", attempts)


def test_near_the_end_of_the_pass_no_answer_is_waited_for_long(bare: OpenStackLab) -> None:
    bare.faults.add(Fault("hang", "nova", "GET", "/flavors"))
    with pytest.raises(CloudUnreachable, match="no answer within 1 s"):
        open_directly(bare, timeout=60, remaining=lambda: 0.0).flavors()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_creation_is_never_repeated_blind(bare: OpenStackLab, node: str, trouble: str) -> None:
    """What the service has done is adopted, what it refused stays undone; of both there is never more than one."""
    cloud = open_directly(bare)
    number = bare.faults.add(TROUBLES[trouble].at(CREATE))
    if trouble in {"lose_reply", "cut", "truncate"}:
        cloud.create(node, TINY, NOTHING)
    else:
        with pytest.raises((Unclear, CloudUnreachable)) as caught:
            cloud.create(node, TINY, NOTHING)
        certain = trouble in {"401", "429", "429-with-Retry-After"}
        assert isinstance(caught.value, CloudUnreachable) is certain
    posts = {"401": 2, "429": 4, "429-with-Retry-After": 4}.get(trouble, 1)  # of these, nothing is done
    assert bare.faults.count_hits(number) == posts
    assert servers_per_node(bare)[node] == (trouble in {"lose_reply", "cut", "truncate"})


@pytest.mark.parametrize("microversion", ["2.96", "2.51"])
def test_a_lost_reply_whose_lookup_fails_too_is_unclear(bare: OpenStackLab, node: str, microversion: str) -> None:
    cloud = open_directly(bare, max_microversion=microversion)
    look(cloud)
    bare.faults.add(TROUBLES["lose_reply"].at(CREATE))
    bare.faults.add(TROUBLES["503"].at(LIST))
    with pytest.raises(Unclear, match=node):
        cloud.create(node, TINY, NOTHING)
    bare.faults.clear()
    assert only(cloud, node).flavor == TINY
    bare.faults.add(TROUBLES["lose_reply"].at(CREATE))
    second = new_node()
    cloud.create(second, TINY, NOTHING)
    assert [servers_per_node(bare)[node], servers_per_node(bare)[second]] == [1, 1]


def test_fifty_lost_replies_double_no_server(bare: OpenStackLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Side by side, as a pass creates. Without hosts and networks, so that only Nova's API has work."""
    nodes = [new_node() for _ in range(50)]
    cloud = open_directly(bare, pool="fifty")
    monkeypatch.setattr(Request, "_networks", lambda *_: "none")
    look(cloud)
    number = bare.faults.add(TROUBLES["lose_reply"].at(CREATE))
    bare.stop_computes()
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda node: cloud.create(node, TINY, NOTHING), nodes))
        assert bare.faults.count_hits(number) == 50
        seen = servers_per_node(bare)
        assert {node: seen[node] for node in nodes} == dict.fromkeys(nodes, 1)
    finally:
        bare.faults.clear()
        delete_all(cloud, wait=False)
        bare.start_computes()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_deletion_is_repeated(bare: OpenStackLab, node: str, trouble: str) -> None:
    cloud = open_directly(bare)
    cloud.create(node, TINY, NOTHING)
    server = only(cloud, node)
    bare.faults.add(TROUBLES[trouble].at(DELETE, times=1))
    cloud.delete(server)
    wait_until(lambda: not of_node(cloud, node), 60, "the server to be gone")


def test_a_servers_list_without_servers_is_not_taken_for_an_empty_cloud(
    bare: OpenStackLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A middlebox's own JSON, say; the names are resolved anew, in case they are what makes no sense."""
    cloud = open_directly(bare, floating_ip="external")
    cloud.names.nova_version()
    monkeypatch.setattr(cloud.calls, "get", lambda *_: {"message": "please log in"})
    for ask in (cloud.servers, cloud.flavors, cloud.room, cloud.leftovers):
        with pytest.raises(CloudUnreachable, match="makes no sense"):
            ask()
    with pytest.raises(CloudUnreachable, match="makes no sense"):
        cloud.create(new_node(), TINY, NOTHING)


def test_a_refused_creation_does_not_quote_the_user_data(
    bare: OpenStackLab, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nova's 400 carries the whole value."""
    monkeypatch.setattr("ehoslite.clouds.openstack.LONGEST_USER_DATA", 10**6)
    cloud, secret = open_directly(bare), "#cloud-config\n" + "a-token-of-the-pool " * 3000
    with pytest.raises(BadRequest, match="user_data") as caught:
        cloud.create(node, TINY, secret)
    data, said = base64.b64encode(secret.encode()).decode(), str(caught.value)
    assert len(said) < 450
    assert not any(data[start : start + 20] in said for start in range(400))
    assert not cloud.names.known, "they are resolved anew, in case one of them was what is wrong"
    assert not servers_per_node(bare)[node]


def test_too_long_user_data_is_never_sent(bare: OpenStackLab, node: str) -> None:
    with pytest.raises(BadRequest, match="too long"):
        open_directly(bare).create(node, TINY, "x" * 50_000)
    assert not servers_per_node(bare)[node]

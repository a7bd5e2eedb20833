"""Each fault of the proxies, as the SDK sees it."""

from __future__ import annotations

import time
from typing import Any

import keystoneauth1.exceptions
import openstack.exceptions
import pytest

from lab.openstack import Fault, OpenStackLab
from lab.openstack.processes import wait_until
from tests.openstack_stand.conftest import SECONDS, Client, list_servers

LIST = r"/servers\b"


def list_raw(client: Client, **named: Any) -> Any:
    """Ask for the list of servers in one request."""
    return client.sdk.compute.get("/servers/detail", **named)


@pytest.mark.parametrize("status", [401, 429, 500, 502, 503, 504])
def test_status(client: Client, status: int) -> None:
    client.sdk.authorize()
    number = client.lab.faults.add(Fault("status", service="nova", path=LIST, status=status))
    with pytest.raises(openstack.exceptions.HttpException) as caught:
        list(client.sdk.compute.servers())
    assert caught.value.status_code == status
    # keystoneauth asks a second time, with a new token, after a 401
    assert client.lab.faults.count_hits(number) == (2 if status == 401 else 1)
    client.lab.faults.remove(number)
    assert list(client.sdk.compute.servers()) == []


@pytest.mark.parametrize("retry_after", [None, "7"])
def test_retry_after(client: Client, retry_after: str | None) -> None:
    client.lab.faults.add(Fault("status", service="nova", path=LIST, status=429, retry_after=retry_after))
    answer = list_raw(client, raise_exc=False)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, retry_after)


def test_only_the_chosen_requests_are_struck(client: Client) -> None:
    faults = client.lab.faults
    faults.add(Fault("status", service="nova", method="GET", path=r"/servers/detail", skip=1, times=2, status=500))
    answers = [list_raw(client, raise_exc=False).status_code for _ in range(5)]
    assert answers == [200, 500, 500, 200, 200]
    assert client.sdk.compute.get("/flavors").status_code == 200
    calls = client.lab.calls("nova", "GET", r"/servers/detail")
    assert [(call.status, call.fault) for call in calls] == [
        (200, ""),
        (500, "status"),
        (500, "status"),
        (200, ""),
        (200, ""),
    ]


def test_calls_have_no_ids_and_can_be_forgotten(client: Client) -> None:
    server = client.boot("worker")
    client.lab.forget_calls()
    client.sdk.compute.get_server(server)
    assert [call.path for call in client.lab.calls("nova", "GET")] == ["/v2.1/servers/{id}"]
    assert client.lab.calls(method="POST") == []


def test_delay_outlasts_a_timeout(client: Client) -> None:
    client.sdk.authorize()
    client.lab.faults.add(Fault("delay", service="nova", path=LIST, seconds=2.0, times=2))
    with pytest.raises(keystoneauth1.exceptions.ConnectTimeout):
        list_raw(client, timeout=0.5)
    before = time.monotonic()
    assert list_raw(client).status_code == 200
    assert time.monotonic() - before >= 2.0


@pytest.mark.parametrize("kind", ["reset", "lose_reply"])
def test_lost_connection(client: Client, kind: Any) -> None:
    client.sdk.authorize()
    client.lab.faults.add(Fault(kind, service="nova", path=LIST, times=1))
    with pytest.raises(keystoneauth1.exceptions.ConnectFailure):
        list_raw(client)
    assert list_raw(client).status_code == 200


def test_reset_is_not_passed_on(client: Client) -> None:
    client.lab.faults.add(Fault("reset", service="nova", method="POST", path=LIST))
    with pytest.raises(keystoneauth1.exceptions.ConnectFailure):
        client.create("never")
    assert list_servers(client.lab) == []


def test_lost_reply_makes_a_server(client: Client) -> None:
    client.lab.faults.add(Fault("lose_reply", service="nova", method="POST", path=LIST, times=1))
    with pytest.raises(keystoneauth1.exceptions.ConnectFailure):
        client.create("hidden")
    assert [server["name"] for server in list_servers(client.lab)] == ["hidden"]
    assert [call.status for call in client.lab.calls("nova", "POST", LIST)] == [0]
    assert wait_until(lambda: list_servers(client.lab)[0]["status"] == "ACTIVE", SECONDS)


def test_hang_lasts_until_the_client_gives_up(client: Client) -> None:
    client.sdk.authorize()
    number = client.lab.faults.add(Fault("hang", service="nova", path=LIST))
    with pytest.raises(keystoneauth1.exceptions.ConnectTimeout):
        list_raw(client, timeout=1)
    client.lab.faults.remove(number)
    assert list_raw(client).status_code == 200


def test_truncated_reply_is_no_json(client: Client) -> None:
    client.boot("worker")
    client.lab.faults.add(Fault("truncate", service="nova", path=LIST))
    answer = list_raw(client)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        answer.json()


def test_reply_that_breaks_off(client: Client) -> None:
    client.boot("worker")
    client.lab.faults.add(Fault("cut", service="nova", path=LIST))
    with pytest.raises(keystoneauth1.exceptions.UnknownConnectionError):
        list_raw(client)


def test_partial_list_lacks_the_chosen_servers(client: Client) -> None:
    for name in ("keep-1", "lose-1"):
        client.create(name)
    client.lab.faults.add(Fault("drop_servers", service="nova", path=LIST, drop="lose-.*", times=1))
    assert [server["name"] for server in list_raw(client).json()["servers"]] == ["keep-1"]
    assert {server["name"] for server in list_raw(client).json()["servers"]} == {"keep-1", "lose-1"}


@pytest.mark.parametrize("service", ["keystone", "nova"])
def test_refused_connections(alpha: OpenStackLab, service: str) -> None:
    client = Client(alpha)
    if service == "nova":
        list_raw(client)
    alpha.faults.refuse(service)
    with pytest.raises(keystoneauth1.exceptions.ConnectFailure):
        list_raw(client)
    alpha.faults.accept(service)
    assert list_raw(client).status_code == 200


@pytest.mark.parametrize(
    ("service", "path", "ask"),
    [
        ("keystone", "/auth/tokens", lambda client: client.sdk.session.get_token()),
        ("glance", "/images", lambda client: list(client.sdk.image.images())),
        ("neutron", "/networks", lambda client: list(client.sdk.network.networks())),
        ("cinder", "/volumes", lambda client: list(client.sdk.block_storage.volumes())),
    ],
)
def test_each_service_has_a_proxy(client: Client, service: str, path: str, ask: Any) -> None:
    number = client.lab.faults.add(Fault("status", service=service, path=path, status=502, times=1))
    with pytest.raises((openstack.exceptions.HttpException, keystoneauth1.exceptions.HttpError)):
        ask(client)
    assert client.lab.faults.count_hits(number) == 1
    ask(client)


def test_strangers_cannot_set_faults(alpha: OpenStackLab) -> None:
    from lab.openstack.faults import Faults
    from lab.openstack.rest import ApiError

    with pytest.raises(ApiError, match="wrong key"):
        Faults(alpha.layout.ports.control, "guessed").clear()


def test_fault_of_an_unknown_service_is_refused() -> None:
    with pytest.raises(ValueError, match="no service is called 'compute'"):
        Fault("reset", service="compute")

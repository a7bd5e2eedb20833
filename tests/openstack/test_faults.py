"""Whole passes while a cloud fails: the command never crashes, no server is made twice, none is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from lab.openstack.faults import Fault
from lab.openstack_stand import OpenStackStand
from lab.stand import Finished
from tests.openstack.conftest import MakeOpenStack
from tests.openstack.direct import TINY, all_servers, open_directly, servers_per_node

# Names are remembered between passes; these faults strike a pass that has just lost its memory, too.
NAMES = (
    Fault("status", "nova", "GET", "/flavors", status=503),
    Fault("truncate", "glance", "GET", "/images"),
    Fault("reset", "neutron", "GET", "/networks"),
)
EVERY_PASS = (
    Fault("status", "keystone", "POST", "/auth/tokens", status=503),
    Fault("truncate", "keystone", "POST", "/auth/tokens"),
    Fault("status", "keystone", "POST", "/auth/tokens", status=429, retry_after="3600"),
    Fault("status", "nova", "GET", "/servers/detail", status=401),
    Fault("truncate", "nova", "GET", "/servers/detail"),
    Fault("hang", "nova", "GET", "/servers/detail", times=1),
    Fault("cut", "nova", "GET", "/limits"),
    Fault("status", "nova", "POST", "/servers$", status=500),
    Fault("status", "nova", "POST", "/servers$", status=429, retry_after="3600"),
    Fault("lose_reply", "nova", "POST", "/servers$"),
    Fault("truncate", "nova", "POST", "/servers$"),
    Fault("cut", "nova", "POST", "/servers$"),
    Fault("delay", "nova", "POST", "/servers$", seconds=7),
)
SECRETS = ("wrong-horse", "eyJ", "ZXlK")  # a password, and how a token begins, plain and in base64
PATIENCE: dict[str, Any] = {"timeout": 5, "flavors": [TINY]}
HASTE = {**PATIENCE, "timeout": 2}  # for a cloud that is going to hang


def assert_sound(done: Finished) -> None:
    """It ended as a pass may end."""
    assert done.code in {0, 1, 75}, (done.code, done.err)
    assert "Traceback" not in done.err, done.err


def our_servers(stand: OpenStackStand, lab: OpenStackLab) -> dict[str, int]:
    """Our nodes in this cloud and how many servers each has, past the proxy."""
    prefix = f"ehos-{stand.document['pool']}-"
    return {node: count for node, count in servers_per_node(lab).items() if node.startswith(prefix)}


@pytest.fixture
def bare(alpha: OpenStackLab) -> OpenStackLab:
    """Alpha, whose servers never join."""
    alpha.set_knobs(never_join=-1)
    return alpha


def test_faults_at_every_call_of_creating_passes(make_openstack: MakeOpenStack, bare: OpenStackLab) -> None:
    """Each fault once and lasting; afterwards a few healthy passes bring just the wanted nodes."""
    scaling = {"nodes_max": 40, "boot_timeout": 900, "intent_timeout": 3}
    stand = make_openstack(bare, options={"alpha": PATIENCE}, scaling=scaling)
    for wanted, fault in enumerate((*NAMES, *EVERY_PASS), start=1):
        if fault in NAMES and stand.state.exists():
            stand.state.unlink()
        stand.configure(nodes_min=wanted)
        number = bare.faults.add(fault)
        assert_sound(stand.reconcile())
        assert bare.faults.count_hits(number), f"{fault} struck nothing"
        bare.faults.clear()
        settle(stand, bare, wanted, fault)


def settle(stand: OpenStackStand, lab: OpenStackLab, wanted: int, fault: Fault) -> None:
    """Pass after pass until the wanted nodes are there; never more than those. Three passes that act are enough."""
    acting = []

    def settled() -> bool:
        done = stand.reconcile()
        assert (done.code, "Traceback" in done.err) == (0, False), (fault, done.err)
        acting.extend(done.verbs()[:1])
        seen = our_servers(stand, lab)
        assert set(seen.values()) <= {1}, (fault, seen)
        assert len(seen) <= wanted, (fault, seen)
        return len(seen) == wanted and not done.verbs()

    wait_until(settled, 60, f"{wanted} nodes after {fault}")
    assert acting in ([], ["create"]), (fault, acting)


def test_a_retry_after_of_an_hour_is_left_to_the_next_pass(make_openstack: MakeOpenStack, bare: OpenStackLab) -> None:
    stand = make_openstack(bare, options={"alpha": PATIENCE}, scaling={"nodes_min": 1})
    number = bare.faults.add(Fault("status", "nova", "GET", "/limits", status=429, retry_after="3600"))
    done = stand.reconcile()
    assert (done.code, done.verbs(), bare.faults.count_hits(number)) == (1, [], 1)
    assert "status 429" in done.data["silent"]["alpha"]


def test_an_unclear_creation_is_adopted_by_the_next_pass(make_openstack: MakeOpenStack, bare: OpenStackLab) -> None:
    """The reply is lost and the lookup fails: the intent stays, counts, and is settled by the next listing."""
    stand = make_openstack(bare, options={"alpha": PATIENCE}, scaling={"nodes_min": 2, "intent_timeout": 60})
    bare.faults.add(Fault("lose_reply", "nova", "POST", "/servers$"))
    # its listing, and its look for servers of the time before tags, are spared
    bare.faults.add(Fault("status", "nova", "GET", "/servers/detail", skip=2))
    done = stand.reconcile()
    assert done.code == 1
    assert [action["result"] for action in done.data["actions"]] == ["failed", "failed"]
    blind = stand.reconcile()  # the cloud does not even list: the intents alone say that there are nodes
    assert blind.verbs() == []
    bare.faults.clear()
    assert (stand.reconcile().verbs(), sorted(our_servers(stand, bare).values())) == ([], [1, 1])
    assert set(stand.nodes()) == {action["node"] for action in done.data["actions"]}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "nova", "DELETE", "/servers/", status=503),
        Fault("lose_reply", "nova", "DELETE", "/servers/"),
    ],
    ids=["503", "lose_reply"],
)
def test_a_deletion_that_fails_is_done_by_a_later_pass(
    make_openstack: MakeOpenStack, bare: OpenStackLab, fault: Fault
) -> None:
    stand = make_openstack(bare, options={"alpha": PATIENCE}, scaling={"nodes_min": 2, "boot_timeout": 900})
    stand.reconcile()
    broken, sound = (server for cloud in [open_directly(bare, pool="lab")] for server in cloud.servers())
    put_into_error(bare, broken.id)
    stand.configure(nodes_min=1)
    bare.faults.add(fault)
    done = stand.reconcile()
    assert_sound(done)
    assert ("delete", "build-failed") in [(one["verb"], one["reason"]["code"]) for one in done.data["actions"]]
    bare.faults.clear()
    wait_until(lambda: set(stand.nodes()) == {sound.node} or bool(stand.reconcile().err), 30, "the broken one to go")
    assert stand.reconcile().verbs() == []


def put_into_error(lab: OpenStackLab, server: str) -> None:
    wait_until(lambda: status_of(lab, server) != "BUILD", 60, "the build to end")
    lab.call_as_admin("POST", "nova", f"/servers/{server}/action", {"os-resetState": {"state": "error"}})


def status_of(lab: OpenStackLab, server: str) -> str:
    return str(lab.call_as_admin("GET", "nova", f"/servers/{server}")["server"]["status"])


# --- two clouds


@pytest.fixture
def pair(alpha: OpenStackLab, beta: OpenStackLab) -> Iterator[tuple[OpenStackLab, OpenStackLab]]:
    """Both clouds, whose servers never join; Keystone of the second serves again at the end."""
    for lab in (alpha, beta):
        lab.set_knobs(never_join=-1)
    yield alpha, beta
    if not beta.daemons.is_running("keystone"):
        beta.revive("keystone")
    beta.resume("keystone")


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_the_second_cloud_s_keystone_goes_away(
    make_openstack: MakeOpenStack, pair: tuple[OpenStackLab, OpenStackLab], how: str
) -> None:
    alpha, beta = pair
    scaling = {"nodes_min": 2, "node_allocation": "round-robin", "boot_timeout": 900, "intent_timeout": 1}
    stand = make_openstack(alpha, beta, options={"alpha": PATIENCE, "beta": HASTE}, scaling=scaling)
    stand.reconcile()
    (there,) = our_servers(stand, beta)
    beta.kill("keystone") if how == "killed" else beta.hang("keystone")
    stand.configure(nodes_min=3)
    for _ in range(2):
        done = stand.reconcile()
        assert_sound(done)
        assert set(done.data["silent"]) == {"beta"}, done.err
        assert there in {node["node"] for node in done.data["nodes"]}
    assert len(our_servers(stand, alpha)) == 2, "the first cloud goes on"
    beta.revive("keystone") if how == "killed" else beta.resume("keystone")
    healed = stand.reconcile()
    assert (healed.code, healed.verbs(), set(our_servers(stand, beta))) == (0, [], {there})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"flavors": ["m1.enormous"]}, "no flavor 'm1.enormous'"),
        ({"image": "debian-13"}, "no image 'debian-13'"),
        ({"networks": ["external"]}, "no network 'external'"),
        ({"keypair": "nobody-s"}, "key_name"),
        ({"cloud": "gamma"}, "gamma"),
        ({"auth_url": "", "username": "alpha", "password": "wrong-horse", "project_name": "alpha"}, "login is refused"),
    ],
    ids=["flavor", "image", "network", "keypair", "entry", "password"],
)
def test_what_is_wrong_with_one_cloud_is_said_and_the_other_serves(
    make_openstack: MakeOpenStack, pair: tuple[OpenStackLab, OpenStackLab], wrong: dict[str, Any], words: str
) -> None:
    """And no secret is in what is said: neither the password nor the node's token, not even with -vv."""
    alpha, beta = pair
    if "auth_url" in wrong:
        wrong = {**wrong, "auth_url": alpha.auth_url}
    options = {"alpha": PATIENCE, "beta": PATIENCE}
    stand = make_openstack(alpha, beta, options=options, scaling={"nodes_min": 1, "boot_timeout": 900})
    stand.document["clouds"]["alpha"].update(wrong)
    stand.configure()
    done = stand.reconcile("-vv")
    assert_sound(done)
    assert words in done.out
    assert words in done.err
    assert (our_servers(stand, alpha), list(our_servers(stand, beta).values())) == ({}, [1])
    said = done.out + done.err + stand.state.read_text()
    assert not [secret for secret in SECRETS if secret in said]
    stand.document["clouds"].pop("alpha")  # it could not be listed at the end
    stand.configure()


def test_a_refused_creation_is_said_once_and_not_repeated_every_minute(
    make_openstack: MakeOpenStack, pair: tuple[OpenStackLab, OpenStackLab]
) -> None:
    alpha, beta = pair
    options = {"alpha": {**PATIENCE, "keypair": "nobody-s"}, "beta": PATIENCE}
    scaling = {"nodes_min": 1, "boot_timeout": 900, "boot_backoff": 600}
    stand = make_openstack(alpha, beta, options=options, scaling=scaling)
    alpha.forget_calls()
    assert "key_name" in stand.reconcile().err
    stand.configure(nodes_min=2)
    done = stand.reconcile()
    assert (done.code, done.verbs(), "key_name" in done.err) == (0, ["create"], False)
    assert "boots-fail" in done.held()
    assert len(alpha.calls("nova", "POST", "/servers$")) == 1
    assert len(our_servers(stand, beta)) == 2


# --- boots


def test_failed_hung_and_lost_boots_are_replaced(make_openstack: MakeOpenStack, alpha: OpenStackLab) -> None:
    stand = make_openstack(alpha, options={"alpha": PATIENCE}, scaling={"nodes_min": 1, "boot_timeout": 60})
    alpha.set_knobs(fail_build=1, fail_text="the disk is on fire")
    stand.reconcile()
    wait_until(lambda: list(stand.nodes().values()) == ["error"], 60, "the build to fail")
    done = stand.reconcile()
    deleted = [action["reason"] for action in done.data["actions"] if action["verb"] == "delete"]
    assert [reason["code"] for reason in deleted] == ["build-failed"]
    assert "the disk is on fire" in deleted[0]["text"]
    for knob in ("hang_build", "never_join"):
        wait_until(lambda: stand.reconcile().verbs() == [] and stand.joined() == 1, 60, "a node to join")
        before = set(stand.nodes())
        alpha.set_knobs(**{knob: 1})
        stand.configure(nodes_min=2, boot_timeout=60)
        wait_until(lambda: stand.reconcile().code == 0 and len(stand.nodes()) == 2, 30, "the second node")
        (bad,) = set(stand.nodes()) - before
        stand.configure(boot_timeout=3)
        done = stand.reconcile_until("delete")
        gone = [(one["node"], one["reason"]["code"]) for one in done.data["actions"] if one["verb"] == "delete"]
        assert gone == [(bad, "boot-timeout")]
        stand.configure(nodes_min=1, boot_timeout=60)
        wait_until(lambda bad=bad: bad not in stand.nodes(), 60, "it to be gone")  # type: ignore[misc]


def test_accepted_and_then_no_valid_host(make_openstack: MakeOpenStack, bare: OpenStackLab) -> None:
    """Nova answers 202, and finds no host later: deleted, said with Nova's words, replaced when the hosts are back."""
    scaling = {"nodes_min": 2, "nodes_max": 2, "boot_timeout": 900}
    stand = make_openstack(bare, options={"alpha": PATIENCE}, scaling=scaling)
    bare.stop_computes()
    try:
        wait_until(lambda: bare.computes() == {("down", True)}, 60, "the hosts to be down")
        assert stand.reconcile().verbs() == ["create", "create"]
        wait_until(lambda: list(stand.nodes().values()) == ["error"] * 2, 60, "Nova to give up")
        done = stand.reconcile()
        deleted = [action["reason"] for action in done.data["actions"] if action["verb"] == "delete"]
        assert [reason["code"] for reason in deleted] == ["no-valid-host"] * 2
        assert all("No valid host" in reason["text"] for reason in deleted)
        assert len(our_servers(stand, bare)) <= 2
    finally:
        bare.start_computes()
    wait_until(
        lambda: stand.reconcile().code == 0 and list(stand.nodes().values()) == ["active"] * 2, 60, "both replaced"
    )
    assert len([server for server in all_servers(bare) if server["status"] == "ERROR"]) == 0

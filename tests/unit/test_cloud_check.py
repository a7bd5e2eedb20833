"""What `ehoslite cloud check` concludes from answers, and its checks of the local cloud: without any OpenStack."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ehoslite.clouds.check import check, check_account, check_directory, check_release, tell, tell_json
from ehoslite.clouds.finding import Finding, Said, carry_out, instead
from ehoslite.clouds.judging import (
    clock_fault,
    flavor_faults,
    image_advice,
    image_faults,
    network_choice,
    port_opening,
    quota_faults,
    room_left,
    size_of,
)
from ehoslite.errors import CloudUnreachable, FixConfiguration
from ehoslite.model import Room
from ehoslite.options import Place
from ehoslite.resources import UNLIMITED
from ehoslite.settings import (
    CloudSettings,
    FlavorChoice,
    LocalCloudSettings,
    LocalQuota,
    OpenStackCloudSettings,
    OpenStackLimits,
    Settings,
)

NOON = 1767268800.0  # Thu, 01 Jan 2026 12:00:00 GMT
DATE = "Thu, 01 Jan 2026 12:00:00 GMT"
SMALL = {"name": "small", "vcpus": 2, "ram": 2048, "disk": 10}


def openstack(**options: Any) -> OpenStackCloudSettings:
    return OpenStackCloudSettings(image="debian", flavors=(FlavorChoice("small"),), **options)


@pytest.mark.parametrize(
    ("begun", "ended", "said"),
    [
        (NOON, NOON, ""),
        (NOON + 0.9, NOON + 0.9, ""),  # Date has whole seconds
        (NOON - 5, NOON - 5, ""),
        (NOON + 6, NOON + 6, ""),
        (NOON - 30, NOON + 30, ""),  # a slow answer is no wrong clock
        (NOON - 6, NOON - 5.5, "the cloud's is 6 s ahead of ours"),
        (NOON + 61, NOON + 62, "the cloud's is 60 s behind ours"),
    ],
)
def test_clock(begun: float, ended: float, said: str) -> None:
    found = clock_fault(DATE, begun, ended)
    assert found.startswith(said)
    assert bool(found) == bool(said)


@pytest.mark.parametrize("date", ["", "soon", "Thu, 99 Jan 2026 12:00:00 GMT"])
def test_no_date_is_no_fault(date: str) -> None:
    assert clock_fault(date, NOON, NOON) == ""


def group(name: str, *rules: Mapping[str, Any]) -> dict[str, Any]:
    usual = {"direction": "ingress", "ethertype": "IPv4", "port_range_min": None, "port_range_max": None}
    return {"id": f"id-{name}", "name": name, "security_group_rules": [{**usual, **rule} for rule in rules]}


def rule(protocol: str | None, low: int | None = None, high: int | None = None, **more: Any) -> dict[str, Any]:
    return {"protocol": protocol, "port_range_min": low, "port_range_max": high, **more}


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([group("a", rule("tcp", 9618, 9618), rule("udp", 9618, 9618))], "TCP from anywhere; UDP from anywhere"),
        (
            [group("a", rule("tcp", 1, 9999)), group("b", rule("17", 9000, 9618))],
            "TCP from anywhere; UDP from anywhere",
        ),
        ([group("a", rule(None))], "TCP from anywhere; UDP from anywhere"),
        (
            [group("a", rule("6", remote_ip_prefix="10.0.0.0/8"), rule("any", remote_ip_prefix="0.0.0.0/0"))],
            "TCP from anywhere; UDP from anywhere",
        ),
        (
            [group("a", rule(None, remote_ip_prefix="10.0.0.0/8"), rule("tcp", remote_ip_prefix="192.0.2.7/32"))],
            "TCP from 10.0.0.0/8 and 192.0.2.7/32; UDP from 10.0.0.0/8",
        ),
        (
            [group("a", rule(None, remote_group_id="id-a"))],
            "TCP from members of group a alone (submit hosts must be such); UDP from members of group a alone (submit "
            "hosts must be such)",
        ),
        (
            [group("a", rule(None, ethertype="IPv6", remote_ip_prefix="::/0"))],
            "TCP from anywhere by IPv6; UDP from anywhere by IPv6",
        ),
    ],
)
def test_port_that_is_open(groups: list[Mapping[str, Any]], said: str) -> None:
    assert port_opening(groups) == (True, said)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "closed for TCP and UDP: "),
        ([rule("tcp", 9618, 9618)], "closed for UDP: "),
        ([rule("udp", 9618, 9618), rule("tcp", 22, 22)], "closed for TCP: "),
        ([rule("udp", 9618, 9618), rule("tcp", 9619, 9700)], "closed for TCP: "),
        ([rule("udp", 9618, 9618), rule("icmp")], "closed for TCP: "),
        ([rule(None, direction="egress")], "closed for TCP and UDP: "),
    ],
)
def test_port_that_is_closed(rules: list[Mapping[str, Any]], said: str) -> None:
    good, text = port_opening([group("workers", *rules)])
    assert not good
    assert text.startswith(said)
    assert text.endswith(" workers`")


@pytest.mark.parametrize(
    ("image", "settings", "said"),
    [
        ({}, openstack(), []),
        ({"min_ram": 2048, "min_disk": 10, "size": 10 * 1024**3}, openstack(), []),
        (
            {"min_ram": 2049, "min_disk": 11},
            openstack(),
            ["the image needs 2049 MB memory", "the image needs 11 GB disk"],
        ),
        ({"size": 10 * 1024**3 + 1}, openstack(), ["the image needs 11 GB disk"]),
        ({"size": 1, "virtual_size": 12 * 1024**3}, openstack(), ["the image needs 12 GB disk"]),
        ({"min_disk": 11}, openstack(boot_volume=20), []),
        ({"min_disk": 21}, openstack(boot_volume=20), ["the image needs 21 GB disk"]),
    ],
)
def test_image_on_a_flavor(image: Mapping[str, Any], settings: OpenStackCloudSettings, said: list[str]) -> None:
    assert image_faults(SMALL, image, settings) == said
    assert [text for text in image_faults({**SMALL, "disk": 0}, image, openstack()) if "disk" in text] == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (openstack(), []),
        (openstack(memory_reserved=2048), ["memory_reserved (2048 MB) leaves nothing"]),
        (openstack(disk_reserved=10240), ["disk_reserved (10240 MB) leaves nothing"]),
        (openstack(disk_reserved=10240, scratch_size=1), []),
        (openstack(disk_reserved=10240, boot_volume=11), []),
    ],
)
def test_flavor_of_which_nothing_is_left(settings: OpenStackCloudSettings, said: list[str]) -> None:
    found = flavor_faults(SMALL, settings)
    assert [text.startswith(start) for text, start in zip(found, said, strict=True)] == [True] * len(said)


@pytest.mark.parametrize(
    ("absolute", "limits", "said"),
    [
        ({"maxTotalCores": 2, "maxTotalRAMSize": 2048}, {}, []),
        ({"maxTotalCores": -1, "maxTotalRAMSize": -1}, {}, []),
        (
            {"maxTotalCores": 1, "maxTotalRAMSize": 2047},
            {},
            ["quota is 1 core in all", "quota is 2047 MB memory in all"],
        ),
        ({}, {"cores": 1, "memory": 1791}, ["limits.cores is 1", "limits.memory is 1791"]),
        ({}, {"cores": 2, "memory": 1792}, []),  # as many of ours as counted elsewhere: less memory_reserved
    ],
)
def test_flavor_beyond_the_quota(absolute: Mapping[str, Any], limits: Mapping[str, Any], said: list[str]) -> None:
    found = list(quota_faults(SMALL, absolute, openstack(limits=OpenStackLimits(**limits))))
    assert [text.endswith(end) for text, end in zip(found, said, strict=True)] == [True] * len(said)


@pytest.mark.parametrize(
    ("names", "good", "said"),
    [
        (["one"], True, "one, the only one"),
        (["one", "two"], False, "the project sees 2: one and two; Nova will refuse"),
        ([], False, "the project has none"),
    ],
)
def test_network_that_nova_chooses(names: list[str], good: bool, said: str) -> None:
    found = network_choice(names)
    assert found[0] is good
    assert said in found[1]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("twice", ": 1 (May), 2 (June)"),
        ("late", "; it is there, but saving: wait for it, or upload it again"),
        ("tw", "; 2 names begin so (twice, twice): give one"),
        ("lat", "; 1 names begin so (late): give one"),
        ("leet", "; did you mean late?"),
    ],
)
def test_image_that_is_not_the_one(wanted: str, said: str) -> None:
    twice = [{"name": "twice", "id": str(number), "created_at": month} for number, month in ((1, "May"), (2, "June"))]
    assert image_advice(wanted, [*twice, {"name": "late", "id": "3", "status": "saving"}]).startswith(said)


@pytest.mark.parametrize(
    ("room", "ours", "good", "said"),
    [
        (Room(3, 8, 4096), 0, True, "3 servers, 8 cores, 4096 MB memory left; room for 2 small"),
        (Room(3, UNLIMITED, UNLIMITED, "limits.nodes"), 0, True, "(servers by limits.nodes); room for 3 small"),
        (Room(UNLIMITED, UNLIMITED, UNLIMITED), 0, True, "any number of servers, any number of cores"),
        (Room(-2, 8, 4096), 0, False, "0 servers, 8 cores, 4096 MB memory left; room for 0 small: raise"),
        (Room(0, 8, 4096), 0, False, ": raise the quota of instances, or"),
        (Room(0, 8, 4096, "the quota of volumes"), 0, False, ": raise the quota of volumes, or"),
        (Room(9, 1, 4096, "the quota of volumes"), 0, False, ": raise the quota of cores, or"),
        (Room(9, 8, 0, memory_bound="limits.memory"), 0, False, "room for 0 small: raise limits.memory"),
        (Room(9, 1, 0, cores_bound="limits.cores"), 0, False, ": raise limits.cores and the quota of memory, or"),
        (Room(0, 8, 4096), 1, True, "left beside 1 node of this pool; room for 0 small"),
    ],
)
def test_room(room: Room, ours: int, good: bool, said: str) -> None:
    found = room_left(room, [size_of("here", "small", 2, 2048)], ours)
    assert found[0] is good
    assert said in found[1]
    assert found[1].endswith("up") is (not good and "the quota" in found[1]), "our own limits count our servers alone"


def test_other_names_are_offered() -> None:
    assert instead("condr", ["condor", "default"]) == "; did you mean condor?"
    assert instead("zzz", ["b", "a"]) == "; known: a and b"
    assert instead("zzz", "abcdefg") == "; known: a, b, c, d, e and 2 more"
    assert instead("zzz", []) == "; there is none at all"


def test_a_check_that_fails_is_a_finding_and_the_next_one_follows() -> None:
    def unreachable() -> Iterator[Said]:
        yield True, "seen"
        raise CloudUnreachable("no\nanswer", "timeout")

    def senseless() -> Iterator[Said]:
        answer: dict[str, str] = {}
        yield True, answer["images"]

    found = list(carry_out("a", [("one", unreachable), ("two", senseless), ("three", lambda: [(True, "fine")])]))
    assert [(one.check, one.ok, one.text) for one in found] == [
        ("one", True, "seen"),
        ("one", False, "no answer"),
        ("two", False, "the answer makes no sense: KeyError: 'images'"),
        ("three", True, "fine"),
    ]


def test_lines_and_exit_code() -> None:
    said: list[str] = []
    good, bad = Finding("a", "image", True, "debian"), Finding("a", "quota", False, "raise it")
    assert tell([good, bad], said.append, tick=False) == 1
    assert tell([good], said.append, tick=True) == 0
    assert said == [
        "ok  a: image: debian",
        "FIX a: quota: raise it",
        "1 to fix",
        "\N{CHECK MARK} a: image: debian",
        "all is well",
    ]


def test_findings_as_json() -> None:
    said: list[str] = []
    assert tell_json([Finding("a", "quota", False, "raise it")], 1, said.append) == 1
    assert json.loads(said[0]) == {
        "schema": 1,
        "ok": False,
        "findings": [{"cloud": "a", "check": "quota", "ok": False, "text": "raise it"}],
    }
    assert tell_json([], 1, said.append) == 0


# --- the local cloud


def local(folder: Path, **options: Any) -> LocalCloudSettings:
    return LocalCloudSettings(directory=Place(folder / "nodes"), **options)


@pytest.fixture
def installed(tmp_path: Path) -> Place:
    """The folder of something that looks like HTCondor."""
    (tmp_path / "condor" / "sbin").mkdir(parents=True)
    for name in ("condor_master", "condor_startd"):
        (tmp_path / "condor" / "sbin" / name).touch(0o755)
    return Place(tmp_path / "condor")


def settings(**clouds: CloudSettings) -> Settings:
    return Settings(pool="demo", clouds=clouds)


def test_local_cloud_that_is_fine(tmp_path: Path, installed: Place) -> None:
    found = list(check(settings(here=local(tmp_path, release=installed)), []))
    assert [one for one in found if not one.ok] == []
    assert [one.check for one in found] == ["release", "directory", "account", "quota", "user data"]
    assert [path.name for path in tmp_path.iterdir()] == ["condor"], "nothing is made"


def test_local_cloud_without_quota_or_template(tmp_path: Path, installed: Place) -> None:
    broken = local(tmp_path, release=installed, quota=LocalQuota(instances=0), template=Place(tmp_path / "odd.yaml"))
    (tmp_path / "odd.yaml").write_text("#cloud-config\nhostname: '{nobody_fills_this}'\n")
    found = {one.check: one.text for one in check(settings(here=broken), []) if not one.ok}
    assert set(found) == {"quota", "user data"}
    assert "{nobody_fills_this}: nothing fills this tag" in found["user data"]


def test_release(tmp_path: Path, installed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (installed / "sbin" / "condor_startd").unlink()
    assert list(check_release(local(tmp_path, release=installed))) == [
        (False, f"{installed}/sbin has no condor_startd: `release` is the folder above sbin/condor_master")
    ]
    monkeypatch.setenv("PATH", str(tmp_path))
    ((good, text),) = check_release(local(tmp_path))
    assert not good
    assert text.startswith("there is no condor_master on PATH")


def test_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(check_directory(tmp_path)) == [(True, f"{tmp_path} can be written")]
    (tmp_path / "file").touch()
    ((good, text),) = check_directory(tmp_path / "file" / "nodes")
    assert (good, text) == (False, f"{tmp_path}/file is no folder: name another `directory`")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    ((good, text),) = check_directory(tmp_path / "a" / "b")
    assert not good
    assert text.startswith(f"{tmp_path} cannot be written by this account")


def test_account() -> None:
    ((good, text),) = check_account("no-such-account", 0)
    assert not good
    assert "there is no account 'no-such-account'" in text
    assert [good for good, _ in (*check_account("root", 0), *check_account("no-such-account", 1000))] == [True, True]


def test_clouds_by_name(tmp_path: Path, installed: Place) -> None:
    both = settings(here=local(tmp_path, release=installed), there=local(tmp_path, release=installed))
    assert {one.cloud for one in check(both, ["there"])} == {"there"}
    assert {one.cloud for one in check(both, [])} == {"here", "there"}
    with pytest.raises(FixConfiguration, match="clouds: ther: is no configured cloud; did you mean there"):
        check(both, ["here", "ther"])

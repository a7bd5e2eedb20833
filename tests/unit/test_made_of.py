"""What a server is made of: when two differ, when not, and that it stands on the server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ehoslite.clouds.local import LocalCloud
from ehoslite.clouds.openstack import OpenStack
from ehoslite.clouds.recipe import made_of, recipe_of
from ehoslite.memory import Memory
from ehoslite.options import Place
from ehoslite.plan import plan
from ehoslite.settings import FlavorChoice, FlavorSettings, LocalCloudSettings, OpenStackCloudSettings, OpenStackLimits
from tests.unit.test_hostile_replies import CLOUD, NODE, REPLIES, SETTINGS, Transport, encode, see
from tests.unit.worlds import held, world

SIZE = ("small", 1, 1024, 20)


@pytest.fixture
def template(tmp_path: Path) -> Place:
    path = tmp_path / "node.yaml"
    path.write_text("#cloud-config\n")
    return Place(path)


@pytest.fixture
def settings(template: Place) -> OpenStackCloudSettings:
    return OpenStackCloudSettings("worker", (FlavorChoice("small"),), template=template)


OTHERS: dict[str, Any] = {
    "networks": ("net",),
    "security_groups": ("group",),
    "keypair": "key",
    "availability_zone": "north",
    "server_group": "spread",
    "config_drive": True,
    "boot_volume": 20,
    "scratch_size": 20,
    "floating_ip": "public",
    "ports": True,
    "metadata": {"owner": "physics"},
}
SAME: dict[str, Any] = {
    "image": "the id counts, not the name",
    "flavors": (FlavorChoice("small", 3.0),),
    "nodes_min": 3,
    "limits": OpenStackLimits(nodes=3),
    "timeout": 99.0,
    "password": "other",
    "username": "other",
    "memory_reserved": 512,
    "clouds_yaml": Place(Path("/elsewhere")),
}


@pytest.mark.parametrize("name", OTHERS)
def test_options_that_a_server_has_in_it_make_another_one(settings: OpenStackCloudSettings, name: str) -> None:
    assert made_of(replace(settings, **{name: OTHERS[name]}), "id", SIZE) != made_of(settings, "id", SIZE)


@pytest.mark.parametrize("name", SAME)
def test_options_that_it_has_not_in_it_do_not(settings: OpenStackCloudSettings, name: str) -> None:
    assert made_of(replace(settings, **{name: SAME[name]}), "id", SIZE) == made_of(settings, "id", SIZE)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("metadata", {"owner": "physics", "cost": "7"}, {"cost": "7", "owner": "physics"}),
        ("security_groups", ("condor", "default"), ("default", "condor")),
    ],
)
def test_the_order_of_lines_in_the_file_is_none_of_a_server(
    settings: OpenStackCloudSettings, name: str, one: Any, other: Any
) -> None:
    settings, turned = (replace(settings, **{name: value}) for value in (one, other))
    assert made_of(settings, "id", SIZE) == made_of(turned, "id", SIZE)
    assert recipe_of(settings) == recipe_of(turned)


def test_the_order_of_networks_is_that_of_the_server_s_interfaces(settings: OpenStackCloudSettings) -> None:
    one, other = (replace(settings, networks=names) for names in (("a", "b"), ("b", "a")))
    assert made_of(one, "id", SIZE) != made_of(other, "id", SIZE)


def test_image_size_and_template_make_another_one(settings: OpenStackCloudSettings) -> None:
    before = made_of(settings, "id", SIZE)
    assert made_of(settings, "newer", SIZE) != before
    assert made_of(settings, "id", ("small", 2, 1024, 20)) != before
    Path(settings.template).write_text("#cloud-config\n# changed\n")
    assert made_of(settings, "id", SIZE) != before


def test_it_stays_what_it_is_from_version_to_version(settings: OpenStackCloudSettings) -> None:
    """Else an update of ehoslite would replace every node of every pool."""
    assert made_of(settings, "id", SIZE) == "1e3c3964"


@pytest.mark.parametrize("change", [{"nodes_min": 3}, {"limits": OpenStackLimits(nodes=3)}, {"password": "x"}])
def test_what_boots_have_taught_outlives_limits(settings: OpenStackCloudSettings, change: dict[str, Any]) -> None:
    assert recipe_of(replace(settings, **change)) == recipe_of(settings)


def listed(made: str, **replies: Any) -> dict[str, bytes]:
    """Replies of a cloud with one server that carries this mark."""
    server = REPLIES["/servers/detail"]["servers"][0]
    marked = {**server, "tags": [*server["tags"], f"ehoslite-made-of={made}"]}
    return encode({**REPLIES, "/servers/detail": {"servers": [marked], "servers_links": []}, **replies})


def test_a_server_on_openstack_is_compared_by_its_mark() -> None:
    today = see(listed("old")).flavors[0].made_of
    assert len(today) == 8
    for mark, drifted in (("old", True), (today, False)):
        view = see(listed(mark))
        assert view.servers[0].made_of == mark
        decided = plan(replace(world(), clouds=(view,)), Memory(), SETTINGS)
        assert ("drift" in held(decided)) == drifted


def test_a_newer_image_is_another_one() -> None:
    newer = {"images": [{"id": "4d2f", "name": "worker", "created_at": "2026-02-01T00:00:00Z"}]}
    views = see(listed("x")), see(listed("x", **{"/images": newer}))
    assert views[0].flavors[0].made_of != views[1].flavors[0].made_of
    assert views[0].flavors[0].recipe == views[1].flavors[0].recipe


@pytest.mark.parametrize("reply", [{"images": []}, {"images": None}, {}, [], {"images": [{}]}])
def test_a_cloud_whose_image_is_not_to_be_had_answers_all_the_same(reply: Any) -> None:
    view = see(listed("old", **{"/images": reply}))
    assert (view.fault, view.flavors[0].made_of) == ("", "")
    assert "drift" not in held(plan(replace(world(), clouds=(view,)), Memory(), SETTINGS))


def openstack(known: dict[str, Any], replies: dict[str, bytes]) -> tuple[OpenStack, list[str]]:
    """A cloud that replies so, and the paths that it is asked for."""
    cloud, asked = (
        OpenStack("beta", replace(CLOUD, networks=(), floating_ip=""), "lab", lambda: 60.0, known),
        list[str](),
    )

    def answer(service: str, verb: str, path: str, *more: Any) -> Any:
        asked.append(path.partition("?")[0])
        return Transport(replies).answer(service, verb, path, *more)

    vars(cloud.calls).update(_answer=answer, _connection=SimpleNamespace(current_project_id="project"))
    return cloud, asked


def test_an_image_that_is_not_to_be_had_is_asked_for_once_in_a_while() -> None:
    known: dict[str, Any] = {}
    for _ in range(3):
        cloud, asked = openstack(known, listed("old", **{"/images": {}}))
        cloud.flavors()
        assert ("/images" in asked) == (_ == 0)


def test_in_one_pass_an_image_that_is_not_to_be_had_is_asked_for_once() -> None:
    """Creations would each wait for it again, attempt by attempt."""
    cloud, asked = openstack({}, listed("old", **{"/images": {"images": []}}))
    for looks in (1, 2):
        cloud.servers()
        cloud.flavors()
        cloud.room()
        with ThreadPoolExecutor(8) as side_by_side:
            faults = [side_by_side.submit(cloud.names.image).exception() for _ in range(16)]
        assert {str(fault) for fault in faults} == {"there is no image 'worker'"}
        assert asked.count("/images") == looks


def test_a_creation_carries_what_it_is_made_of() -> None:
    cloud, _ = openstack({}, listed("old"))
    (flavor,) = cloud.flavors()
    body = cloud.request(NODE, "small", "")["server"]
    assert f"ehoslite-made-of={flavor.made_of}" in body["tags"]
    assert body["metadata"]["ehoslite-made-of"] == flavor.made_of
    cloud, _ = openstack({"image is not to be had": True}, listed("old"))
    assert not [tag for tag in cloud.request(NODE, "small", "")["server"]["tags"] if "made-of" in tag]


def test_a_local_server_carries_what_it_is_made_of(
    tmp_path: Path, template: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalCloud, "_boot", lambda *_: None)
    sizes = (FlavorSettings("small"), FlavorSettings("large", cpus=4))
    given = LocalCloudSettings(Place(tmp_path / "nodes"), flavors=sizes, release=Place(Path("/usr")), template=template)
    cloud = LocalCloud("here", given, "lab")
    cloud.create("n1", "large", "#cloud-config\n")
    offered = {flavor.name: flavor.made_of for flavor in cloud.flavors()}
    assert [server.made_of for server in cloud.servers()] == [offered["large"]]
    assert offered["small"] != offered["large"]
    Path(template).write_text("#cloud-config\n# changed\n")
    assert {flavor.made_of for flavor in cloud.flavors()}.isdisjoint(offered.values())
    older = next((tmp_path / "nodes").glob("*/server.json"))
    older.write_text(
        json.dumps({name: value for name, value in json.loads(older.read_text()).items() if name != "made_of"})
    )
    assert [server.made_of for server in cloud.servers()] == [""]

"""Logins and names: each way to give them, and what is said when one is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ehoslite.errors import CloudUnreachable
from ehoslite.options import Place
from ehoslite.settings import FlavorChoice
from lab.openstack import OpenStackLab
from tests.openstack.direct import (
    look,
    open_directly,
)


def entry_of(lab: OpenStackLab, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(lab.clouds_yaml.read_text())["clouds"][name]
    return entry


def inline(lab: OpenStackLab) -> dict[str, Any]:
    """The login as EHOS's users wrote it."""
    auth = entry_of(lab, f"{lab.name}-password")["auth"]
    wanted = ("auth_url", "username", "password", "project_name")
    return {"clouds_yaml": None, "cloud": "", **{key: auth[key] for key in wanted}}


def test_each_way_to_log_in(alpha: OpenStackLab) -> None:
    assert entry_of(alpha, "alpha")["auth_type"] == "v3applicationcredential"
    ways: list[dict[str, Any]] = [{}, {"cloud": "alpha-password"}, inline(alpha), {"region_name": "RegionOne"}]
    assert len({len(open_directly(alpha, **way).flavors()) for way in ways}) == 1


def test_an_entry_of_the_file_that_the_environment_names(
    alpha: OpenStackLab, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all OpenStack clients find it; the entry may be called like the cloud."""
    path = folder / "elsewhere.yaml"
    path.write_text(json.dumps({"clouds": {"from-afar": entry_of(alpha, "alpha")}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    assert open_directly(alpha, clouds_yaml=None, cloud="from-afar").flavors()
    with pytest.raises(CloudUnreachable, match="alpha") as caught:
        open_directly(alpha, clouds_yaml=None, cloud="").flavors()
    assert caught.value.code == "misconfigured"
    path.write_text(json.dumps({"clouds": {"alpha": entry_of(alpha, "alpha")}}))
    assert open_directly(alpha, clouds_yaml=None, cloud="").flavors()


@pytest.mark.parametrize("way", ["password", "inline", "credential"])
def test_a_refused_login_is_unauthorized_and_quotes_no_secret(alpha: OpenStackLab, folder: Any, way: str) -> None:
    options: dict[str, Any] = {**inline(alpha), "password": "wrong-horse-battery"}
    if way != "inline":
        entry = entry_of(alpha, "alpha" if way == "credential" else "alpha-password")
        key = "application_credential_secret" if way == "credential" else "password"
        entry["auth"][key] = "wrong-horse-battery"
        path = folder / "clouds.yaml"
        path.write_text(json.dumps({"clouds": {"alpha": entry}}))
        options = {"clouds_yaml": Place(path)}
    with pytest.raises(CloudUnreachable) as caught:
        open_directly(alpha, **options).flavors()
    assert caught.value.code == "unauthorized"
    assert "wrong-horse" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["entry", "file", "broken", "region"])
def test_a_login_that_is_not_there_is_misconfigured(alpha: OpenStackLab, folder: Any, wrong: str) -> None:
    (folder / "broken.yaml").write_text("clouds: [")
    ways: dict[str, dict[str, Any]] = {
        "entry": {"cloud": "gamma"},
        "file": {"clouds_yaml": Place(folder / "none.yaml")},
        "broken": {"clouds_yaml": Place(folder / "broken.yaml")},
        "region": {"region_name": "RegionTwo"},
    }
    with pytest.raises(CloudUnreachable) as caught:
        open_directly(alpha, **ways[wrong]).flavors()
    assert caught.value.code == "misconfigured"


@pytest.fixture
def two_regions(alpha: OpenStackLab) -> Iterator[None]:
    """Alpha's catalog has a RegionTwo as well, with the same Nova, but past the proxy."""

    def admin(method: str, what: str, body: dict[str, Any] | None = None) -> Any:
        return alpha.call_as_admin(method, "keystone", what, body)

    (nova,) = admin("GET", "/services?type=compute")["services"]
    admin("POST", "/regions", {"region": {"id": "RegionTwo"}})
    url = alpha.layout.ports.back_url("nova")
    new = {"service_id": nova["id"], "interface": "public", "region_id": "RegionTwo", "url": url}
    made = admin("POST", "/endpoints", {"endpoint": new})["endpoint"]["id"]
    yield
    admin("DELETE", f"/endpoints/{made}")
    admin("DELETE", "/regions/RegionTwo")


@pytest.mark.usefixtures("two_regions")
def test_of_several_regions_the_one_that_is_named_is_asked(alpha: OpenStackLab) -> None:
    for region, asked in ("RegionOne", True), ("RegionTwo", False):
        alpha.forget_calls()
        open_directly(alpha, **inline(alpha), region_name=region).servers()
        assert bool(alpha.calls("nova", "GET", "/servers/detail")) == asked


@pytest.mark.usefixtures("two_regions")
def test_of_several_regions_none_is_taken_by_chance(alpha: OpenStackLab) -> None:
    """Servers in the others would be forgotten."""
    with pytest.raises(CloudUnreachable, match="the regions RegionOne, RegionTwo: name one with region_name") as caught:
        open_directly(alpha, **inline(alpha)).servers()
    assert caught.value.code == "misconfigured"


@pytest.mark.parametrize("entry", ["alpha", "alpha-password"])
def test_a_keystone_that_refuses_connections_is_unreachable(alpha: OpenStackLab, entry: str) -> None:
    alpha.faults.refuse("keystone")
    with pytest.raises(CloudUnreachable) as caught:
        open_directly(alpha, cloud=entry).flavors()
    assert caught.value.code == "unreachable"


# --- names


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image": "debian-13"}, "no image 'debian-13'"),
        ({"image": "worker"}, "no image 'worker'"),
        ({"image": "nothing", "image_newest": True}, "begins with 'nothing'"),
        ({"image": "00000000-0000-0000-0000-000000000000"}, "no image"),
        ({"flavors": (FlavorChoice("m1.enormous"),)}, "no flavor 'm1.enormous'"),
        ({"networks": ("external",)}, "no network 'external'"),
    ],
)
def test_a_name_that_is_not_there_is_a_clear_fault(alpha: OpenStackLab, options: dict[str, Any], words: str) -> None:
    with pytest.raises(CloudUnreachable, match=words) as caught:
        look(open_directly(alpha, **options))
    assert caught.value.code == "misconfigured"


def test_images_by_id_by_name_and_the_newest(alpha: OpenStackLab) -> None:
    found = alpha.call_as_admin("GET", "glance", "/v2/images")["images"]
    ids = {image["name"]: image["id"] for image in found}
    assert open_directly(alpha, image="debian-12").names.image() == ids["debian-12"]
    assert open_directly(alpha, image=ids["worker-2026-01"]).names.image() == ids["worker-2026-01"]
    assert open_directly(alpha, image="worker-", image_newest=True).names.image() == ids["worker-2026-02"]


def test_an_ambiguous_image_is_a_clear_fault(alpha: OpenStackLab) -> None:
    cloud = open_directly(alpha, image="twice")
    made = []
    try:
        for _ in range(2):
            body = {"name": "twice", "disk_format": "raw", "container_format": "bare"}
            made.append(cloud.calls.post("image", "/images", body)["id"])
        with pytest.raises(CloudUnreachable, match="no image 'twice'"):  # queued: without content nothing can boot
            cloud.names.image()
        for image in made:
            upload(alpha, image)
        cloud.servers()  # what Glance said holds for one look
        with pytest.raises(CloudUnreachable, match="2 images are called 'twice'; give the id"):
            cloud.names.image()
    finally:
        for image in made:
            cloud.calls.delete("image", f"/images/{image}")


def upload(lab: OpenStackLab, image: str) -> None:
    """Give an image some content, as the project's own user."""
    connection = open_directly(lab).calls.connection()
    headers = {"Content-Type": "application/octet-stream"}
    assert connection.image.put(f"/images/{image}/file", headers=headers, data=b"bytes").status_code == 204

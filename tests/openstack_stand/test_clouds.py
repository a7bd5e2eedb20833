"""Whole clouds: what they hold, that they are independent, and that they come and go cleanly."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import keystoneauth1.exceptions
import pytest

from lab.openstack import OpenStackLab, RunningCloud
from lab.openstack.clone import clone_server
from lab.openstack.processes import wait_until
from lab.openstack.rest import ApiError, call
from tests.openstack_stand.conftest import GUEST, SECONDS, Client, find_mentioning, list_servers

ROOT = Path(__file__).parent.parent.parent
RUN = """
import sys, time
from pathlib import Path
from lab.openstack import OpenStackLab
OpenStackLab(Path(sys.argv[1]), guest_command=sys.argv[2:]).start()
print("up", flush=True)
time.sleep(1000)
"""


def test_all_that_a_tenant_needs_is_there(client: Client) -> None:
    sdk = client.sdk
    assert {"m1.small", "c4.large", "m8.large", "g1.vgpu"} <= {flavor.name for flavor in sdk.compute.flavors()}
    images = sorted(sdk.image.images(), key=lambda image: str(image.created_at))
    assert [image.name for image in images] == ["debian-12", "worker-2026-01", "worker-2026-02"]
    assert [network.name for network in sdk.network.networks()] == ["internal"]
    assert [keypair.name for keypair in sdk.compute.keypairs()] == ["lab"]
    assert client.lab.project_name == "alpha"


@pytest.mark.parametrize(("name", "protocols"), [("condor", {"tcp", "udp"}), ("condor-tcp-only", {"tcp"})])
def test_security_groups_open_condors_port(client: Client, name: str, protocols: set[str]) -> None:
    rules = client.sdk.network.find_security_group(name).security_group_rules
    assert {rule["protocol"] for rule in rules if rule["port_range_min"] == 9618} == protocols


@pytest.mark.parametrize("entry", ["alpha", "alpha-password", "alpha-neighbour", "alpha-admin"])
def test_entries_of_clouds_yaml_log_in(alpha: OpenStackLab, entry: str) -> None:
    assert Client(alpha, entry).sdk.authorize()


def test_clouds_yaml_is_private(alpha: OpenStackLab) -> None:
    assert stat.S_IMODE(alpha.clouds_yaml.stat().st_mode) == 0o600


def test_clouds_have_nothing_in_common(alpha: OpenStackLab, beta: OpenStackLab) -> None:
    first, second = Client(alpha), Client(beta)
    server = first.boot("only-here")
    assert list(second.sdk.compute.servers()) == []
    assert list_servers(beta) == []
    for kind in ("flavors", "images"):
        service = "compute" if kind == "flavors" else "image"
        ids = [{one.id for one in getattr(getattr(client.sdk, service), kind)()} for client in (first, second)]
        assert not ids[0] & ids[1]
    assert first.sdk.current_project_id != second.sdk.current_project_id
    token = {"X-Auth-Token": first.sdk.auth_token}
    assert call("GET", f"{alpha.layout.ports.url('nova')}/servers/{server.id}", headers=token)
    with pytest.raises(ApiError, match="401"):
        call("GET", f"{beta.layout.ports.url('nova')}/servers", headers=token)


def test_killed_nova_comes_back_and_knows_its_guests(client: Client) -> None:
    lab = client.lab
    server = client.boot("survivor")
    lab.kill("nova")
    with pytest.raises(keystoneauth1.exceptions.ConnectFailure):
        client.sdk.compute.get_server(server)
    assert lab.find_processes(server.id)
    lab.revive("nova")
    assert client.sdk.compute.get_server(server).status == "ACTIVE"
    (lab.folder_of(server.id) / "shut-down").touch()
    client.wait(server, "SHUTOFF")
    client.sdk.compute.start_server(server)
    client.wait(server, "ACTIVE")
    client.delete(server)
    assert lab.find_processes(server.id) == set()


def test_hung_keystone_is_a_timeout_and_comes_back(alpha: OpenStackLab) -> None:
    alpha.hang("keystone")
    client = Client(alpha)
    with pytest.raises(keystoneauth1.exceptions.ConnectTimeout):
        client.sdk.session.get(alpha.auth_url, timeout=1, authenticated=False)
    alpha.resume("keystone")
    assert client.sdk.authorize()


def test_killed_keystone_refuses_new_logins(alpha: OpenStackLab) -> None:
    alpha.kill("keystone")
    with pytest.raises(keystoneauth1.exceptions.ConnectFailure):
        Client(alpha).sdk.session.get_token()
    alpha.revive("keystone")
    assert Client(alpha).sdk.authorize()


def test_stopped_computes_build_nothing_until_they_are_back(client: Client) -> None:
    client.lab.stop_computes()
    server = client.create("waiting")
    assert wait_until(lambda: client.sdk.compute.get_server(server).status == "BUILD", SECONDS)
    client.lab.start_computes()
    assert client.boot("after").status == "ACTIVE"


def test_cloned_servers_are_listed_with_addresses_of_their_own(client: Client) -> None:
    network = client.sdk.network.find_network("internal").id
    server = client.boot("template", networks=[{"uuid": network}], tags=["mine"])
    ids = clone_server(client.lab.layout, server.id, 40, "copy-")
    found = list(client.sdk.compute.servers(tags="mine"))
    assert {one.id for one in found} == {*ids, server.id}
    addresses = {one.addresses["internal"][0]["addr"] for one in found}
    assert len(addresses) == 41
    client.sdk.compute.delete_server(ids[0])
    assert wait_until(lambda: client.sdk.compute.find_server("copy-00000") is None, SECONDS)


def test_cloning_needs_a_server(alpha: OpenStackLab) -> None:
    with pytest.raises(LookupError, match="no server nobody"):
        clone_server(alpha.layout, "nobody", 1)


def test_cloud_ends_with_its_starter_however_that_ends(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "cloud"), *GUEST],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with starter:
        try:
            assert starter.stdout is not None
            assert starter.stdout.readline() == b"up\n"
            cloud = RunningCloud(tmp_path / "cloud").attach()
            cloud.hang("neutron")
        finally:
            starter.kill()
    assert wait_until(lambda: not find_mentioning(str(tmp_path)), SECONDS), "processes are left"


def test_command_brings_a_cloud_up_and_down(tmp_path: Path) -> None:
    directory = tmp_path / "cloud"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lab.openstack", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)

    assert run("status", str(directory)).returncode == 1
    try:
        up = run("up", str(directory), "--name", "gamma", "--guest", " ".join(GUEST))
        assert up.returncode == 0, up.stderr
        assert f"OS_CLIENT_CONFIG_FILE={directory}/clouds.yaml" in up.stdout
        assert "gamma is up" in run("status", str(directory)).stdout
        assert "up already" in run("up", str(directory)).stdout
        lab = OpenStackLab(directory, name="gamma")
        lab.attach()
        server = Client(lab).boot("worker")
        assert lab.find_processes(server.id)
    finally:
        run("down", str(directory))
    assert find_mentioning(str(directory)) == []
    assert run("status", str(directory)).returncode == 1
    assert run("down", str(directory)).returncode == 0

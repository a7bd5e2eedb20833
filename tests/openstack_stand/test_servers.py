"""Servers: their guest programs are started and ended as machines are switched on and off."""

from __future__ import annotations

import json

import openstack.exceptions
import pytest

from lab import read_file
from lab.openstack import OpenStackLab
from lab.openstack.processes import wait_until
from tests.openstack_stand.conftest import SECONDS, Client

SLEEPERS = 3  # the children that guest.sh leaves


def count_sleepers(lab: OpenStackLab, server_id: str) -> int:
    """Count the guest's children by their command lines."""
    return sum(b"sleep\x00700" in read_file(pid, "cmdline") for pid in lab.find_processes(server_id))


def wait_booted(lab: OpenStackLab, server_id: str) -> None:
    """Wait until the guest has all its children."""
    assert wait_until(lambda: count_sleepers(lab, server_id) == SLEEPERS, SECONDS), "the guest did not boot"


def test_user_data_is_carried_out(client: Client) -> None:
    server = client.boot("worker", flavor="c4.large", user_data="#cloud-config\nruncmd: []\n")
    wait_booted(client.lab, server.id)
    console = client.sdk.compute.get_server_console_output(server.id)["output"]
    assert "#cloud-config\nruncmd: []\n" in console
    folder = client.lab.folder_of(server.id)
    assert f"guest of {folder}" in console
    assert json.loads((folder / "meta_data.json").read_text())["uuid"] == server.id
    assert json.loads((folder / "hardware.json").read_text()) == {
        "name": "worker",
        "id": server.id,
        "flavor": "c4.large",
        "cpus": 4,
        "memory_mb": 4096,
        "disk_gb": 20,
        "gpus": 0,
        "volumes_gb": [],
    }


def test_stop_start_and_delete_reach_all_processes(client: Client) -> None:
    lab, compute = client.lab, client.sdk.compute
    server = client.boot("worker")
    wait_booted(lab, server.id)
    compute.stop_server(server)
    client.wait(server, "SHUTOFF")
    assert lab.find_processes(server.id) == set()
    compute.start_server(server)
    client.wait(server, "ACTIVE")
    wait_booted(lab, server.id)
    client.delete(server)
    assert lab.find_processes(server.id) == set()
    assert not lab.folder_of(server.id).exists()


def test_guest_that_exits_shuts_its_server_off(client: Client) -> None:
    server = client.boot("worker")
    wait_booted(client.lab, server.id)
    (client.lab.folder_of(server.id) / "shut-down").touch()
    client.wait(server, "SHUTOFF")
    assert client.lab.find_processes(server.id) == set()


@pytest.mark.parametrize(("flavor", "gpus"), [("g1.vgpu", 1), ("g2.a100", 2)])
def test_gpus_are_in_the_hardware(client: Client, flavor: str, gpus: int) -> None:
    server = client.boot("worker", flavor=flavor)
    hardware = json.loads((client.lab.folder_of(server.id) / "hardware.json").read_text())
    assert hardware["gpus"] == gpus


def test_scratch_volume_comes_and_goes_with_its_server(client: Client) -> None:
    image = client.sdk.image.find_image("debian-12").id
    root = {"boot_index": 0, "uuid": image, "source_type": "image", "destination_type": "local"}
    scratch = {"boot_index": -1, "source_type": "blank", "destination_type": "volume", "volume_size": 7}
    mapping = [root | {"delete_on_termination": True}, scratch | {"delete_on_termination": True}]
    server = client.boot("worker", block_device_mapping=mapping)
    volumes = list(client.sdk.block_storage.volumes())
    assert [(volume.size, volume.status) for volume in volumes] == [(7, "in-use")]
    hardware = json.loads((client.lab.folder_of(server.id) / "hardware.json").read_text())
    assert hardware["volumes_gb"] == [7]
    client.delete(server)
    assert wait_until(lambda: not list(client.sdk.block_storage.volumes()), SECONDS)


def test_server_has_an_address_on_the_network(client: Client) -> None:
    network = client.sdk.network.find_network("internal").id
    server = client.boot("worker", networks=[{"uuid": network}], security_groups=[{"name": "condor"}], tags=["mine"])
    assert [address["addr"][:5] for address in server.addresses["internal"]] == ["10.0."]
    assert [one.id for one in client.sdk.compute.servers(tags="mine")] == [server.id]


def test_build_faults_are_counted_by_server(client: Client) -> None:
    client.lab.set_knobs(fail_build=1, fail_text="the disk is full")
    failed = client.wait(client.create("first"), "ERROR")
    assert "the disk is full" in failed.fault["message"]
    assert client.boot("second").status == "ACTIVE"


def test_build_failure_without_text_is_tried_on_each_host(client: Client) -> None:
    client.lab.set_knobs(by_name=[{"name": "bad-.*", "fail_build": 1}])
    failed = client.create("bad-1")
    assert client.boot("good-1").status == "ACTIVE"
    failed = client.wait(failed, "ERROR")
    assert "Exceeded maximum number of retries" in failed.fault["message"]


def test_stuck_build_can_be_deleted(client: Client) -> None:
    client.lab.set_knobs(hang_build=1)
    server = client.create("stuck")
    assert wait_until(lambda: client.sdk.compute.get_server(server).task_state == "spawning", SECONDS)
    assert client.boot("next").status == "ACTIVE"
    assert client.sdk.compute.get_server(server).status == "BUILD"
    client.delete(server)


def test_slow_boot_is_a_build_meanwhile(client: Client) -> None:
    client.lab.set_knobs(boot_delay=600)
    server = client.create("slow")
    assert wait_until(lambda: client.sdk.compute.get_server(server).task_state == "spawning", SECONDS)
    client.delete(server)
    client.lab.set_knobs(boot_delay=0.5)
    assert client.boot("slow").status == "ACTIVE"


def test_server_that_never_joins_has_no_process(client: Client) -> None:
    client.lab.set_knobs(never_join=1)
    silent, other = client.boot("silent"), client.boot("other")
    wait_booted(client.lab, other.id)
    assert client.lab.find_processes(silent.id) == set()
    assert client.sdk.compute.get_server(silent).status == "ACTIVE"


def test_flavor_that_fits_nowhere_is_an_error(client: Client) -> None:
    client.lab.set_quota(cores=10_000, ram=200_000_000)
    failed = client.wait(client.create("huge", flavor="x1.none"), "ERROR")
    assert "No valid host was found" in failed.fault["message"]


def test_quota_is_a_403_and_can_be_changed(beta: OpenStackLab) -> None:
    client = Client(beta)
    client.boot("first")
    client.boot("second")
    with pytest.raises(openstack.exceptions.ForbiddenException, match="Quota exceeded for instances"):
        client.create("third")
    beta.set_quota(instances=3)
    client.boot("third")
    beta.set_quota(instances=2)


def test_foreign_servers_share_the_hosts_and_are_not_ours(client: Client) -> None:
    foreign = Client(client.lab, f"{client.lab.name}-neighbour").boot("theirs")
    assert list(client.sdk.compute.servers()) == []
    own = client.boot("ours")
    admin = Client(client.lab, f"{client.lab.name}-admin").sdk.compute
    assert {one.id for one in admin.servers(all_projects=True)} == {foreign.id, own.id}

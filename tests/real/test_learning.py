"""What a node's ad teaches of the next one, on a real pool: busy nodes, and nodes that do not tell."""

from __future__ import annotations

from pathlib import Path

from lab.jobs import wait_until
from lab.stand import CHECKOUT, Finished
from tests.conftest import MakeStand

GPU = {"name": "gpu", "cpus": 4, "memory": "1 GB", "disk": "4 GB", "gpus": 2}
SMALL = {"name": "small", "cpus": 1, "memory": "512 MB", "disk": "1 GB"}


def write_template(folder: Path, *lines: str) -> str:
    """A template with these lines in place of START."""
    text, start = (CHECKOUT / "cloud-init" / "execute.yaml").read_text(), "      START = True\n"
    assert start in text
    path = folder / "node.yaml"
    path.write_text(text.replace(start, "".join(f"      {line}\n" for line in lines), 1))
    return str(path)


def reasons(done: Finished) -> list[str]:
    """The reason codes of what was done."""
    return [action["reason"]["code"] for action in done.data["actions"]]


def test_a_node_whose_gpus_and_licenses_are_all_taken_teaches_that_the_next_one_has_them(
    make_stand: MakeStand, folder: Path
) -> None:
    template = write_template(
        folder,
        "START = True",
        "MACHINE_RESOURCE_Licenses = 3",
        *(f'GPUs_GPU_{number} = [ Capability = 8.0; Id = "GPU-{number}" ]' for number in (0, 1)),
        "STARTD_ATTRS = GPUs_GPU_0 GPUs_GPU_1",
    )
    stand = make_stand(flavors=(GPU,), cloud={"template": template}, scaling={"idle_timeout": 600})
    stand.pool.submit(gpus=2, seconds=3600, extra={"request_licenses": "3"})
    wait_until(lambda: stand.reconcile().code == 0 and stand.joined() == 1, 40, "the first node to join")
    taken = "PartitionableSlot && GPUs == 0 && Licenses == 0"
    wait_until(lambda: len(stand.pool.machines(["Name"], taken)) == 1, 40, "all that it has to be taken")
    (slot,) = stand.pool.machines(["AvailableGPUs", "AssignedGPUs", "TotalSlotLicenses"], taken)
    assert slot["AssignedGPUs"].split(",") == ["GPU-0", "GPU-1"], "of a partitionable slot it tells all"
    sure = stand.pool.submit(gpus=1, extra={"require_gpus": "Capability >= 7.5"})
    assert reasons(stand.reconcile_until("create")) == ["demand"], "not only tried out"
    stand.pool.run_checked("condor_rm", str(sure), user="alice")  # the lab's GPUs are names: no startd gives one out
    stand.pool.submit(extra={"request_licenses": "3"})
    done = stand.reconcile()
    assert reasons(done) == []
    wait_until(lambda: len(stand.pool.queue()) == 1, 60, "it to have run on the new node")


def test_a_node_that_does_not_tell_is_not_followed_by_others(make_stand: MakeStand, folder: Path) -> None:
    template = write_template(folder, "START = IsHealthy is True", "STARTD_ATTRS = START")
    stand = make_stand(flavors=(SMALL,), cloud={"template": template}, scaling={"idle_timeout": 600, "nodes_max": 5})
    stand.pool.submit()
    assert reasons(stand.reconcile()) == ["tried-out"]
    stand.wait_for_nodes(1)
    for _ in range(3):
        done = stand.reconcile()
        assert reasons(done) == []
        assert "not-told" in done.held()

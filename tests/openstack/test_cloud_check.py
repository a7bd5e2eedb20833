"""`ehoslite cloud check` against two real OpenStack clouds: each mistake has its line, and the others keep theirs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ehoslite import cli
from ehoslite.clouds.check import check
from ehoslite.config import load
from lab.openstack import Fault, OpenStackLab
from lab.openstack_stand import cloud_options

Run = Callable[..., "Checked"]

PIECES = ["login", "clock", "servers' tags", "image", "flavor m1.small", "flavor m1.medium", "flavor c4.large"]
PIECES += ["network internal", "security group condor", "port 9618", "keypair lab", "quota", "user data"]


class Checked:
    """What one `cloud check --json` gave."""

    def __init__(self, code: int, out: str) -> None:
        self.code = code
        self.out = out
        self.findings: list[dict[str, Any]] = json.loads(out)["findings"]

    def faults(self) -> dict[str, str]:
        """The faults' lines by check."""
        return {one["check"]: one["text"] for one in self.findings if not one["ok"]}

    def text(self, name: str) -> str:
        """The line of one check."""
        return str(next(one["text"] for one in self.findings if one["check"] == name))

    def checks(self, cloud: str) -> list[str]:
        """The checks of one cloud, in order."""
        return [one["check"] for one in self.findings if one["cloud"] == cloud]


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """The command starts the log of the whole process."""
    log = logging.getLogger("ehoslite")
    before = (log.handlers[:], log.propagate, log.level)
    yield
    log.handlers[:], log.propagate = before[:2]
    log.setLevel(before[2])


@pytest.fixture
def write(folder: Path) -> Callable[..., Path]:
    """Writes a configuration of these clouds; `options` by cloud."""

    def write_file(*labs: OpenStackLab, **options: dict[str, Any]) -> Path:
        clouds = {lab.name: {**cloud_options(lab), **options.get(lab.name, {})} for lab in labs}
        path = folder / "ehos.yaml"
        path.touch(0o600)
        path.write_text(yaml.safe_dump({"pool": "lab", "clouds": clouds, "record": {"path": "state.json"}}))
        return path

    return write_file


@pytest.fixture
def run(write: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Run:
    """Writes the configuration and checks it with --json."""

    def run_check(*labs: OpenStackLab, names: tuple[str, ...] = (), **options: dict[str, Any]) -> Checked:
        path = write(*labs, **options)
        code = cli.main(["cloud", "check", "--json", "-c", str(path), *names])
        return Checked(code, capsys.readouterr().out)

    return run_check


def test_all_is_well_and_nothing_is_changed(run: Run, alpha: OpenStackLab) -> None:
    alpha.forget_calls()
    done = run(alpha)
    assert (done.code, done.faults(), done.checks("alpha")) == (0, {}, PIECES)
    assert done.text("login") == "entry alpha of clouds.yaml: accepted as alpha, project alpha"
    assert done.text("flavor m1.medium") == "2 cores, 4096 MB memory, 20 GB disk"
    assert done.text("port 9618") == "TCP from anywhere; UDP from anywhere"
    assert done.text("quota").endswith("room for 100 m1.small, 100 m1.medium or 100 c4.large")
    asked = {(call.method, call.path) for call in alpha.calls()}
    assert {path for method, path in asked if method != "GET"} == {"/v3/auth/tokens"}


def test_lines_for_a_person(
    write: Callable[..., Path], alpha: OpenStackLab, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(alpha, alpha={"keypair": "nobody's"})
    assert cli.main(["cloud", "check", "-c", str(path), "alpha"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok  alpha: login: entry alpha of clouds.yaml: accepted as alpha, project alpha"
    assert [line[:29] for line in lines if not line.startswith("ok ")] == ["FIX alpha: keypair nobody's: ", "1 to fix"]


@pytest.mark.parametrize(
    ("options", "name", "said"),
    [
        ({"image": "debian-21"}, "image", "there is no image 'debian-21'; did you mean debian-12?"),
        (
            {"image": "worker-2026"},
            "image",
            "2 names begin so (worker-2026-02, worker-2026-01): give one, or image_newes",
        ),
        ({"image": "solaris", "image_newest": True}, "image", "no active image has a name that begins with 'solaris'"),
        ({"flavors": ["m1.small", "m1.smal"]}, "flavor m1.smal", "there is no flavor 'm1.smal'; did you mean m1.small"),
        ({"flavors": ["x1.none"]}, "flavor x1.none", "out of reach: the quota is 400 cores in all"),
        ({"flavors": ["m1.tiny"], "disk_reserved": 3072}, "flavor m1.tiny", "leaves nothing of its disk: no job fits"),
        ({"networks": ["intern"]}, "network intern", "there is no network 'intern'; did you mean internal?"),
        ({"floating_ip": "internal"}, "floating IPs of internal", "is no external network"),
        ({"security_groups": ["condor-tcp-only"]}, "port 9618", "closed for UDP: `openstack security group rule cre"),
        ({"security_groups": []}, "port 9618", "closed for TCP and UDP: `"),
        (
            {"security_groups": ["condor", "gone"]},
            "security group gone",
            "there is no security group 'gone'; known: co",
        ),
        ({"keypair": "labs"}, "keypair labs", "has no keypair 'labs' (it sees its own alone); did you mean lab?"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_mistake_has_its_line(
    run: Run, alpha: OpenStackLab, options: dict[str, Any], name: str, said: str
) -> None:
    done = run(alpha, alpha=options)
    assert done.code == 1
    assert said in done.faults()[name]
    assert done.checks("alpha")[-1] == "user data", "what follows a fault is checked too"


def test_all_mistakes_at_once_have_their_lines(run: Run, alpha: OpenStackLab) -> None:
    wrong = {"image": "a", "flavors": ["b"], "networks": ["c"], "security_groups": ["d"], "keypair": "e"}
    done = run(alpha, alpha=wrong)
    assert set(done.faults()) == {"image", "flavor b", "network c", "security group d", "port 9618", "keypair e"}
    assert done.text("quota").startswith("100 servers, 400 cores, 1000000 MB memory left")


def test_security_groups_count_together(run: Run, alpha: OpenStackLab) -> None:
    """The first lets UDP in, the second does not."""
    assert run(alpha, alpha={"security_groups": ["condor", "condor-tcp-only"]}).faults() == {}


def test_the_newest_image_of_a_prefix(run: Run, alpha: OpenStackLab) -> None:
    done = run(alpha, alpha={"image": "worker-2026", "image_newest": True})
    assert done.code == 0
    assert done.text("image").startswith("worker-2026-02 (")
    assert done.text("image").endswith("), the newest, active")


def test_an_image_that_is_not_uploaded_yet(run: Run, alpha: OpenStackLab) -> None:
    body = {"name": "unready", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    with made_by_admin(alpha, "glance", "/v2/images", body):
        assert "it is there, but queued" in run(alpha, alpha={"image": "unready"}).faults()["image"]


def test_no_network_is_configured(run: Run, alpha: OpenStackLab) -> None:
    """One network is what Nova takes by itself; of two it takes none."""
    assert run(alpha, alpha={"networks": []}).text("network") == "internal, the only one"
    (project,) = alpha.call_as_admin("GET", "keystone", f"/projects?name={alpha.project_name}")["projects"]
    body = {"network": {"name": "second", "project_id": project["id"]}}
    with made_by_admin(alpha, "neutron", "/v2.0/networks", body):
        done = run(alpha, alpha={"networks": []})
        assert done.code == 1
        assert 'Nova will refuse ("multiple possible networks")' in done.faults()["network"]
        without_subnet = run(alpha, alpha={"networks": ["second"]}).faults()
        assert "without a subnet" in without_subnet["network second"]


@contextmanager
def made_by_admin(lab: OpenStackLab, service: str, path: str, body: dict[str, Any]) -> Iterator[None]:
    made = lab.call_as_admin("POST", service, path, body)
    try:
        yield
    finally:
        key = made["id"] if "id" in made else next(iter(made.values()))["id"]
        lab.call_as_admin("DELETE", service, f"{path}/{key}")


def test_no_quota(run: Run, alpha: OpenStackLab) -> None:
    alpha.set_quota(instances=0)
    done = run(alpha)
    assert done.code == 1
    assert list(done.faults()) == ["quota"]
    assert "0 servers" in done.text("quota")
    assert done.text("quota").endswith("raise the quota of instances, or remove what uses it up")


def test_volumes_are_counted_or_missing(run: Run, alpha: OpenStackLab, beta: OpenStackLab) -> None:
    """Alpha has Cinder, beta has not."""
    done = run(alpha, beta, alpha={"scratch_size": 300}, beta={"scratch_size": 300})
    counted, whole = (one["text"] for one in done.findings if one["check"] == "quota")
    assert "(servers by the quota of " in counted
    assert whole.startswith("100 servers")
    assert list(done.faults()) == ["volumes"]
    assert "need Cinder, which this cloud does not offer" in done.faults()["volumes"]


def test_user_data_that_is_too_long(run: Run, alpha: OpenStackLab, folder: Path) -> None:
    template = folder / "large.yaml"
    template.write_text("#cloud-config\nwrite_files:\n- path: /root/large\n  content: " + "x" * 60_000 + "\n")
    faults = run(alpha, alpha={"template": str(template)}).faults()
    assert list(faults) == ["user data"]
    assert "of 65535 characters in base64; Nova refuses more" in faults["user data"]


def test_an_old_nova_gets_metadata(run: Run, alpha: OpenStackLab) -> None:
    done = run(alpha, alpha={"max_microversion": "2.51"})
    assert done.code == 0
    assert done.text("servers' tags") == "Nova is spoken to in 2.51; none before 2.52: by metadata"


def test_a_wrong_password_ends_the_check_and_is_not_shown(run: Run, alpha: OpenStackLab) -> None:
    login = {"auth_url": alpha.auth_url, "username": "alpha", "password": "not-the-password", "project_name": "alpha"}
    done = run(alpha, alpha={**login, "cloud": ""})
    assert (done.code, done.checks("alpha")) == (1, ["login"])
    assert "the login is refused" in done.text("login")
    assert "check user, password" in done.text("login")
    assert "not-the-password" not in done.out


def test_an_entry_that_is_not_in_clouds_yaml(run: Run, alpha: OpenStackLab) -> None:
    done = run(alpha, alpha={"cloud": "omega"})
    assert (done.code, done.checks("alpha")) == (1, ["login"])
    assert "Cloud omega was not found; `cloud` names the entry of clouds.yaml" in done.text("login")


def test_one_clouds_trouble_is_not_the_others(run: Run, alpha: OpenStackLab, beta: OpenStackLab) -> None:
    alpha.faults.refuse("keystone")
    done = run(alpha, beta)
    assert (done.code, done.checks("alpha"), done.checks("beta")) == (1, ["login"], PIECES)
    assert "not reached" in done.faults()["login"]
    assert "check the address (auth_url)" in done.faults()["login"]
    assert run(alpha, beta, names=("beta",)).code == 0


def test_one_services_trouble_is_not_the_others(run: Run, alpha: OpenStackLab) -> None:
    alpha.faults.add(Fault("status", service="neutron", status=500))
    alpha.faults.add(Fault("truncate", service="glance", path="/v2/images"))
    done = run(alpha)
    assert set(done.faults()) == {"image", "network internal", "security group condor", "port 9618"}
    assert "status 500" in done.faults()["network internal"]


def test_a_clock_that_is_off(write: Callable[..., Path], alpha: OpenStackLab) -> None:
    settings = load(write(alpha))
    found = {one.check: one for one in check(settings, [], lambda: time.time() + 90)}
    assert [name for name, one in found.items() if not one.ok] == ["clock"]
    assert "s behind ours: tokens and Retry-After suffer" in found["clock"].text

"""The script of our template that lets a node end itself, run by this machine's own shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from ehoslite.cloudinit import NODE_TAGS, read_template, user_data
from lab.jobs import wait_until

EXECUTE = Path(__file__).resolve().parents[2] / "cloud-init" / "execute.yaml"
SCRIPT = "/usr/local/libexec/ehoslite-lease"
# A condor_status that notes that it is asked, and waits until the test lets it go on.
GATE = """\
echo >> "$EHOSLITE_ROOT/looks"
until mv "$EHOSLITE_ROOT/go" "$EHOSLITE_ROOT/gone" 2> /dev/null; do sleep 0.05; done
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A node's file system: the script with a lease of 2 s, and a poweroff that leaves a mark."""
    write_script(tmp_path, 2)
    write(tmp_path / "sbin/poweroff", '#!/bin/sh\ntouch "$EHOSLITE_ROOT/off"\n')
    (tmp_path / "run").mkdir()
    return tmp_path


def write_script(root: Path, lease: int) -> None:
    values = {**dict.fromkeys(NODE_TAGS, "x"), "pool": "demo", "lease": str(lease)}
    filled = yaml.safe_load(user_data(read_template(EXECUTE), values, EXECUTE))
    (content,) = [entry["content"] for entry in filled["write_files"] if entry["path"] == SCRIPT]
    write(root / SCRIPT.lstrip("/"), content)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    """The script as a child of this very process, as it is one of the master or the startd."""
    command = [str(root / SCRIPT.lstrip("/")), *arguments]
    environment = {**os.environ, "EHOSLITE_ROOT": str(root)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)


@contextmanager
def sibling(root: Path, name: str) -> Iterator[None]:
    """A further child of this process, of this name."""
    program = shutil.copy("/bin/sleep", root / name)
    with subprocess.Popen([program, "60"]) as child:
        yield
        child.kill()


@contextmanager
def startd_with_job(root: Path) -> Iterator[None]:
    """A further child of this process, which is called condor_startd and has a child called condor_starter."""
    startd, starter = shutil.copy("/bin/sh", root / "condor_startd"), shutil.copy("/bin/sleep", root / "condor_starter")
    with subprocess.Popen([startd, "-c", f"{starter} 60 & wait"], start_new_session=True) as child:
        yield
        os.killpg(child.pid, 9)


@contextmanager
def watching(root: Path, says: str, more: str = "") -> Iterator[Path]:
    """The script watching, with a condor_status that says this, and does more; gives the file with its word."""
    says = f'echo "$@" > "$EHOSLITE_ROOT/asked"\necho "{says}"\n'
    status = write(root / "condor_status", f"#!/bin/sh\n{more}{says}")
    watch = start(root, "watch", str(status))
    try:
        yield root / "run/ehoslite-lease"
    finally:
        os.killpg(watch.pid, 9)
        watch.communicate()


def word(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def tell(root: Path) -> str:
    return start(root, "tell").communicate(timeout=60)[0]


def test_tell_says_that_the_lease_is_over_only_when_no_job_runs(root: Path) -> None:
    held, over = "EhosLeaseOver = False\n-\n", "EhosLeaseOver = True\n-\n"
    assert tell(root) == held, "nobody has said anything yet"
    (root / "run/ehoslite-lease").write_text("held\n")
    assert tell(root) == held
    (root / "run/ehoslite-lease").write_text("over\n")
    assert tell(root) == over
    with sibling(root, "condor_starter"):
        assert tell(root) == held
    assert tell(root) == over


def test_watch_powers_off_when_nobody_renews_and_no_startd_runs(root: Path) -> None:
    with watching(root, "") as path:
        wait_until(lambda: word(path) == "held", 10, "the first word")
        assert not (root / "off").exists(), "a node counts from its start"
        wait_until((root / "off").exists, 20, "the machine to be off")
        assert word(path) == "over"
    asked = (root / "asked").read_text()
    assert 'EhosLease =?= "demo" && time() - LastHeardFrom <= 0' in asked


def test_watch_waits_for_the_startd_to_end_itself(root: Path) -> None:
    with sibling(root, "condor_startd"), watching(root, "") as path:
        wait_until(lambda: word(path) == "over", 20, "the lease to be over")
        assert not (root / "off").exists()


def test_watch_powers_nothing_off_when_a_startd_with_a_job_crashes(root: Path) -> None:
    """It comes back before the second look without it; one that stays away longer had its time."""
    with watching(root, "", GATE) as path:

        def look() -> None:
            """One whole look: the next one has begun to ask."""
            before = len((root / "looks").read_text())
            (root / "go").touch()
            wait_until(lambda: len((root / "looks").read_text()) > before, 20, "the next look")

        def is_over() -> bool:
            look()
            return word(path) == "over"

        with startd_with_job(root):
            wait_until((root / "looks").exists, 20, "the first look")
            wait_until(is_over, 60, "the lease to be over")
            look()
        look()
        with sibling(root, "condor_startd"):
            look()
        assert not (root / "off").exists()
        (root / "go").touch()
        wait_until((root / "off").exists, 20, "the machine to be off")


def test_watch_goes_on_while_somebody_renews(root: Path) -> None:
    with sibling(root, "condor_startd"), watching(root, "") as path:
        wait_until(lambda: word(path) == "over", 20, "the lease to be over")
        write(root / "condor_status", "#!/bin/sh\necho demo\n")
        wait_until(lambda: word(path) == "held", 20, "the lease to be held again")


def test_watch_counts_from_the_last_renewal(root: Path) -> None:
    """A node that has been up for longer than the lease does not give up at the first question in vain."""
    write_script(root, 12)
    with sibling(root, "condor_startd"), watching(root, "demo") as path:
        started = time.monotonic()
        wait_until(lambda: time.monotonic() - started > 10, 11, "more time than an unrenewed lease leaves")
        write(root / "condor_status", '#!/bin/sh\ntouch "$EHOSLITE_ROOT/in-vain"\n')
        wait_until((root / "in-vain").exists, 10, "a question in vain")
        assert word(path) == "held"
        wait_until(lambda: word(path) == "over", 20, "the lease to be over")

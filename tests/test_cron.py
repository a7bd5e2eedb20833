"""What starts a pass every minute: units, judged by systemd-analyze, and a crontab, fired by a real cron."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import ehoslite
import lab
from ehoslite.deadline import GRACE
from ehoslite.settings import Settings
from lab import read_file, read_parents
from lab.cron_daemon import CronDaemon, find_or_download
from lab.jobs import wait_until
from lab.pool import NOBODY, temporary_directory
from lab.release import LabError

CRON = Path(__file__).resolve().parent.parent / "cron"
PROGRAM = "/usr/local/bin/reconcile"
CRONTAB = (CRON / "crontab").read_text()
SERVICE = CRON / "ehoslite.service"
TIMER = CRON / "ehoslite.timer"
# What units of the system wait for by default, and ours by name.
TARGETS = ("basic", "network-online", "shutdown", "sysinit", "timers")
# cron fires at full minutes: the first within 60 s, the second 60 s later, and a little for a busy machine.
ONE_PASS, TWO_PASSES = 70, 130

systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian: package systemd)"
)


def read_unit(path: Path) -> dict[str, list[str]]:
    """Return the values of each directive, in their order."""
    values: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            values.setdefault(name, []).append(value)
    return values


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root folder in which the shipped units are installed as their comments say, with a program to start."""
    units = tmp_path / "etc/systemd/system"
    targets = tmp_path / "usr/lib/systemd/system"
    program = tmp_path / PROGRAM.lstrip("/")
    for folder in (units, targets, program.parent):
        folder.mkdir(parents=True)
    shutil.copy(SERVICE, units)
    shutil.copy(TIMER, units)
    for name in TARGETS:
        (targets / f"{name}.target").write_text("[Unit]\n")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return tmp_path


@systemd
def test_systemd_finds_no_fault_in_the_units(installed: Path) -> None:
    verified = analyze("verify", f"--root={installed}", SERVICE.name, TIMER.name)
    assert (verified.returncode, verified.stdout) == (0, "")


@systemd
def test_systemd_rates_the_service_well_locked_in() -> None:
    said = analyze("security", "--offline=true", str(SERVICE)).stdout
    rating = re.search(r"Overall exposure level for ehoslite\.service: ([\d.]+)", said)
    assert rating, said
    assert float(rating[1]) <= 2.0, said


@systemd
def test_sysusers_line_makes_the_user_of_the_service(tmp_path: Path) -> None:
    (line,) = re.findall(r"^#   (u .*)$", SERVICE.read_text(), re.MULTILINE)
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", "-"], input=line, text=True, check=True, timeout=60)
    name, _, uid, gid, _, home, _ = (tmp_path / "etc/passwd").read_text().strip().split(":")
    service = read_unit(SERVICE)
    assert service["User"] == service["Group"] == [name]
    assert f"{name}:x:{gid}:" in (tmp_path / "etc/group").read_text()
    assert home == f"/var/lib/{service['StateDirectory'][0]}"
    assert 0 < int(uid) < 1000


def test_service_runs_one_pass_and_takes_try_again_later_for_success() -> None:
    service = read_unit(SERVICE)
    assert service["Type"] == ["oneshot"]
    assert service["ExecStart"] == [f"{PROGRAM} -v"]
    assert service["SuccessExitStatus"] == ["75"]
    assert service["Restart"] == ["no"]
    assert service["StateDirectoryMode"] == ["0700"]
    assert service["UMask"] == ["0077"]


def test_service_lets_a_pass_end_itself_first() -> None:
    default = next(field.default for field in dataclasses.fields(Settings) if field.name == "deadline")
    (limit,) = read_unit(SERVICE)["TimeoutStartSec"]
    assert isinstance(default, int | float)
    assert default + GRACE < float(limit.removesuffix("s")) < 2 * 60


def test_service_leaves_htcondor_the_sockets_that_it_cannot_do_without() -> None:
    # Measured with htcondor 25.14.1: without AF_NETLINK a query ends the process when NETWORK_INTERFACE is unset.
    (families,) = read_unit(SERVICE)["RestrictAddressFamilies"]
    assert set(families.split()) == {"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"}


def test_timer_starts_the_service_every_minute() -> None:
    timer = read_unit(TIMER)
    assert TIMER.stem == SERVICE.stem
    assert "Unit" not in timer
    assert timer["OnBootSec"] == timer["OnUnitActiveSec"] == ["1min"]
    assert timer["AccuracySec"] == ["1s"]
    assert timer["WantedBy"] == ["timers.target"]
    assert not {"OnCalendar", "Persistent", "RandomizedDelaySec"} & timer.keys()


def test_crontab_starts_the_same_program_as_the_same_user_every_minute() -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", CRONTAB, re.MULTILINE))
    lines = [line for line in CRONTAB.splitlines() if line and not re.match(r"#|\w+=", line)]
    service = read_unit(SERVICE)
    assert [line.split(maxsplit=6) for line in lines] == [["*"] * 5 + service["User"] + [PROGRAM]]
    assert {"/usr/local/bin", "/usr/bin", "/usr/sbin"} <= set(settings["PATH"].split(":"))
    assert settings["MAILTO"] == "root"
    assert CRONTAB.endswith("\n")


def test_crontab_explains_every_line() -> None:
    lines = CRONTAB.splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith("#"):
            assert lines[number - 1].startswith("#"), line


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_directory() as path:
        yield path


def as_nobody() -> tuple[int, int] | None:
    """Return the account of the passes: nobody's if we can choose, to see that cron changes the user."""
    return (NOBODY, NOBODY) if os.geteuid() == 0 else None


def shell(script: str) -> list[str]:
    """Return a command that runs a script in the home of the crontab's user."""
    return ["/bin/sh", "-c", textwrap.dedent(script)]


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def find_processes(folder: Path) -> list[int]:
    """Return the living processes that are started from or at work in a folder."""
    trace = os.fsencode(folder)
    return [pid for pid in read_parents() if trace in read_file(pid, "cmdline") + read_file(pid, "environ")]


def test_cron_fires_the_shipped_line_each_minute_and_mails_only_what_is_wrong(folder: Path) -> None:
    command = shell("""
        echo "$(date +%s) $(id -u) $LOGNAME $PATH" >> passes
        test "$(wc -l < passes)" = 1 || { echo "the pool is silent" >&2; exit 75; }
    """)
    passes = folder / "home" / "passes"
    with CronDaemon(folder, CRONTAB, PROGRAM, command, as_nobody()) as cron:
        cron.wait_until(lambda: len(read_lines(passes)) >= 1, ONE_PASS, "the first pass")
        cron.wait_until(lambda: len(cron.mails()) >= 1, TWO_PASSES, "the mail of the second pass")
    fired = [line.split() for line in read_lines(passes)]
    path = re.findall(r"^PATH=(.*)$", CRONTAB, re.MULTILINE)
    uid = str((as_nobody() or (os.geteuid(),))[0])
    assert [rest for _, *rest in fired] == [[uid, "ehoslite", *path]] * 2
    assert int(fired[1][0]) // 60 - int(fired[0][0]) // 60 == 1
    (mail,) = cron.mails()
    head, _, body = mail.partition("\n\n")
    assert "\nTo: root\n" in head
    assert body == "the pool is silent\n"


def test_cron_stops_without_a_trace_and_spares_a_pass_that_ends_by_itself(folder: Path) -> None:
    command = shell("""
        echo begun >> "passes-$0"
        while test "$0" = hanging; do trap "" TERM HUP; sleep 1; done
        sleep 2; echo ended >> "passes-$0"
    """)
    crontab = CRONTAB.replace(PROGRAM, f"{PROGRAM} ending") + f"* * * * * ehoslite {PROGRAM} hanging\n"
    ending, hanging = (folder / "home" / f"passes-{name}" for name in ("ending", "hanging"))
    host = [Path(name) for name in ("/etc/cron.d", "/run", "/var/spool", "/usr/sbin")]
    before = [sorted(path.iterdir()) for path in host]
    cron = CronDaemon(folder, crontab, PROGRAM, command)
    cron.start()
    try:
        cron.wait_until(lambda: bool(read_lines(ending) and read_lines(hanging)), ONE_PASS, "two passes")
    finally:
        cron.stop(patience=10)
    assert read_lines(ending) == ["begun", "ended"]
    assert read_lines(hanging) == ["begun"]
    assert find_processes(folder) == []
    assert str(folder) not in Path("/proc/mounts").read_text()
    assert [sorted(path.iterdir()) for path in host] == before


def test_cron_that_dies_is_reported_at_once(folder: Path) -> None:
    with CronDaemon(folder, CRONTAB, PROGRAM, ["true"]) as cron:
        os.kill(cron.pid, signal.SIGKILL)
        with pytest.raises(LabError, match="cron ended while waiting for a pass"):
            cron.wait_until(lambda: False, ONE_PASS, "a pass")


def test_cron_ends_with_the_process_that_started_it(folder: Path) -> None:
    script = """
        import os, sys
        from pathlib import Path
        from lab.cron_daemon import CronDaemon
        CronDaemon(Path(sys.argv[1]), sys.argv[2], sys.argv[3], ["true"]).start()
        os._exit(0)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder), CRONTAB, PROGRAM]
    subprocess.run(command, cwd=CRON.parent, check=True, timeout=60)
    wait_until(lambda: find_processes(folder) == [], 10, "cron to end")


def test_cron_that_cannot_start_says_why(folder: Path) -> None:
    with pytest.raises(LabError, match=r"cron to start: cannot start .*/nothing in a .*No such file"):
        CronDaemon(folder, CRONTAB, PROGRAM, ["true"], cron=folder / "nothing").start()


def test_crontab_without_the_program_is_refused(folder: Path) -> None:
    with pytest.raises(LabError, match="does not name /opt/reconcile"):
        CronDaemon(folder, CRONTAB, "/opt/reconcile", ["true"])


@pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user every other test shows it")
def test_ordinary_user_runs_cron(folder: Path) -> None:
    interpreter = next((path for path in (sys.executable, "/usr/bin/python3") if stranger_runs(path)), None)
    if not interpreter:
        pytest.skip("no Python 3.11 that an account without rights can run")
    for package in (ehoslite, lab):
        shutil.copytree(Path(package.__file__ or "").parent, folder / "code" / package.__name__)
    own = folder / "own"
    own.mkdir()
    os.chown(own, 12345, 12345)
    script = """
        import sys
        from pathlib import Path
        from lab.cron_daemon import CronDaemon
        folder, crontab, program, cron = sys.argv[1:]
        passes = Path(folder, "home", "passes")
        command = ["/bin/sh", "-c", "id -u; id -u > passes.new; mv passes.new passes"]
        with CronDaemon(Path(folder), Path(crontab).read_text(), program, command, cron=Path(cron)) as daemon:
            daemon.wait_until(lambda: passes.exists() and daemon.mails(), 70, "a pass")
        print(passes.read_text(), passes.stat().st_uid, daemon.mails()[0].endswith("12345\\n"))
    """
    (folder / "crontab").write_text(CRONTAB)
    cron = shutil.copy(find_or_download(), folder / "cron")
    said = subprocess.run(
        [interpreter, "-c", textwrap.dedent(script), own, folder / "crontab", PROGRAM, cron],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "code"), "HOME": str(own)},
        cwd=own,
        user=12345,
        group=12345,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.stdout.split() == ["12345", "12345", "True"], said.stderr
    assert find_processes(folder) == []


def stranger_runs(interpreter: str) -> bool:
    """Tell whether an interpreter is new enough, and not in a folder that is closed to other accounts."""
    command = [interpreter, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        return subprocess.run(command, user=12345, group=12345, extra_groups=[], cwd="/", check=False).returncode == 0
    except PermissionError:
        return False

"""A real cron daemon that fires one /etc/cron.d file, on a machine that stays as it is, for root and ordinary users.

It is Debian's cron in a mount namespace of its own, where it finds that file alone, its account, its lock and a
mail program which keeps what cron sends. Time, processes and network are the machine's.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from lab import read_file, read_parents, send_signal
from lab.jobs import wait_until
from lab.release import (
    COMPLETE_MARK,
    KEYRING,
    LabError,
    complete_text,
    default_cache,
    find_mirror,
    is_complete,
    lock_folder,
    run_checked,
    unpack,
    write_apt_settings,
)

# The user in cron/crontab, which exists in the namespace only.
USER = "ehoslite"
# A pass ends itself within 65 s (deadline and grace), so a longer one hangs.
PATIENCE = 70.0
START_SECONDS = 30.0
# Where something must be put that the host may not have, not even as an empty file to mount over.
AMENDED = ("/etc", "/run", "/usr/sbin", "/var/spool")
PAM_RULES = "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session"))
# From linux/prctl.h, seccomp.h, filter.h and audit.h; by machine: the audit architecture and the number of setgroups.
PR_SET_PDEATHSIG, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 22, 2
LOAD_WORD, SKIP_UNLESS_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, SUCCEED_UNDONE = 0x7FFF0000, 0x00050000
SETGROUPS = {"x86_64": (0xC000003E, 116), "aarch64": (0xC00000B7, 159)}


def find_or_download(cache: Path | None = None) -> Path:
    """Return the machine's cron program, or a private copy of Debian's (70 kB), kept in `cache` (default_cache()).

    Raises LabError.
    """
    installed = shutil.which("cron", path=f"/usr/sbin:{os.environ.get('PATH', os.defpath)}")
    if installed:
        return Path(installed)
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    tree = (cache or default_cache()).absolute() / "cron" / f"{suite}-{platform.machine()}"
    with lock_folder(tree):
        if not is_complete(tree):
            _download(tree, suite)
    return tree / "usr/sbin/cron"


def _download(tree: Path, suite: str) -> None:
    """Fill `tree` with the machine's own release of the package: it uses the host's libraries."""
    shutil.rmtree(tree, ignore_errors=True)
    downloads = tree / ".apt"
    settings = write_apt_settings(downloads)
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    (downloads / "sources.list").write_text(f"deb {signed}{find_mirror()} {suite} main\n")
    failure = f"cannot download Debian {suite}'s cron; check that `apt-get update` works, or install cron"
    apt = ["apt-get", "-c", str(settings), "-qq"]
    run_checked([*apt, "update", "--error-on=any"], failure)
    run_checked([*apt, "download", "cron"], failure, cwd=downloads)
    unpack(next(downloads.glob("cron_*.deb")), tree)
    shutil.rmtree(downloads)
    (tree / COMPLETE_MARK).write_text(complete_text(tree))


class CronDaemon:
    """A cron daemon that runs `command` where `crontab` names `program`; all other text of the file stays as it is.

    The crontab's user is `account` (user and group id): by default whoever runs this, and only root can choose. It
    must be able to enter `directory`, whose folder `home` becomes its home. Use it as a context manager, or call
    start() and stop(). Raises LabError.
    """

    def __init__(
        self,
        directory: Path,
        crontab: str,
        program: str,
        command: Sequence[str],
        account: tuple[int, int] | None = None,
        cron: Path | None = None,
    ) -> None:
        """Write nothing yet; `cron` is the daemon's program (default: find_or_download())."""
        if program not in crontab:
            raise LabError(f"the crontab does not name {program}; it must be the program of its line")
        self.directory = directory.absolute()
        self.account = account or (os.geteuid(), os.getegid())
        if os.geteuid() != 0 and self.account != (os.geteuid(), os.getegid()):
            raise LabError(f"only root can run passes as user {self.account[0]}; leave the account out")
        self.command = self.directory / "command"
        self.crontab = crontab.replace(program, str(self.command))
        self.cron = cron
        self._script = f'#!/bin/sh\nexec {shlex.join([*self._own_name(), *command])} "$@"\n'
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The daemon's process id. Raises LabError before start() and after stop()."""
        if self._process is None:
            raise LabError("the cron daemon was not started; call start()")
        return self._process.pid

    def _own_name(self) -> list[str]:
        """Return what gives a pass its own user id back: in an ordinary user's namespace it would seem to be root."""
        uid, gid = self.account
        return [] if os.geteuid() == 0 else ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}", "--"]

    def start(self) -> None:
        """Start the daemon; it fires at the next full minute. It also ends when this process does."""
        cron = self.cron or find_or_download()
        self._write_files()
        space = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
        inside = "import sys; from lab.cron_daemon import enter; enter(*sys.argv[1:])"
        uid, gid = self.account if os.geteuid() == 0 else (0, 0)
        command = ["unshare", *space, sys.executable, "-c", inside, str(self.directory), str(cron), f"{uid}:{gid}"]
        code = str(Path(__file__).resolve().parent.parent)
        environment = {**os.environ, "PYTHONPATH": code, "EHOSLITE_LAB_CRON": str(self.directory)}
        with (self.directory / "cron.log").open("wb") as log:
            # A session of its own: what is typed at a terminal to end the tests must not reach the passes.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        try:
            self.wait_until(lambda: read_file(self.pid, "comm") == b"cron\n", START_SECONDS, "cron to start")
        except BaseException:
            self.stop()
            raise

    def _write_files(self) -> None:
        for name in ("cron.d", "home", "mail", "pam.d", "scratch", "spool/crontabs"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        for name in ("home", "mail"):
            os.chown(self.directory / name, *self.account)
        self.command.write_text(self._script)
        self.command.chmod(0o755)
        entry = self.directory / "cron.d" / "ehoslite"
        entry.write_text(self.crontab)
        entry.chmod(0o644)
        (self.directory / "pam.d" / "cron").write_text(PAM_RULES)
        sendmail = self.directory / "sendmail"
        # Renamed when whole, so that nobody reads half a mail.
        sendmail.write_text(f"#!/bin/sh\ncd {shlex.quote(str(self.directory / 'mail'))} && cat > .$$ && mv .$$ $$\n")
        sendmail.chmod(0o755)

    def stop(self, patience: float = PATIENCE) -> None:
        """End the daemon, then let passes under way end by themselves, for `patience` seconds; kill what does not."""
        if self._process is None:
            return
        # Halted first, so that no pass begins between the look and the end.
        send_signal(self.pid, signal.SIGSTOP)
        passes = {pid for pid, parent in read_parents().items() if parent == self.pid}
        self._process.kill()
        self._process.wait()
        self._process = None
        try:
            wait_until(lambda: passes.isdisjoint(read_parents()), patience, "the passes under way to end")
        except LabError:
            family = _halt(passes)
            for pid in family:
                send_signal(pid, signal.SIGKILL)
            wait_until(lambda: family.isdisjoint(read_parents()), START_SECONDS, "the killed passes to end")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait as lab.jobs.wait_until does; raises LabError at once, with cron's own words, if the daemon has ended."""

        def holds() -> bool:
            if self._process is None or self._process.poll() is not None:
                said = (self.directory / "cron.log").read_text(errors="replace").strip()[-1500:]
                raise LabError(f"cron ended while waiting for {what}: {said or 'it said nothing'}")
            return condition()

        wait_until(holds, seconds, what)

    def mails(self) -> list[str]:
        """Return the mails that cron sent, head and body, oldest first."""
        found = (path for path in (self.directory / "mail").iterdir() if not path.name.startswith("."))
        return [path.read_text() for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]


def _halt(pids: set[int]) -> set[int]:
    """Halt these processes and their descendants, those too that they start meanwhile; gives all of them."""
    family: set[int] = set()
    while more := _with_descendants(pids) - family:
        for pid in more:
            send_signal(pid, signal.SIGSTOP)
        family |= more
    return family


def _with_descendants(pids: set[int]) -> set[int]:
    parents = read_parents()
    family = pids & parents.keys()
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def enter(directory: str, cron: str, account: str) -> None:
    """Inside the new namespace: put the files in place and become the cron daemon. Never returns unless it fails."""
    try:
        _furnish(Path(directory), account)
        _call_prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if Path("/proc/self/setgroups").read_text().strip() == "deny":
            _pass_over_setgroups()
        os.execv(cron, ["cron", "-f", "-L", "0"])  # noqa: S606  # there is no shell, nor a need for one
    except (LabError, OSError) as error:
        sys.exit(f"cannot start {cron} in a namespace of its own: {error}")


def _furnish(directory: Path, account: str) -> None:
    scratch = directory / "scratch"
    _mount("-t", "tmpfs", "tmpfs", str(scratch))
    for number, lower in enumerate(AMENDED):
        upper, work = scratch / f"{number}", scratch / f"{number}.work"
        upper.mkdir(mode=0o755)
        work.mkdir()
        _mount("-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", lower)
    others = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith(f"{USER}:")]
    accounts = scratch / "passwd"
    accounts.write_text("\n".join([*others, f"{USER}:x:{account}::{directory}/home:/usr/sbin/nologin", ""]))
    _place(accounts, Path("/etc/passwd"))
    _place(directory / "sendmail", Path("/usr/sbin/sendmail"))
    # The host's own jobs are not ours to fire.
    _place(Path("/dev/null"), Path("/etc/crontab"))
    for name, place in (("cron.d", "/etc/cron.d"), ("pam.d", "/etc/pam.d"), ("spool", "/var/spool/cron")):
        _place(directory / name, Path(place))


def _place(source: Path, target: Path) -> None:
    """Make `source` appear at `target`, which is made if the host has none."""
    if source.is_dir():
        target.mkdir(exist_ok=True)
    elif not target.exists():
        target.touch()
    _mount("--bind", str(source), str(target))


def _mount(*arguments: str) -> None:
    run_checked(["mount", *arguments], f"cannot mount {arguments[-1]}")


def _pass_over_setgroups() -> None:
    """Let setgroups succeed without effect: cron calls it before each job, and a user's namespace forbids it."""
    machine = platform.machine()
    if machine not in SETGROUPS:
        raise LabError(f"the lab's cron has no recipe for ordinary users of a {machine} machine; run it as root")
    architecture, number = SETGROUPS[machine]
    # A filter sees the call's number at byte 0 and the architecture at byte 4; a jump skips so many instructions.
    steps = [
        (LOAD_WORD, 0, 0, 4),
        (SKIP_UNLESS_EQUAL, 0, 3, architecture),
        (LOAD_WORD, 0, 0, 0),
        (SKIP_UNLESS_EQUAL, 0, 1, number),
        (RETURN, 0, 0, SUCCEED_UNDONE),
        (RETURN, 0, 0, ALLOW),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(program)))
    _call_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(header))


def _call_prctl(option: int, *values: int) -> None:
    arguments = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")

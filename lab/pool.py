"""Run a real HTCondor central manager, with one or more schedds, on this machine's loopback address."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

from lab import read_environment, read_file, read_parents, send_signal, write_secret
from lab.jobs import PoolTools, wait_until
from lab.release import LabError, Release

# The account that daemons run as when the lab is started by root: Linux's nobody.
NOBODY = 65534
# Below the ports that Linux gives to outgoing connections, so that only another lab can be there first.
PORTS = range(20000, 30000)
PORT_TRIES = 5
START_SECONDS = 60.0
STOP_SECONDS = 20.0
# In the environment of every process of a pool, so that stop() finds even those that lost their parent.
MARK = "EHOSLITE_LAB_POOL"
CLIENT_RIGHTS: dict[str, tuple[str, ...]] = {
    "scaler": (),  # no list: all that the ALLOW_ lines give
    "alice": ("READ", "WRITE"),
    "bob": ("READ", "WRITE"),
    "reader": ("READ",),
    "stranger": (),
}
FOLDERS = ("log", "spool", "execute", "run", "lock", "keys", "tokens.d")

NETWORK = """\
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
NO_DNS = True
DEFAULT_DOMAIN_NAME = lab.test
COLLECTOR_HOST = 127.0.0.1:{port}
UID_DOMAIN = {domain}
TRUST_DOMAIN = {domain}
SEC_CLIENT_AUTHENTICATION = REQUIRED
SEC_CLIENT_AUTHENTICATION_METHODS = IDTOKENS
SEC_CLIENT_ENCRYPTION = REQUIRED
SEC_CLIENT_INTEGRITY = REQUIRED
LOCAL_DIR = {folder}
SEC_PASSWORD_DIRECTORY = $(LOCAL_DIR)/keys
SEC_TOKEN_POOL_SIGNING_KEY_FILE = $(LOCAL_DIR)/keys/POOL
SEC_TOKEN_DIRECTORY = $(LOCAL_DIR)/tokens.d
SEC_TOKEN_SYSTEM_DIRECTORY = $(LOCAL_DIR)/tokens.d
"""
CLIENT = """\
SCHEDD_HOST = {schedd}
LOG = $(LOCAL_DIR)
"""
MANAGER = """\
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
RUN = $(LOCAL_DIR)/run
LOCK = $(LOCAL_DIR)/lock
MASTER_NAME = manager
DAEMON_LIST = MASTER SHARED_PORT COLLECTOR NEGOTIATOR {schedds}
DC_DAEMON_LIST = + {schedds}
USE_SHARED_PORT = True
SHARED_PORT_PORT = {port}
USE_PROCD = False
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = IDTOKENS
SEC_DEFAULT_ENCRYPTION = REQUIRED
SEC_DEFAULT_INTEGRITY = REQUIRED
SEC_READ_AUTHENTICATION = REQUIRED
SEC_ENABLE_MATCH_PASSWORD_AUTHENTICATION = True
SEC_ENABLE_REMOTE_ADMINISTRATION = True
ALLOW_READ = {everyone}
ALLOW_WRITE = condor@{domain}, alice@{domain}, bob@{domain}
ALLOW_ADMINISTRATOR = condor@{domain}, scaler@{domain}
ALLOW_DAEMON = condor@{domain}
COLLECTOR.ALLOW_DAEMON = condor@{domain}, scaler@{domain}
ALLOW_NEGOTIATOR = condor@{domain}
ALLOW_CONFIG =
ALLOW_ADVERTISE_SCHEDD = condor@{domain}, scaler@{domain}
ALLOW_ADVERTISE_MASTER = condor@{domain}, scaler@{domain}, node-*@{domain}
ALLOW_ADVERTISE_STARTD = condor@{domain}, scaler@{domain}, node-*@{domain}
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_CYCLE_DELAY = 1
NEGOTIATOR_MIN_INTERVAL = 1
SCHEDD_INTERVAL = 5
SCHEDD_MIN_INTERVAL = 1
MASTER_BACKOFF_CONSTANT = 1
MASTER_BACKOFF_CEILING = 2
MASTER_NEW_BINARY_DELAY = 3600
MAX_JOBS_RUNNING = 1000
SSH_TO_JOB_ENABLED = False
# A schedd reports its restarts by mail.
MAIL = /bin/true
"""
SCHEDD = """\
{key} = $(SBIN)/condor_schedd
{key}_ARGS = -local-name {key}
{key}.SCHEDD_NAME = {name}
{key}.SPOOL = {spool}
{key}.HISTORY = {spool}/history
{key}.SCHEDD_LOG = $(LOG)/{key}Log
{key}.SCHEDD_ADDRESS_FILE = {spool}/.schedd_address
{key}.SCHEDD_DAEMON_AD_FILE = {spool}/.schedd_classad
"""


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Give a new folder that the daemons' account can enter (pytest's tmp_path is closed to it) and then remove it."""
    with tempfile.TemporaryDirectory(prefix="ehoslite-lab-", ignore_cleanup_errors=True) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


class DaemonAccount(TypedDict, total=False):
    """The arguments of subprocess calls that drop root's rights."""

    user: int
    group: int
    extra_groups: list[int]


def daemon_account() -> DaemonAccount:
    """Return the arguments that start a process as the daemons' account; none for an ordinary user."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def give_to_daemons(path: Path) -> None:
    """Make the daemons' account the owner of a path; for an ordinary user it is that already."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)


class LabPool(PoolTools):
    """A central manager and its schedds in `directory`, and client folders for its users.

    Use it as a context manager, or call start() and stop(); stop() and start() again keep the address and the queue.
    `extra` is added to the daemons' configuration. Every method that fails raises LabError.
    """

    def __init__(
        self, directory: Path, release: Release, *, domain: str = "labpool", schedds: int = 1, extra: str = ""
    ) -> None:
        """Write nothing yet; `domain` is the pool's trust domain, `schedds` their number (schedd1@lab and so on)."""
        self.directory = directory.absolute()
        self.release = release
        self.domain = domain
        self.extra = extra
        self.schedd_names = [f"schedd{number}@lab" for number in range(1, schedds + 1)]
        self.manager = self.directory / "manager"
        self.jobs_directory = self.directory / "jobs"
        # The first one's is the manager's own: the shadows of all of them look there for the spool's version.
        self.spools = {
            f"SCHEDD{number}": self.manager / ("spool" if number == 1 else f"spool{number}")
            for number in range(1, schedds + 1)
        }
        self.port = 0
        self.starter = 0
        self.master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """The collector's address, as in 127.0.0.1:20000."""
        return f"127.0.0.1:{self.port}"

    @property
    def port_file(self) -> Path:
        """Where the daemon that holds the port tells the others of it."""
        return self.manager / "lock" / "shared_port_ad"

    @property
    def signing_key(self) -> Path:
        """The key that signs the pool's tokens, readable by the daemons' account only."""
        return self.manager / "keys" / "POOL"

    def key_copy_for_client(self) -> Path:
        """Return the copy of the signing key that belongs to the account of this process (condor_token_create)."""
        return self.directory / "clients" / "scaler" / "keys" / "POOL"

    def client(self, name: str) -> Path:
        """Return the CONDOR_CONFIG file of scaler, alice, bob, reader or stranger (whose token is not this pool's)."""
        if name not in CLIENT_RIGHTS:
            raise LabError(f"the lab pool has no client {name}; there are {', '.join(CLIENT_RIGHTS)}")
        return self.directory / "clients" / name / "condor_config"

    def node_settings(self) -> dict[str, str]:
        """Return the macros that a node needs to join this pool, besides a token for node-NAME@domain."""
        return {
            "COLLECTOR_HOST": self.address,
            "TRUST_DOMAIN": self.domain,
            "UID_DOMAIN": self.domain,
            "DEFAULT_DOMAIN_NAME": "lab.test",
        }

    def create_token(self, identity: str, *rights: str, seconds: int = 864000, user: str = "scaler") -> str:
        """Return a new token for `identity` (no domain: the pool's), limited to `rights` if any are given."""
        full = identity if "@" in identity else f"{identity}@{self.domain}"
        limits = [word for right in rights for word in ("-authz", right)]
        return self.run_checked(
            "condor_token_create", "-identity", full, "-lifetime", str(seconds), *limits, user=user
        ).strip()

    def start(self) -> None:
        """Start the daemons; return when the collector shows every schedd. The first start chooses the port."""
        if self.master is not None:
            raise LabError(f"the lab pool in {self.directory} runs already; stop it first")
        fresh = self.port == 0
        if fresh:
            self.make_folders()
        for left in reversed(range(PORT_TRIES if fresh else 1)):
            if fresh:
                self.port = choose_port()
                self.write_configuration()
                self.write_tokens()
            try:
                self.launch()
                return
            except LabError:
                lost_race = self.lost_port()
                # Nothing in a pool that never worked deserves the time of an orderly end.
                self.stop(patience=1)
                if not lost_race or not left:
                    raise

    def launch(self) -> None:
        """Start condor_master and wait for its daemons."""
        self.port_file.unlink(missing_ok=True)
        shutil.rmtree(self.manager / "log")
        self.make_daemon_folder(self.manager / "log")
        environment = {
            **self.release.environment(),
            "CONDOR_CONFIG": str(self.manager / "condor_config"),
            "HOME": str(self.manager),
            MARK: str(self.directory),
        }
        atexit.register(self.stop)
        self.starter = os.getpid()
        with (self.manager / "log" / "output").open("wb") as output:
            self.master = subprocess.Popen(
                [str(self.release.program("condor_master")), "-f"],
                env=environment,
                cwd=self.manager,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **daemon_account(),
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the collector shows every schedd; raises LabError with the ends of the logs."""
        try:
            wait_until(self.is_ready, START_SECONDS, f"the collector at {self.address} to show {self.schedd_names}")
        except LabError as error:
            raise LabError(f"{error}; the lab pool's logs:\n{self.read_logs()}") from error

    def is_ready(self) -> bool:
        """Tell whether every schedd's ad is in the collector; raises LabError if the daemons cannot get there."""
        if self.master is None or self.master.poll() is not None:
            raise LabError(f"condor_master in {self.manager} ended")
        if self.lost_port():
            raise LabError(f"port {self.port} of 127.0.0.1 was taken by another program")
        if not self.port_file.exists():
            # Whoever else has the port may keep a tool waiting.
            return False
        shown = self.run("condor_status", "-schedd", "-af", "Name", user="reader")
        return set(self.schedd_names) <= set(shown.stdout.split())

    def lost_port(self) -> bool:
        """Tell whether another program had this pool's port first."""
        log = self.manager / "log" / "MasterLog"
        return log.exists() and "Address already in use" in log.read_text(errors="replace")

    def read_logs(self, characters: int = 1500) -> str:
        """Return the end of every daemon's log."""
        logs = [path for path in sorted((self.manager / "log").glob("[!.]*")) if path.is_file()]
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-characters:]}" for path in logs)

    def stop(self, patience: float = STOP_SECONDS) -> None:
        """End every process of the pool, frozen ones too, by force after `patience` seconds; jobs stay in the queue.

        It does nothing to a pool that does not run, or that another process started (this one's parent, by fork).
        """
        master = self.master
        if master is None or self.starter != os.getpid():
            return
        for pid in self.find_processes():
            send_signal(pid, signal.SIGCONT)
        # Fast shutdown: a slow one would wait for running jobs.
        send_signal(master.pid, signal.SIGQUIT)
        deadline = time.monotonic() + patience
        while pids := self.find_processes():
            if time.monotonic() > deadline or master.poll() is not None:
                for pid in pids:
                    send_signal(pid, signal.SIGKILL)
            time.sleep(0.05)
        master.wait()
        # Not before: an interrupted stop can be called again.
        self.master = None
        atexit.unregister(self.stop)

    def find_processes(self) -> list[int]:
        """Return the pids of the pool's living processes, found by their environment, and of all their descendants."""
        parents = read_parents()
        mark = f"{MARK}={self.directory}".encode()
        members = {pid for pid in parents if mark in read_environment(pid)}
        while more := {pid for pid, parent in parents.items() if parent in members} - members:
            members |= more
        return sorted(members)

    def pid_of(self, name: str) -> int:
        """Return the pid of master, collector, negotiator, shared_port or a schedd (schedd1 or schedd1@lab)."""
        if self.master is None:
            raise LabError(f"the lab pool in {self.directory} does not run; start it first")
        if name == "master":
            return self.master.pid
        word = name.partition("@")[0].encode()
        for pid, parent in read_parents().items():
            program, *arguments = read_file(pid, "cmdline").split(b"\0")
            named = program.rpartition(b"/")[2] == b"condor_" + word or word.upper() in arguments
            if parent == self.master.pid and named:
                return pid
        raise LabError(f"the lab pool in {self.directory} has no living {name}")

    def freeze(self, name: str) -> None:
        """Stop a daemon's clock: it keeps its connections and answers nothing."""
        send_signal(self.pid_of(name), signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen daemon go on."""
        send_signal(self.pid_of(name), signal.SIGCONT)

    def kill(self, name: str) -> None:
        """Kill a daemon and keep it dead: the master, which would start it anew, is frozen until revive()."""
        pid = self.pid_of(name)
        self.freeze("master")
        send_signal(pid, signal.SIGKILL)
        wait_until(lambda: pid not in read_parents(), 10, f"the end of {name}, pid {pid}")

    def revive(self) -> None:
        """Let the master start the killed daemons anew; return when all live and every schedd answers."""
        self.thaw("master")
        for name in ("collector", "negotiator", *self.schedd_names):
            wait_until(lambda name=name: self.is_alive(name), START_SECONDS, f"a new {name}")  # type: ignore[misc]
        self.wait_ready()
        for name in self.schedd_names:
            self.start_schedd(name)

    def is_alive(self, name: str) -> bool:
        """Tell whether a daemon has a process, which may be frozen."""
        try:
            return self.pid_of(name) > 0
        except LabError:
            return False

    def stop_schedd(self, name: str) -> None:
        """Kill a schedd, whose ad stays in the collector; start_schedd() or revive() brings it back."""
        self.kill(name)

    def start_schedd(self, name: str) -> None:
        """Bring a killed schedd back, with its queue, and wait until it answers."""
        self.thaw("master")
        full = name if "@" in name else f"{name}@lab"
        wait_until(lambda: self.answers(full), START_SECONDS, f"{full} to answer")

    def answers(self, schedd: str) -> bool:
        """Tell whether a schedd answers a query."""
        return self.run("condor_q", "-name", schedd, "-totals", user="reader").returncode == 0

    def restart_collector(self) -> None:
        """Kill the collector and wait for a new one, which knows no node until the nodes' next update."""
        self.kill("collector")
        self.revive()

    def make_folders(self) -> None:
        """Make the folders and keys of the manager and the clients."""
        try:
            self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.manager.mkdir(mode=0o755)
        except OSError as error:
            raise LabError(f"cannot make the lab pool's folder: {error}; give it a new or an empty one") from error
        check_access(self.directory)
        check_access(self.release.prefix)
        for folder in [self.manager, self.jobs_directory, *(self.manager / name for name in FOLDERS)]:
            self.make_daemon_folder(folder)
        for spool in self.spools.values():
            self.make_daemon_folder(spool)
        key, foreign_key = secrets.token_bytes(64), secrets.token_bytes(64)
        write_secret(self.signing_key, key)
        give_to_daemons(self.signing_key)
        for name in CLIENT_RIGHTS:
            folder = self.client(name).parent
            for path in (folder, folder / "tokens.d", folder / "keys"):
                path.mkdir(mode=0o700, parents=True)
        write_secret(self.key_copy_for_client(), key)
        write_secret(self.client("stranger").parent / "keys" / "POOL", foreign_key)

    def make_daemon_folder(self, path: Path) -> None:
        """Make a folder of the daemons' account; the secrets' folders are closed to others."""
        path.mkdir(exist_ok=True)
        path.chmod(0o700 if path.name in ("keys", "tokens.d") else 0o755)
        give_to_daemons(path)

    def write_tokens(self) -> None:
        """Write the tokens of the daemons and of every client."""
        write_secret(self.manager / "tokens.d" / "condor", self.create_token("condor").encode())
        give_to_daemons(self.manager / "tokens.d" / "condor")
        for name, rights in CLIENT_RIGHTS.items():
            # The stranger claims to be the scaler, by a key that is not the pool's.
            identity, signer = ("scaler", "stranger") if name == "stranger" else (name, "scaler")
            token = self.create_token(identity, *rights, user=signer)
            write_secret(self.client(name).parent / "tokens.d" / "token", token.encode())

    def write_configuration(self) -> None:
        """Write the configuration files of the manager and of every client."""
        people = ("condor", *CLIENT_RIGHTS, "node-*")
        manager = self.release.configuration()
        manager += NETWORK.format(port=self.port, domain=self.domain, folder=self.manager)
        manager += MANAGER.format(
            port=self.port,
            domain=self.domain,
            schedds=" ".join(self.spools),
            everyone=", ".join(f"{name}@{self.domain}" for name in people if name != "stranger"),
        )
        for name, (key, spool) in zip(self.schedd_names, self.spools.items(), strict=True):
            manager += SCHEDD.format(key=key, name=name, spool=spool)
        (self.manager / "condor_config").write_text(manager + textwrap.dedent(self.extra))
        # Started by root, the tools too need to know the account that the pool works under.
        account = f"CONDOR_IDS = {NOBODY}.{NOBODY}\n" if os.geteuid() == 0 else ""
        for name in CLIENT_RIGHTS:
            path = self.client(name)
            network = NETWORK.format(port=self.port, domain=self.domain, folder=path.parent)
            path.write_text(
                self.release.configuration() + network + CLIENT.format(schedd=self.schedd_names[0]) + account
            )


def choose_port() -> int:
    """Return a port of the loopback address that nothing listens on now; raises LabError if there is none."""
    for _ in range(200):
        port = secrets.choice(PORTS)
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise LabError(f"found no free port from {PORTS.start} to {PORTS.stop} on 127.0.0.1; stop other programs")


def check_access(path: Path) -> None:
    """Raise LabError if the daemons' account cannot enter `path`."""
    if os.geteuid() != 0:
        return
    for folder in (path, *path.parents):
        if not folder.stat().st_mode & 0o001:
            raise LabError(
                f"the lab's daemons run as nobody (uid {NOBODY}), whom {folder} does not let in; "
                "use lab.pool.temporary_directory() or another folder that all can enter"
            )

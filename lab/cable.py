"""A cable between a pool and its nodes that can be cut: packets get lost without a word, as between two sites.

Two network namespaces of Linux, nameless, so that nothing is left when the process that made them ends however it does.
Packets get lost at a wrong hardware address: connections stay open on both sides and nobody is told. Only root may.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.configuration import NOBODY
from lab.release import LabError, Release

CLONE_NEWNET = 0x40000000
PROGRAMS = ("ip", "nsenter", "setpriv")
# TEST-NET-1 (RFC 5737): no address of any network that this machine is in.
POOL, NODES = "192.0.2.1", "192.0.2.2"
HARDWARE = {POOL: "02:00:00:00:00:01", NODES: "02:00:00:00:00:02"}
NOBODY_S_HARDWARE = "02:00:00:00:00:ff"
DEVICE = "cable"
# A schedd takes a silent node for gone when TCP does, whatever the job's lease: idle connections after HTCondor's
# TCP_KEEPALIVE_INTERVAL (360 s) and 9 probes of 75 s, others after 15 attempts, about as long (seen with ss, HTCondor
# 23.9.6).
NOTICED_SOON = {"tcp_keepalive_intvl": 1, "tcp_keepalive_probes": 3, "tcp_retries2": 5}

# Becomes the condor_master of a node, at the far end of the cable, whatever network the guest was started in.
MASTER = """\
#!/bin/sh
chown -R {account}:{account} "$EHOSLITE_NODE_DIR"
export _CONDOR_NETWORK_INTERFACE={address} {macros}
exec nsenter --net={network} setpriv --reuid={account} --regid={account} --clear-groups {master} "$@"
"""


def why_not() -> str:
    """Why there can be no cable here; empty if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"no {', '.join(missing)} on PATH"
    try:
        os.close(_new_network())
    except OSError as error:
        return f"this kernel or container gives no network namespace: {error.strerror}"
    return ""


class Cable:
    """While it is entered, this thread and the processes that it starts are at the pool's end, at the address POOL;
    nodes that become_node() prepares are at the other, at NODES. Raises LabError where `why_not` says so."""

    def __enter__(self) -> Self:
        if reason := why_not():
            raise LabError(f"no cable: {reason}")
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._ends = {POOL: _new_network(), NODES: _new_network()}
        try:
            self._lay()
            _enter(self._ends[POOL])
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        _enter(self._home)
        self._close()

    def _close(self) -> None:
        for network in (self._home, *self._ends.values()):
            os.close(network)

    def _lay(self) -> None:
        far = ("name", DEVICE, "address", HARDWARE[NODES], "netns", self._path(NODES))
        self._ip(POOL, "link", "add", DEVICE, "address", HARDWARE[POOL], "type", "veth", "peer", *far)
        for address in self._ends:
            self._ip(address, "addr", "add", f"{address}/30", "dev", DEVICE)
            for device in ("lo", DEVICE):
                self._ip(address, "link", "set", device, "up")
        self.mend()

    def cut(self) -> None:
        """From now on no packet arrives, in either direction."""
        self._send_to({POOL: NOBODY_S_HARDWARE, NODES: NOBODY_S_HARDWARE})

    def notice_soon(self) -> None:
        """Have the pool's end give silent connections up within seconds, those of jobs that would be well again too."""
        for name, value in NOTICED_SOON.items():
            Path(f"/proc/sys/net/ipv4/{name}").write_text(str(value))

    def mend(self) -> None:
        """Packets arrive again; what was lost is sent again by those who have not given up."""
        self._send_to(HARDWARE)

    def _send_to(self, hardware: dict[str, str]) -> None:
        for here, there in ((POOL, NODES), (NODES, POOL)):
            entry = (there, "lladdr", hardware[there], "dev", DEVICE, "nud", "permanent")
            self._ip(here, "neigh", "replace", *entry)

    def _path(self, end: str) -> str:
        return f"/proc/{os.getpid()}/fd/{self._ends[end]}"

    def _ip(self, end: str, *arguments: str) -> None:
        command = ["nsenter", f"--net={self._path(end)}", "ip", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")

    def release_for_nodes(self, release: Release, folder: Path) -> Path:
        """Make a folder that serves the local cloud as `release` and whose nodes live at the far end. The guest must
        stay root until then: give the cloud the account "" as well."""
        (folder / "sbin").mkdir(parents=True)
        lines = release.configuration().splitlines()
        macros = " ".join(f"_CONDOR_{name}={value}" for name, _, value in (line.partition(" = ") for line in lines))
        master = folder / "sbin" / "condor_master"
        real = release.program("condor_master")
        text = MASTER.format(account=NOBODY, address=NODES, macros=macros, network=self._path(NODES), master=real)
        master.write_text(text)
        master.chmod(0o755)
        return folder


def _new_network() -> int:
    """A descriptor of a new network namespace; it lives as long as a descriptor or a process holds it."""
    made: list[int] = []
    failed: list[OSError] = []

    def make() -> None:  # in a thread of its own, for it ends up in the new namespace
        try:
            _call("unshare", CLONE_NEWNET)
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _enter(network: int) -> None:
    _call("setns", network, CLONE_NEWNET)


def _call(name: str, *arguments: int) -> None:
    """A system call that Python 3.11 does not have. Raises OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""What goes on inside a node of the local cloud: the part of cloud-init and of the init system, as one process.

`python guest.py FOLDER --release PREFIX [--user NAME] [--delay SECONDS] [--never-join]`, where FOLDER holds `user_data`
(a cloud-config) and `hardware.json` ({"cpus", "memory_mb", "disk_gb", "gpus"}). It carries out the write_files below
FOLDER/root and then becomes the condor_master that the commands ask for: the node has no other process of its own, and
whatever has FOLDER in its environment belongs to it. The OpenStack stand of the lab boots its servers with it too.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ehoslite.clouds.release import Release, describe

FOLDER_VARIABLE = "EHOSLITE_NODE_DIR"
# What stands here in the place of /; a VM has no such variable, so that the same template is right in both.
ROOT_VARIABLE = "EHOSLITE_ROOT"
# A machine whose init ends is off. What powers a node off is a child of the node's master.
POWEROFF = f"""#!/bin/sh
touch "${FOLDER_VARIABLE}/off"
kill -TERM $PPID
"""
KIB_PER_GB = 1048576


def main() -> None:
    """Boot the node; does not return."""
    parser = argparse.ArgumentParser(description="Boot a node on this machine.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", type=Path, required=True)
    parser.add_argument("--user", default="")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--never-join", action="store_true")
    options = parser.parse_args()
    folder: Path = options.folder.absolute()
    (folder / "pid").write_text(str(os.getpid()))
    user_data = yaml.safe_load((folder / "user_data").read_text())
    hardware = json.loads((folder / "hardware.json").read_text())
    say(f"booting with {hardware}")
    time.sleep(options.delay)
    prepare(folder, options.user)
    write_files(folder / "root", user_data)
    if not asks_for_condor(user_data) or options.never_join:
        (folder / "booted").touch()
        say("up, without HTCondor")
        while True:
            time.sleep(3600)
    become_condor_master(folder, hardware, describe(options.release))


def say(line: str) -> None:
    """One line to the console."""
    print(f"guest: {line}", flush=True)


def prepare(folder: Path, user: str) -> None:
    """Make the node's file system, and drop root's rights for good where we have them."""
    root = folder / "root"
    root.mkdir(exist_ok=True, mode=0o755)
    if os.geteuid() != 0 or not user:
        return
    account = pwd.getpwnam(user)
    for path in (root, folder):
        os.chown(path, account.pw_uid, account.pw_gid)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def write_files(root: Path, user_data: Mapping[str, Any]) -> None:
    """cloud-init's write_files, with `root` in the place of /."""
    for entry in user_data.get("write_files", []):
        path = (root / str(entry["path"]).lstrip("/")).resolve()
        if not path.is_relative_to(root.resolve()):
            raise SystemExit(f"guest: write_files: {entry['path']} leads out of the node")
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = int(str(entry.get("permissions", "0644")), 8)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            file.write(entry.get("content", ""))


def asks_for_condor(user_data: Mapping[str, Any]) -> bool:
    """Whether a command starts HTCondor's service; any other command is said and not carried out: this is no VM."""
    asked = False
    for command in user_data.get("runcmd", []):
        words = command.split() if isinstance(command, str) else [str(word) for word in command]
        if words[:1] == ["systemctl"] and words[-1] in {"condor", "condor.service"}:
            asked = asked or words[1] in {"start", "restart", "enable"}
        else:
            say(f"not carried out here: {' '.join(words)[:100]}")
    return asked


def become_condor_master(folder: Path, hardware: Mapping[str, Any], release: Release) -> None:
    """Write what an image and the hardware would give, and become its condor_master."""
    root = folder / "root"
    condor = root / "etc/condor"
    for name in ("log", "spool", "execute", "run", "lock", "cred"):
        (root / name).mkdir(exist_ok=True)
    write_program(root / "sbin/poweroff", POWEROFF)
    for name in ("tokens.d", "passwords.d"):
        (condor / name).mkdir(parents=True, exist_ok=True)
        (condor / name).chmod(0o700)
    (condor / "config.d").mkdir(exist_ok=True)
    (condor / "condor_config").write_text(image_configuration(root, release))
    (condor / "config.d/99-machine.conf").write_text(machine_configuration(hardware))
    master = release.prefix / "sbin/condor_master"
    environment = {
        "CONDOR_CONFIG": str(condor / "condor_config"),
        "HOME": str(root),
        "PATH": os.environ.get("PATH", os.defpath),
        FOLDER_VARIABLE: str(folder),
        ROOT_VARIABLE: str(root),
    }
    (folder / "booted").touch()
    say(f"starting {master}")
    os.execve(master, [str(master), "-f"], environment)  # noqa: S606 - an argument list, no shell


def write_program(path: Path, text: str) -> None:
    """Write a script that may be executed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def image_configuration(root: Path, release: Release) -> str:
    """What a node image brings: where HTCondor is and where it keeps its files."""
    return f"""{release.configuration()}LOCAL_DIR = {root}
LOG = {root}/log
SPOOL = {root}/spool
EXECUTE = {root}/execute
RUN = {root}/run
LOCK = {root}/lock
CRED_STORE_DIR = {root}/cred
SEC_TOKEN_SYSTEM_DIRECTORY = {root}/etc/condor/tokens.d
SEC_TOKEN_DIRECTORY = {root}/etc/condor/tokens.d
SEC_PASSWORD_DIRECTORY = {root}/etc/condor/passwords.d
LOCAL_CONFIG_DIR = {root}/etc/condor/config.d
REQUIRE_LOCAL_CONFIG_FILE = False
"""


def machine_configuration(hardware: Mapping[str, Any]) -> str:
    """What the hardware gives, and what many nodes on one host need; it is read last."""
    gpus = ", ".join(f"GPU-{number}" for number in range(int(hardware.get("gpus", 0))))
    return f"""NUM_CPUS = {hardware["cpus"]}
MEMORY = {hardware["memory_mb"]}
DISK = {int(hardware["disk_gb"] * KIB_PER_GB)}
STARTD_DETECT_GPUS =
{f"MACHINE_RESOURCE_GPUs = {gpus}" if gpus else ""}
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
NO_DNS = True
DEFAULT_DOMAIN_NAME = nodes.ehos
USE_SHARED_PORT = False
USE_PROCD = False
MASTER_NAME = guest
MAIL = /bin/true
ENABLE_KERNEL_TUNING = False
# On the central manager's own host a startd would present its family's session to the collector and be refused.
SEC_USE_FAMILY_SESSION = False
SSH_TO_JOB_ENABLED = False
"""


if __name__ == "__main__":
    main()

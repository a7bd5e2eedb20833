"""`ehoslite cloud check`: asks each cloud for all that a node will need there. Nothing is made or changed."""

from __future__ import annotations

import base64
import json
import os
import pwd
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from ehoslite.cloudinit import read_template, user_data
from ehoslite.clouds.finding import Check, Finding, Said, carry_out, instead, list_out
from ehoslite.clouds.judging import room_left
from ehoslite.clouds.local import LocalCloud
from ehoslite.clouds.release import describe, find_prefix
from ehoslite.config import find_template
from ehoslite.errors import EXIT_ACTION_FAILED, EXIT_FINE, Fault, FixConfiguration
from ehoslite.settings import LocalCloudSettings, Settings

# A token with the rights of a node is somewhat shorter.
TOKEN_LENGTH = 400
DAEMONS = ("condor_master", "condor_startd")


def check(settings: Settings, names: Sequence[str], clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """What is found in the clouds of these names, in all when none is given, one finding after the other.

    Raises FixConfiguration for a name that no cloud has.
    """
    unknown = [name for name in names if name not in settings.clouds]
    if unknown:
        what = "is no configured cloud"
        raise FixConfiguration([Fault("clouds", name, f"{what}{instead(name, settings.clouds)}") for name in unknown])
    chosen = [name for name in settings.clouds if not names or name in names]
    return (finding for name in chosen for finding in _one(settings, name, clock))


def _one(settings: Settings, name: str, clock: Callable[[], float]) -> Iterator[Finding]:
    cloud = settings.clouds[name]
    if isinstance(cloud, LocalCloudSettings):
        return _check_local(settings, name, cloud)
    from ehoslite.clouds.check_openstack import check_openstack

    return check_openstack(settings, name, cloud, clock, lambda longest: check_user_data(settings, name, longest))


def check_user_data(settings: Settings, name: str, longest: int | None = None) -> Iterator[Said]:
    """Fill the template as for a node, with a token of the usual length. Raises FixConfiguration when that fails."""
    cloud, condor = settings.clouds[name], settings.condor
    template = find_template(Path(cloud.template)) or Path(cloud.template)
    values = {
        **settings.template_values,
        "node": f"ehos-{settings.pool}-00000000",
        "pool": settings.pool,
        "cloud": name,
        "flavor": max((flavor.name for flavor in cloud.flavors), key=len, default=""),
        "collector": condor.collector or "central-manager.example.org:9618",
        "domain": condor.domain or "example.org",
        "node_domain": condor.node_domain,
        "token": "x" * TOKEN_LENGTH,
        "retirement": f"{condor.retirement:.0f}",
        "lease": f"{settings.scaling.lease:.0f}",
    }
    data = user_data(read_template(template), values, template)
    size = len(base64.b64encode(data.encode()))
    fills = f"{template} fills to {size}{f' of {longest}' if longest else ''} characters in base64"
    too_long = bool(longest and size > longest)
    advice = "; Nova refuses more: put large files into the image, or have the node download them"
    yield not too_long, fills + (advice if too_long else "")


def _check_local(settings: Settings, name: str, cloud: LocalCloudSettings) -> Iterator[Finding]:
    local = LocalCloud(name, cloud, settings.pool)
    checks: list[Check] = [
        ("release", lambda: check_release(cloud)),
        ("directory", lambda: check_directory(Path(cloud.directory))),
        ("account", lambda: check_account(cloud.user, os.geteuid())),
        ("quota", lambda: [room_left(local.room(), local.flavors(), len(local.servers()))]),
        ("user data", lambda: check_user_data(settings, name)),
    ]
    return carry_out(name, checks)


def check_release(cloud: LocalCloudSettings) -> Iterator[Said]:
    """Whether the local cloud's HTCondor has the daemons of a node."""
    prefix = cloud.release or find_prefix()
    if prefix is None:
        yield False, "there is no condor_master on PATH: install HTCondor, or name its folder in `release`"
        return
    missing = [name for name in DAEMONS if not os.access(prefix / "sbin" / name, os.X_OK)]
    if missing:
        what = f"{prefix}/sbin has no {list_out(missing, 'and')}"
        yield False, f"{what}: `release` is the folder above sbin/condor_master"
    else:
        yield True, f"HTCondor in {describe(prefix).prefix}"


def check_directory(directory: Path) -> Iterator[Said]:
    """Whether nodes' folders can be made here, or the folder itself where it is not there yet."""
    there = next(folder for folder in (directory, *directory.parents) if folder.exists())
    if not there.is_dir():
        yield False, f"{there} is no folder: name another `directory`"
    elif not os.access(there, os.W_OK | os.X_OK):
        yield False, f"{there} cannot be written by this account (uid {os.geteuid()}): chown it, or name another"
    else:
        yield True, f"{directory} can be written" + ("" if there == directory else "; it is made with the first node")


def check_account(user: str, uid: int) -> Iterator[Said]:
    """Whether there is the account that runs the nodes when we are root."""
    if uid != 0:
        yield True, f"nodes run as this account, uid {uid}: we are not root"
        return
    try:
        yield True, f"nodes run as {user}, uid {pwd.getpwnam(user).pw_uid}"
    except KeyError:
        yield False, f"there is no account {user!r} on this machine: make it, or name another in `user`"


def tell(findings: Iterable[Finding], say: Callable[[str], None], *, tick: bool) -> int:
    """Say a line a finding, as it is found, and how many things are to be done; gives the exit code."""
    good, bad = ("\N{CHECK MARK}", "\N{BALLOT X}") if tick else ("ok ", "FIX")
    faults = 0
    for finding in findings:
        faults += not finding.ok
        say(f"{good if finding.ok else bad} {finding.cloud}: {finding.check}: {finding.text}")
    say("all is well" if not faults else f"{faults} to fix")
    return EXIT_ACTION_FAILED if faults else EXIT_FINE


def shows_ticks() -> bool:
    """Whether standard output is a terminal that shows check marks."""
    return sys.stdout.isatty() and (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def tell_json(findings: Iterable[Finding], schema: int, say: Callable[[str], None]) -> int:
    """Say the findings as docs/json.md describes them; gives the exit code."""
    found = list(findings)
    good = all(finding.ok for finding in found)
    data = {"schema": schema, "ok": good, "findings": [asdict(finding) for finding in found]}
    say(json.dumps(data, indent=2))
    return EXIT_FINE if good else EXIT_ACTION_FAILED

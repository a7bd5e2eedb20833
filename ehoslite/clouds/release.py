"""Where an HTCondor installation keeps its parts; distributions differ."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Release:
    """One installed HTCondor: `prefix` is its RELEASE_DIR, the others are HTCondor's macros of the same names."""

    prefix: Path
    library: Path
    libexec: Path
    share: Path

    def configuration(self) -> str:
        """The macro lines that a condor configuration file needs to find this release."""
        macros = {
            "RELEASE_DIR": self.prefix,
            "BIN": self.prefix / "bin",
            "SBIN": self.prefix / "sbin",
            "LIB": self.library,
            "LIBEXEC": self.libexec,
            "SHARE": self.share,
        }
        return "".join(f"{name} = {path}\n" for name, path in macros.items())

    def program(self, name: str) -> Path:
        """The path of a program such as condor_drain. Raises FileNotFoundError if this release has none of the name."""
        for folder in ("bin", "sbin"):
            path = self.prefix / folder / name
            if path.exists():
                return path
        raise FileNotFoundError(f"HTCondor under {self.prefix} has no program {name} in bin or sbin; check its name")

    def environment(self) -> dict[str, str]:
        """A small environment for HTCondor's programs: PATH with this release first, HOME and LANG."""
        path = os.pathsep.join([f"{self.prefix}/bin", f"{self.prefix}/sbin", os.environ.get("PATH", os.defpath)])
        return {"PATH": path, "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}


def describe(prefix: Path) -> Release:
    """The release under `prefix`, whose folders differ between Debian, Red Hat and HTCondor's own archive."""

    def pick(*names: str) -> Path:
        return next((prefix / name for name in names if (prefix / name).is_dir()), prefix / names[-1])

    return Release(
        prefix=prefix,
        library=pick("lib/condor", "lib64/condor", "lib"),
        libexec=pick("libexec/condor", "lib/condor/libexec", "libexec"),
        share=pick("share/condor", "share"),
    )


def find_prefix() -> Path | None:
    """The prefix of the condor_master on PATH, if there is one."""
    master = shutil.which("condor_master")
    return Path(master).resolve().parent.parent if master else None

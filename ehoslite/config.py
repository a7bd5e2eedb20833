"""Reads ehos.yaml into Settings, or raises FixConfiguration with every fault at once; prints the commented sample."""

from __future__ import annotations

import os
import stat
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from ehoslite.cloudinit import check_template
from ehoslite.errors import Fault, FixConfiguration
from ehoslite.reading import Reader, Spot
from ehoslite.settings import Settings

FILE_NAME = "ehos.yaml"
CHECKOUT = Path(__file__).resolve().parent.parent

# EHOS looked here, in this order; its users keep their files.
FOLDERS = (
    Path("/etc/ehos"),
    Path("/usr/local/etc/ehos"),
    Path("/usr/share/ehos"),
    Path("/usr/local/share/ehos"),
    CHECKOUT / "cloud-init",
)

Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def find(given: Path | None, folders: Sequence[Path] = FOLDERS) -> Path:
    """The configuration file: the given one, else the first ehos.yaml in the folders.

    Raises FixConfiguration when there is none.
    """
    if given is not None:
        return given
    for folder in folders:
        if (folder / FILE_NAME).exists():
            return folder / FILE_NAME
    looked = ", ".join(str(folder) for folder in folders)
    what = f"there is none in {looked}; write one with `ehoslite config sample`, or name it with --config"
    raise FixConfiguration([Fault(FILE_NAME, "", what)])


def load(path: Path) -> Settings:
    """The settings in this file. Raises FixConfiguration naming every fault by line and path in the document."""
    reader = Reader(path)
    document = _compose(path, _read_text(path))
    settings = reader.read(document, Settings, Spot())
    if isinstance(settings, Settings):
        reader.faults += _combinations(path, settings)
        reader.faults += _places(path, settings)
    if reader.secrets_seen:
        reader.faults += _readable_by_others(path, reader.secrets_seen)
    if reader.faults or not isinstance(settings, Settings):
        raise FixConfiguration(reader.faults)
    return settings


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a directory; name the file in it")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FixConfiguration([Fault(str(path), "", f"not UTF-8 text: {error.reason}")]) from error
    except OSError as error:
        raise FixConfiguration([Fault(str(path), "", f"cannot be read: {error.strerror or error}")]) from error


def _compose(path: Path, text: str) -> yaml.Node:
    """The document as nodes that know their lines, so that a fault can name its own."""
    try:
        document = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        hint = "; YAML is indented with blanks, not tabs" if "\\t" in str(error) or "\t" in text else ""
        raise FixConfiguration([Fault(f"{path}{line}", "", f"not valid YAML: {error.problem}{hint}")]) from error
    except yaml.YAMLError as error:
        raise FixConfiguration([Fault(str(path), "", f"not valid YAML: {error}")]) from error
    if document is None:
        what = "the file is empty; `ehoslite config sample` prints one to start from"
        raise FixConfiguration([Fault(str(path), "", what)])
    return document


def _combinations(path: Path, settings: Settings) -> Iterator[Fault]:
    """Options that are fine alone and impossible together."""
    scaling, where = settings.scaling, str(path)
    if scaling.nodes_min > scaling.nodes_max:
        what = f"{scaling.nodes_min} is more than nodes_max {scaling.nodes_max}"
        yield Fault(where, "scaling.nodes_min", what)
    elif scaling.nodes_spare > scaling.nodes_max:
        what = f"{scaling.nodes_spare} is more than nodes_max {scaling.nodes_max}"
        yield Fault(where, "scaling.nodes_spare", what)
    if settings.condor.token_source == "create" and settings.condor.token_key is None:  # noqa: S105
        yield Fault(where, "condor.token_key", "must be given with token_source: create")
    if not settings.clouds:
        yield Fault(where, "clouds", "at least one cloud is needed")
    for name, cloud in settings.clouds.items():
        names = [flavor.name for flavor in cloud.flavors]
        for twice in sorted({flavor for flavor in names if names.count(flavor) > 1}):
            yield Fault(where, f"clouds.{name}.flavors", f"two flavors are called {twice}")


def _places(path: Path, settings: Settings) -> Iterator[Fault]:
    """Files and folders that must be there, or be writable."""
    for name, cloud in settings.clouds.items():
        template = find_template(Path(cloud.template))
        if template is not None:
            yield from check_template(template, settings.template_values)
        else:
            looked = ", ".join(str(folder) for folder in template_folders(Path(cloud.template)))
            yield Fault(str(path), f"clouds.{name}.template", f"there is no {Path(cloud.template).name} in {looked}")
    record = Path(settings.record.path)
    folder = next(folder for folder in record.parents if folder.exists())
    if record.is_dir():
        yield Fault(str(path), "record.path", f"{record} is a directory; name a file")
    elif not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        what = f"{record} cannot be written: {folder} is not a folder that this user may write to"
        yield Fault(str(path), "record.path", what)


def template_folders(template: Path) -> list[Path]:
    """Where a template is looked for: beside the configuration, in EHOS's folders, and where pip installs ours."""
    installed = Path(sysconfig.get_path("data")) / "share" / "ehoslite" / "cloud-init"
    return list(dict.fromkeys((template.parent, *FOLDERS, installed)))


def find_template(template: Path) -> Path | None:
    """The template's file: as given, else one of its name in the known folders."""
    for folder in template_folders(template):
        if (folder / template.name).is_file():
            return folder / template.name
    return None


def _readable_by_others(path: Path, secrets: Sequence[str]) -> Iterator[Fault]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & stat.S_IROTH:
        what = f"holds a secret ({', '.join(secrets)}) and is readable by everybody (mode {mode:04o}); chmod 640 {path}"
        yield Fault(str(path), "", what)

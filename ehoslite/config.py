"""Finds ehos.yaml and reads it into Settings, or raises FixConfiguration with every fault at once."""

from __future__ import annotations

import os
import re
import stat
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from ehoslite.cloudinit import NODE_TAGS, TAG_NAME, check_template
from ehoslite.errors import Fault, FixConfiguration
from ehoslite.reading import Reader, Spot
from ehoslite.settings import (
    CloudSettings,
    CondorSettings,
    OpenStackCloudSettings,
    RecordSettings,
    ScalingSettings,
    Settings,
)
from ehoslite.windows import is_time_zone, why_invalid
from ehoslite.yamlfile import compose, read_text

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

CLOUDS, CONDOR, RECORD, SCALING, VALUES = (
    Spot((name,)) for name in ("clouds", "condor", "record", "scaling", "template_values")
)


def find(given: Path | None, folders: Sequence[Path] = FOLDERS) -> Path:
    """The configuration file: the given one, else the first ehos.yaml in the folders.

    One that is there and cannot be read counts as found: reading another in its place would be a surprise.
    Raises FixConfiguration when there is none.
    """
    if given is not None:
        return given
    for folder in folders:
        try:
            (folder / FILE_NAME).lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return folder / FILE_NAME
        return folder / FILE_NAME
    looked = ", ".join(str(folder) for folder in folders)
    what = f"there is none in {looked}; write one with `ehoslite config sample`, or name it with --config"
    raise FixConfiguration([Fault(FILE_NAME, "", what)])


def load(path: Path) -> Settings:
    """The settings in this file. Raises FixConfiguration naming every fault by line and path in the document."""
    document = compose(path, read_text(path))
    if document is None:
        what = "the file is empty; `ehoslite config sample` prints one to start from"
        raise FixConfiguration([Fault(str(path), "", what)])
    reader = Reader(path)
    settings = reader.read(document, Settings, Spot())
    if isinstance(document, yaml.MappingNode):
        reader.faults += [*_combinations(reader), *_templates(reader), *_record(reader), *_readable_by_others(reader)]
    if reader.faults or not isinstance(settings, Settings):
        raise FixConfiguration(reader.faults)
    return settings


def _combinations(reader: Reader) -> Iterator[Fault]:
    """Options that are fine alone and impossible together."""
    scaling = reader.good.get(SCALING, None if SCALING in reader.lines else ScalingSettings())
    if isinstance(scaling, ScalingSettings):
        for name, value in (("nodes_min", scaling.nodes_min), ("nodes_spare", scaling.nodes_spare)):
            if value > scaling.nodes_max:
                yield reader.fault_at(SCALING / name, f"{value} is more than nodes_max {scaling.nodes_max}")
        yield from _windows(reader, scaling)
        yield from _budget(reader, scaling)
    condor = reader.good.get(CONDOR)
    if isinstance(condor, CondorSettings) and condor.token_source == "create" and condor.token_key is None:  # noqa: S105
        yield reader.fault_at(CONDOR / "token_key", "must be given with token_source: create")
    if reader.good.get(CLOUDS) == {}:
        yield reader.fault_at(CLOUDS, "at least one cloud is needed")
    yield from _cloud_combinations(reader)
    for name in reader.good.get(VALUES, {}):
        if name in NODE_TAGS:
            yield reader.fault_at(VALUES / name, "ehoslite fills this tag itself; choose another name")
        elif not re.fullmatch(TAG_NAME, name):
            yield reader.fault_at(VALUES / name, "a tag is made of lower-case letters, digits and '_', a letter first")


def _windows(reader: Reader, scaling: ScalingSettings) -> Iterator[Fault]:
    """Windows that cannot be read as times, or ask for what cannot be."""
    if not is_time_zone(scaling.time_zone):
        what = f"{scaling.time_zone} is no time zone that this machine knows; give one such as Europe/Berlin, or UTC"
        yield reader.fault_at(SCALING / "time_zone", what)
    names = Counter(window.name for window in scaling.windows)
    for number, window in enumerate(scaling.windows):
        spot = SCALING / "windows" / number
        if names[window.name] > 1:
            yield reader.fault_at(spot / "name", f"two windows are called {window.name}")
        for end in ("start", "end"):
            if wrong := why_invalid(getattr(window, end)):
                yield reader.fault_at(spot / end, f"{getattr(window, end)!r} {wrong}")
        if window.start.split() == window.end.split():
            yield reader.fault_at(spot / "end", "is the same as start: the window would never end")
        most = scaling.nodes_max if window.nodes_max is None else window.nodes_max
        for name, value in (("nodes_min", window.nodes_min), ("nodes_spare", window.nodes_spare)):
            if value is not None and value > most:
                yield reader.fault_at(spot / name, f"{value} is more than nodes_max {most}")


def _budget(reader: Reader, scaling: ScalingSettings) -> Iterator[Fault]:
    """A budget that could never bind, or not every flavor, and minima of clouds that are more than the maximum."""
    clouds = [cloud for _, cloud in _clouds(reader)]
    capped = [SCALING / name for name in ("cost_per_hour", "cost_per_month") if getattr(scaling, name) is not None]
    for number, window in enumerate(scaling.windows):
        if window.cost_per_hour is not None:
            capped.append(SCALING / "windows" / number / "cost_per_hour")
    if clouds and not any(flavor.price for cloud in clouds for flavor in cloud.flavors):
        for spot in capped:
            what = (
                "needs the price of the flavors: none has one, so it would never bind; give clouds.NAME.flavors[].price"
            )
            yield reader.fault_at(spot, what)
    elif capped:
        yield from _unpriced(reader, capped[0])
    if (least := sum(cloud.nodes_min for cloud in clouds)) > scaling.nodes_max:
        what = f"{scaling.nodes_max} is less than the nodes_min of all clouds together, {least}"
        yield reader.fault_at(SCALING / "nodes_max", what)


def _unpriced(reader: Reader, capped: Spot) -> Iterator[Fault]:
    """Flavors whose price was forgotten beside a budget: they would count as free and be chosen first."""
    for spot, cloud in _clouds(reader):
        for number, name in enumerate([flavor.name for flavor in cloud.flavors]):
            price = spot / "flavors" / number / "price"
            if price not in reader.lines:
                what = f"is missing for {name}, so {capped} would not bind it; give it, 0 if it costs nothing"
                yield reader.fault_at(price, what)


def _cloud_combinations(reader: Reader) -> Iterator[Fault]:
    """The same, of each cloud."""
    for spot, cloud in _clouds(reader):
        names = Counter(flavor.name for flavor in cloud.flavors)
        for twice in sorted(name for name, times in names.items() if times > 1):
            yield reader.fault_at(spot / "flavors", f"two flavors are called {twice}")
        if not cloud.flavors:
            yield reader.fault_at(spot / "flavors", "at least one flavor is needed")
        if isinstance(cloud, OpenStackCloudSettings) and cloud.makes_ports and not cloud.networks:
            option = "floating_ip" if cloud.floating_ip else "ports"
            yield reader.fault_at(spot / option, "needs networks: each node gets a port on each of them")


def _clouds(reader: Reader) -> list[tuple[Spot, CloudSettings]]:
    """The clouds that could be read, whatever the others are like."""
    return [(spot, value) for spot, value in reader.good.items() if isinstance(value, CloudSettings)]


def _templates(reader: Reader) -> Iterator[Fault]:
    """Templates that are not there, or that nothing can fill."""
    known = reader.good.get(VALUES, {} if VALUES not in reader.lines else None)
    for spot, cloud in _clouds(reader):
        wanted = Path(cloud.template)
        found = find_template(wanted)
        if found is None:
            looked = ", ".join(str(folder) for folder in template_folders(wanted))
            yield reader.fault_at(spot / "template", f"there is no {wanted.name} in {looked}")
        elif found != wanted and wanted.parent != reader.folder:
            what = f"there is no {wanted}; for {found} write {wanted.name} alone"
            yield reader.fault_at(spot / "template", what)
        elif known is not None:
            yield from check_template(found, known)


def _record(reader: Reader) -> Iterator[Fault]:
    """A state file that no pass could write, or that is something else already."""
    record = reader.good.get(RECORD, None if RECORD in reader.lines else RecordSettings())
    if not isinstance(record, RecordSettings):
        return
    path = Path(record.path)
    try:
        what = _unfit(path, reader.path)
    except OSError as error:
        what = f"{path} cannot be used: {error.strerror}"
    if what:
        yield reader.fault_at(RECORD / "path", what)


def _unfit(record: Path, configuration: Path) -> str:
    """Why this cannot be the state file; empty if it can. Writing replaces the file, /dev/null as any other."""
    if record.is_dir():
        return f"{record} is a directory; name a file"
    if record.exists() and (not record.is_file() or record.samefile(configuration)):
        return f"{record} is there and is no state file; name a file of its own"
    folder = next(folder for folder in record.parents if folder.exists())
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return ""
    return f"{record} cannot be written: {folder} is not a folder that this user may write to"


def template_folders(template: Path) -> list[Path]:
    """Where a template is looked for: beside the configuration, in EHOS's folders, and where pip installs ours."""
    installed = Path(sysconfig.get_path("data")) / "share" / "ehoslite" / "cloud-init"
    return list(dict.fromkeys((template.parent, *FOLDERS, installed)))


def find_template(template: Path) -> Path | None:
    """The template's file: as given, else one of its name in the known folders."""
    for folder in template_folders(template):
        with suppress(OSError):  # a folder that this user may not look into, or a name too long to exist
            if (folder / template.name).is_file():
                return folder / template.name
    return None


def _readable_by_others(reader: Reader) -> Iterator[Fault]:
    if not reader.secrets_seen:
        return
    mode = stat.S_IMODE(reader.path.stat().st_mode)
    if mode & stat.S_IROTH:
        secrets = ", ".join(reader.secrets_seen)
        what = f"holds a secret ({secrets}) and is readable by everybody (mode {mode:04o}); chmod 640 {reader.path}"
        yield Fault(str(reader.path), "", what)

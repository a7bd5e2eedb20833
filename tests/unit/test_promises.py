"""What a template tells of its nodes before one has been seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from ehoslite.clouds.promises import promises_of
from ehoslite.options import Place
from ehoslite.settings import LocalCloudSettings
from lab.stand import CHECKOUT


def promised(folder: Path, *lines: str, path: str = "/etc/condor/config.d/50.conf") -> dict[str, str]:
    """What a template with these lines of HTCondor's configuration promises."""
    content = "".join(f"      {line}\n" for line in lines)
    template = folder / "execute.yaml"
    template.write_text(f"#cloud-config\nwrite_files:\n  - path: {path}\n    content: |\n{content}")
    return dict(promises_of(LocalCloudSettings(Place(folder), template=Place(template))))


def test_our_own_template_promises_a_start_that_is_true() -> None:
    settings = LocalCloudSettings(Place(Path("/nowhere")), template=Place(CHECKOUT / "cloud-init" / "execute.yaml"))
    assert promises_of(settings) == (("Start", "True"),)


def test_attributes_that_startds_advertise(tmp_path: Path) -> None:
    lines = (
        "HasDocker = True",
        'Site = "north"',
        "Unsaid = 5",
        "STARTD_ATTRS = HasDocker, Site",
        "STARTD_EXPRS = More",
    )
    assert promised(tmp_path, *lines, "more = HasDocker && 1") == {
        "HasDocker": "True",
        "Site": '"north"',
        "More": "HasDocker && 1",
    }


def test_lists_that_grow_and_macros(tmp_path: Path) -> None:
    lines = ("STARTD_ATTRS = A", "STARTD_ATTRS = $(STARTD_ATTRS) B", "X = 2", "A = $(X) + 1", "STARTD.B = $(X)")
    assert promised(tmp_path, *lines) == {"A": "2 + 1", "B": "2"}


def test_start_and_architecture(tmp_path: Path) -> None:
    found = promised(tmp_path, "ARCH = AARCH64", "START = TARGET.RequestCpus < 3 && \\", "  True")
    assert found == {"Arch": '"AARCH64"', "Start": "TARGET.RequestCpus < 3 &&    True"}


@pytest.mark.parametrize("value", ["{node}", "$(NOTHING)", "$ENV(HOME)", "$(A)"])
def test_what_needs_a_node_to_be_known_is_not_promised(tmp_path: Path, value: str) -> None:
    assert promised(tmp_path, f"A = {value}", "STARTD_ATTRS = A") == {}


def test_what_an_if_may_change_is_not_promised(tmp_path: Path) -> None:
    assert promised(tmp_path, "A = 1", "if $(X)", "A = 2", "B = 2", "endif", "STARTD_ATTRS = A B") == {}


def test_other_files_are_no_configuration_of_htcondor(tmp_path: Path) -> None:
    assert promised(tmp_path, "A = 1", "STARTD_ATTRS = A", path="/etc/motd") == {}


def test_a_template_that_cannot_be_read_promises_nothing(tmp_path: Path) -> None:
    (tmp_path / "execute.yaml").write_text("no cloud-config")
    assert promises_of(LocalCloudSettings(Place(tmp_path), template=Place(tmp_path / "execute.yaml"))) == ()

"""The sample and the reference say what the code does, and the sample is valid as printed."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from ehoslite import sampling
from ehoslite.options import Place
from ehoslite.settings import LocalCloudSettings, OpenStackCloudSettings, Settings
from tests.unit.configurations import NAMES, every_option, read_alone

CHECKOUT = Path(__file__).resolve().parents[2]
REFERENCE = CHECKOUT / "docs" / "configuration.md"
# An account of no name: nothing on the machine is its own.
STRANGER = 54321


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the test writes its configuration."""
    return tmp_path / "ehos.yaml"


# The sample


def test_sample_gives_the_defaults(file: Path) -> None:
    nodes = Place(Path("/var/lib/ehoslite/nodes"))
    here = LocalCloudSettings(directory=nodes, template=Place(file.parent / "execute.yaml"))
    assert read_alone(file, sampling.sample()) == Settings(pool="demo", clouds={"here": here})


def test_sample_shows_the_defaults(file: Path) -> None:
    """With every comment mark before an option taken away, it says what the code does, but for its examples."""
    text = re.sub(r"  # a cloud of type .*?\n\n", "", sampling.sample(), flags=re.DOTALL)
    given, default = read_alone(file, uncomment(text)), read_alone(file, sampling.sample())
    assert given.scaling == default.scaling
    assert given.record.retention == default.record.retention
    here = default.clouds["here"]
    assert isinstance(here, LocalCloudSettings)
    assert given.clouds["here"] == replace(here, release=Place(Path("/usr")))
    examples = {"config", "tools", "collector", "token_key"}
    for entry in fields(given.condor):
        if entry.name not in examples:
            assert getattr(given.condor, entry.name) == getattr(default.condor, entry.name), entry.name


def uncomment(text: str) -> str:
    """The text with every comment mark before an option taken away."""
    return re.sub(r"^( *)# ([a-z_]+:(?: .*)?)$", r"\1\2", text, flags=re.MULTILINE)


def test_sample_names_and_explains_every_option() -> None:
    text = sampling.sample()
    words = " ".join(re.sub(r"#(?= |$)", " ", text, flags=re.MULTILINE).split())
    for path, _, known in every_option():
        assert re.search(rf"^[ #-]*{path[-1]}:", text, re.MULTILINE), path
        assert known.help in words, path


def test_sample_is_pleasant_to_read() -> None:
    lines = sampling.sample().splitlines()
    assert max(map(len, lines)) <= 120
    assert not any(line != line.rstrip() for line in lines)
    assert not any(first == second == "" for first, second in itertools.pairwise(lines))


def test_sample_shows_further_types_of_cloud_commented_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "CLOUD_TYPES", {"local": LocalCloudSettings, "far": type("Far", (CloudOfTest,), {})})
    assert "  # a cloud of type far:\n  # far:\n  #   # the kind of cloud\n" in sampling.sample()
    assert list(read_alone(file, sampling.sample()).clouds) == ["here"]


def test_sample_of_every_type_of_cloud_is_valid(file: Path) -> None:
    """The blocks that are commented out, taken into the file as they are."""
    text = sampling.sample()
    (block,) = re.findall(r"^  # a cloud of type [a-z]+:\n(.*?)\n\n", text, flags=re.DOTALL | re.MULTILINE)
    bare = re.sub(r"^  # ?", "  ", block, flags=re.MULTILINE)
    cloud = read_alone(file, text.replace(block, bare)).clouds["openstack"]
    shown = read_alone(file, text.replace(block, uncomment(bare))).clouds["openstack"]
    assert isinstance(cloud, OpenStackCloudSettings)
    assert shown == replace(cloud, auth_url="https://keystone.example.org:5000/v3")


class CloudOfTest(LocalCloudSettings):
    """A second type of cloud."""


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A checkout of the stranger's own, in a folder that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="ehoslite-test-") as name:
        folder = Path(name) / "checkout"
        for part in ("ehoslite", "cloud-init"):
            shutil.copytree(CHECKOUT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "state").mkdir()
        (folder / "state" / "README.md").touch()
        (Path(name) / "empty").mkdir()
        Path(name).chmod(0o755)
        if os.geteuid() == 0:
            for path in [Path(name) / "empty", *folder.rglob("*"), folder]:
                os.chown(path, STRANGER, STRANGER)
        yield folder


# Python itself may lie in a folder of root's, so the rights go when a first run has imported everything.
AS_USER = """
import contextlib, io, os, sys
import ehoslite.cli
user = int(sys.argv[1])
if os.geteuid() == 0:
    with contextlib.redirect_stdout(io.StringIO()):
        ehoslite.cli.main(sys.argv[2:])
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
sys.exit(ehoslite.cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("user", [0, STRANGER])
def test_sample_is_valid_as_printed(checkout: Path, user: int) -> None:
    """In an empty folder, for root and for an ordinary user."""
    if os.geteuid() != 0 and user == 0:
        pytest.skip("only root can be root")
    environment = {"PATH": os.defpath, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", AS_USER, str(user), "config", *arguments]
        folder = checkout.parent / "empty"
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    printed = run("sample")
    assert (printed.returncode, printed.stderr) == (0, "")
    (checkout.parent / "empty" / "ehos.yaml").write_text(printed.stdout)
    checked = run("check", "-c", "ehos.yaml")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == "ehos.yaml: good; pool demo, clouds here\n"


# The reference


def test_reference_is_that_of_the_code() -> None:
    """Run `python -m ehoslite.sampling docs/configuration.md` after a change of settings.py."""
    text = REFERENCE.read_text(encoding="utf-8")
    assert text == sampling.put_between(text, sampling.table())


def test_reference_has_every_option_with_its_help() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    for path, _, known in every_option():
        name = ".".join("NAME" if step in NAMES.values() else str(step) for step in path).replace(".0.", "[].")
        assert re.search(rf"^\| `{re.escape(name)}` \|.*\| {re.escape(known.help)} \|$", text, re.MULTILINE), name


def test_small_example_of_the_reference_is_valid(file: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)
    assert [flavor.name for flavor in read_alone(file, example).clouds["here"].flavors] == ["small", "large"]


def test_reference_is_put_between_the_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{sampling.BEGIN}\nwhat was here\n{sampling.END}\nafter\n")
    assert sampling.main([str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert sampling.table() in text
    assert "what was here" not in text
    page.write_text("no markers")
    assert sampling.main([str(page)]) == 1
    assert page.read_text() == "no markers"
    assert "the markers" in capsys.readouterr().err

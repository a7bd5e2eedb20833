"""The house keeps its own rules: imports, style, types, sizes, papers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = [*sorted((CHECKOUT / "ehoslite").rglob("*.py")), CHECKOUT / "reconcile.py"]
LONGEST_FILE = 320
LONGEST_FUNCTION = 45


def run(*command: str) -> str:
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [str(program), *command[1:]], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_imports_point_downstairs() -> None:
    assert "0 broken" in run("lint-imports", "--no-cache")


def test_ruff_has_nothing_to_say() -> None:
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")


def test_types_are_strict() -> None:
    assert "Success" in run("mypy")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    for part in ast.walk(ast.parse(text)):
        if isinstance(part, ast.FunctionDef):
            assert (part.end_lineno or 0) - part.lineno <= LONGEST_FUNCTION, part.name


def test_a_pass_does_not_import_what_it_does_not_need() -> None:
    """A pass starts every minute; `import openstack` alone costs half a second."""
    heavy = "('openstack', 'htcondor2', 'tinydb')"
    code = f"import sys, reconcile, ehoslite.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def reason_codes() -> Iterator[str]:
    """The codes in the source: first argument of Reason(...), second of hold(...)."""
    for path in SOURCES:
        for part in ast.walk(ast.parse(path.read_text())):
            if not isinstance(part, ast.Call):
                continue
            name = part.func.id if isinstance(part.func, ast.Name) else getattr(part.func, "attr", "")
            place = {"Reason": 0, "hold": 1}.get(name)
            code = part.args[place] if place is not None and len(part.args) > place else None
            if isinstance(code, ast.Constant):
                yield str(code.value)


def test_every_reason_code_is_documented_and_no_other() -> None:
    reasons, _, faults = (CHECKOUT / "docs" / "reasons.md").read_text().partition("## Faults of a cloud")
    assert set(reason_codes()) == set(re.findall(r"^\| `([a-z-]+)` ", reasons, re.MULTILINE))
    assert set(fault_names()) == set(re.findall(r"^\| `([a-z-]+)` ", faults, re.MULTILINE))


def fault_names() -> Iterator[str]:
    """The names of a cloud's faults in the source: the defaults in errors.py, and what is given at a raise."""
    yield from re.findall(r'^    code = "([a-z-]+)"$', (CHECKOUT / "ehoslite" / "errors.py").read_text(), re.MULTILINE)
    for path in SOURCES:
        for part in ast.walk(ast.parse(path.read_text())):
            name = getattr(part.func, "id", "") if isinstance(part, ast.Call) else ""
            if name in {"CloudUnreachable", "NoCapacity", "BadRequest"} and len(part.args) > 1:  # type: ignore[attr-defined]
                code = part.args[1]  # type: ignore[attr-defined]
                yield from (str(one.value) for one in ast.walk(code) if isinstance(one, ast.Constant))


def test_every_exit_code_is_documented() -> None:
    from ehoslite import errors

    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    documented = re.findall(r"^\| (\d+) \|", (CHECKOUT / "docs" / "operating.md").read_text(), re.MULTILINE)
    assert {int(code) for code in documented} == codes


@pytest.mark.parametrize(
    "name", ["README.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in (CHECKOUT / "docs").glob("*.md"))]
)
def test_links_and_named_files_exist(name: str) -> None:
    page = CHECKOUT / name
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
    for target in re.findall(r"`((?:unit|real)/test_\w+\*?\.py|test_\w+\.py)`", page.read_text()):
        assert list((CHECKOUT / "tests").glob(target)), target


def test_the_package_carries_its_data(tmp_path: Path) -> None:
    """Installed by pip, the templates and the cron files lie under share/ehoslite, and the commands work."""
    run("pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), ".")
    (wheel,) = tmp_path.glob("*.whl")
    prefix = tmp_path / "prefix"
    run(
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--prefix",
        str(prefix),
        "--ignore-installed",
        str(wheel),
    )
    share = prefix / "share" / "ehoslite"
    for source in ("cloud-init/execute.yaml", "cron/crontab", "cron/ehoslite.service", "cron/ehoslite.timer"):
        assert (share / source).read_text() == (CHECKOUT / source).read_text()
    assert {path.name for path in (prefix / "bin").iterdir()} == {"reconcile", "ehoslite"}
    (library,) = prefix.glob("lib/python*/site-packages")
    said = subprocess.run(
        [sys.executable, "-P", str(prefix / "bin" / "reconcile"), "--help"],
        env={"PYTHONPATH": str(library)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--dry-run" in said.stdout

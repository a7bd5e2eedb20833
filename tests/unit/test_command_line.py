"""The commands as a person types them: usage, help, faults, and nothing on standard output that is no answer."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import reconcile
from ehoslite import __version__, cli
from ehoslite.sampling import sample

CHECKOUT = Path(__file__).resolve().parents[2]
GOOD = "pool: demo\nclouds:\n  here: {type: local, directory: nodes}\nrecord: {path: state.json}\n"
# For what takes a moment, however busy the machine.
PATIENCE = 60

Main = Callable[[Sequence[str]], int]


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """The commands start the log of the whole process."""
    log = logging.getLogger("ehoslite")
    before = (log.handlers[:], log.propagate, log.level)
    yield
    log.handlers[:], log.propagate = before[:2]
    log.setLevel(before[2])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good configuration."""
    path = tmp_path / "ehos.yaml"
    path.write_text(GOOD)
    return path


def run(*command: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """A command of its own process, from a checkout."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=CHECKOUT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize(
    ("main", "words", "said"),
    [
        (cli.main, [], "required: VERB"),
        (cli.main, ["scale"], "invalid choice: 'scale'"),
        (cli.main, ["config"], "required: VERB"),
        (cli.main, ["config", "fix"], "invalid choice: 'fix'"),
        (cli.main, ["--fast"], "VERB"),
        (cli.main, ["status", "--fast"], "unrecognized arguments: --fast"),
        (cli.main, ["status", "--passes", "many"], "invalid int value: 'many'"),
        (cli.main, ["status", "-c"], "expected one argument"),
        (cli.main, ["config", "check", "file"], "unrecognized arguments: file"),
        (cli.main, ["config", "sample", "--json"], "unrecognized arguments: --json"),
        (cli.main, ["reconcile", "--fast"], "unrecognized arguments: --fast"),
        (reconcile.main, ["now"], "unrecognized arguments: now"),
        (reconcile.main, ["--config"], "expected one argument"),
    ],
)
def test_wrong_words_give_usage_and_2(
    capsys: pytest.CaptureFixture[str], main: Main, words: Sequence[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: ")
    assert said in err


@pytest.mark.parametrize(
    ("main", "words", "said"),
    [
        (cli.main, [], ["usage: ehoslite ", "reconcile", "status", "config"]),
        (cli.main, ["status"], ["usage: ehoslite status ", "--config FILE", "--json", "--passes N"]),
        (cli.main, ["config"], ["usage: ehoslite config ", "check", "sample"]),
        (cli.main, ["config", "check"], ["usage: ehoslite config check ", "--config FILE"]),
        (cli.main, ["config", "sample"], ["usage: ehoslite config sample "]),
        (cli.main, ["reconcile"], ["usage: reconcile ", "--config FILE", "--dry-run", "--json", "--verbose"]),
        (reconcile.main, [], ["usage: reconcile ", "--config FILE", "--dry-run", "--json", "--verbose"]),
    ],
)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(
    capsys: pytest.CaptureFixture[str], main: Main, words: Sequence[str], said: Sequence[str], option: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, option])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [part for part in said if part not in out] == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr() == (f"ehoslite {__version__}\n", "")


COMMANDS: list[tuple[Main, list[str]]] = [
    (cli.main, ["config", "check"]),
    (cli.main, ["status"]),
    (cli.main, ["reconcile"]),
    (reconcile.main, []),
    (reconcile.main, ["--dry-run"]),
]


@pytest.mark.parametrize(("main", "words"), COMMANDS)
def test_unreadable_configuration_gives_2_and_says_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, main: Main, words: Sequence[str]
) -> None:
    assert main([*words, "-c", str(tmp_path / "gone.yaml")]) == 2
    assert capsys.readouterr() == ("", f"ehoslite: {tmp_path}/gone.yaml: cannot be read: No such file or directory\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("main", "words"), COMMANDS)
def test_names_do_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, main: Main, words: Sequence[str]
) -> None:
    assert main([*words, "-c", str(tmp_path / "\x1b[2J.yaml")]) == 2
    assert capsys.readouterr() == ("", f"ehoslite: {tmp_path}/?[2J.yaml: cannot be read: No such file or directory\n")


@pytest.mark.parametrize(("main", "words"), COMMANDS)
def test_every_fault_is_said_and_nothing_is_done(
    capsys: pytest.CaptureFixture[str], file: Path, main: Main, words: Sequence[str]
) -> None:
    file.write_text(GOOD.replace("demo", "DEMO") + 'deadline: 0\n"\\e[31mred": 1\n')
    assert main([*words, "--config", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:2] for line in err.removeprefix("ehoslite: ").splitlines()] == [
        [f"{file}:1", "pool"],
        [f"{file}:5", "deadline"],
        [f"{file}:6", r"'\x1b[31mred'"],
    ]
    assert [path.name for path in file.parent.iterdir()] == ["ehos.yaml"]


@pytest.mark.parametrize(
    ("main", "words"), [(cli.main, ["status"]), (reconcile.main, []), (reconcile.main, ["--dry-run"])]
)
def test_faults_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path, main: Main, words: Sequence[str]) -> None:
    assert main([*words, "--json", "-c", str(tmp_path)]) == 2
    said = json.loads(capsys.readouterr().out)
    assert (said["schema"], said["exit_code"]) == (1, 2)
    assert said["error"] == f"{tmp_path}: is a directory; name the file in it"


def test_good_configuration(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    assert cli.main(["config", "check", "-c", str(file)]) == 0
    assert capsys.readouterr() == (f"{file}: good; pool demo, clouds here\n", "")
    assert [path.name for path in file.parent.iterdir()] == ["ehos.yaml"]


def test_sample_is_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "sample"]) == 0
    assert capsys.readouterr() == (sample(), "")


def test_sample_goes_through_a_pipe_into_the_check(tmp_path: Path) -> None:
    """In a checkout of the user's own, for the sample's record lies there."""
    for part in ("ehoslite", "cloud-init", "state"):
        ignored = shutil.ignore_patterns("__pycache__", "state.json*")
        shutil.copytree(CHECKOUT / part, tmp_path / part, ignore=ignored)
    program = f"{sys.executable} -m ehoslite.cli"
    pipe = f"{program} config sample | {program} config check -c /dev/stdin"
    done = subprocess.run(
        ["sh", "-c", pipe], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "/dev/stdin: good; pool demo, clouds here\n"


def test_file_at_standard_input() -> None:
    done = run("-m", "ehoslite.cli", "config", "check", "-c", "/dev/stdin", text="pool: DEMO\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ehoslite: /dev/stdin:1: pool: must be text, 1 to 32 lower-case letters")


@pytest.mark.parametrize("command", [["-m", "ehoslite.cli", "config", "check"], ["reconcile.py"]])
def test_programs_end_with_their_codes(tmp_path: Path, command: Sequence[str]) -> None:
    done = run(*command, "-c", tmp_path / "gone.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "gone.yaml: cannot be read" in done.stderr

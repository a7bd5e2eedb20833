"""The configuration: every fault is named with its place and what is allowed, all of them at once."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ehoslite.config import FOLDERS, find, load, template_folders
from ehoslite.errors import FixConfiguration
from ehoslite.settings import LocalCloudSettings
from tests.unit.configurations import GOOD, WITHOUT_RECORD, faults_of, load_text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the test writes its configuration."""
    return tmp_path / "ehos.yaml"


def test_good_file_is_read_with_paths_from_its_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "elsewhere").mkdir()
    monkeypatch.chdir(file.parent / "elsewhere")
    found = load_text(file, GOOD)
    assert found.record.path == file.parent / "state.json"
    here = found.clouds["here"]
    assert isinstance(here, LocalCloudSettings)
    assert (here.directory, here.template) == (file.parent / "nodes", file.parent / "execute.yaml")


# What is wrong with a file

UNREADABLE: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "FILE: the file is empty"),
    "comments": ("# nothing\n", "FILE: the file is empty"),
    "list": ("- pool\n", "FILE:1: must be a mapping of options, not a list"),
    "text": ("pool\n", "FILE:1: must be a mapping of options, not 'pool'"),
    "null": ("---\n", "FILE:2: must be a mapping of options, not nothing"),
    "tab": ("pool: demo\nclouds:\n\there: 1\n", "FILE:3: not valid YAML: .*blanks, not tabs"),
    "latin-1": ("pool: demo\n# Grüße\n".encode("latin-1"), "FILE:2: not UTF-8 text: "),
    "utf-16": ("pool: demo\n".encode("utf-16"), "FILE:1: not UTF-8 text: "),
    "bracket": ("pool: demo\nclouds: [\n", "FILE:3: not valid YAML: "),
    "control": ("pool: ä\npool: \x00\n", r"FILE:2: not valid YAML: unacceptable character #x0000"),
    "two documents": (GOOD + "---\n" + GOOD, "FILE:8: not valid YAML: .*another document"),
    "no anchor": ("pool: *demo\n", "FILE:1: not valid YAML: found undefined alias"),
    "deep list": ("pool: " + "[" * 100_000, "FILE:1: is nested deeper than 50 levels"),
    "deep mapping": ("{a: " * 50_000, "FILE:1: is nested deeper than 50 levels"),
    "deep lines": ("\n".join(" " * depth + "a:" for depth in range(200)), "FILE:51: is nested deeper than 50 levels"),
    "large": (GOOD + "#" * 1_000_000, "FILE: is larger than 1 MB"),
    "recursive": ("a: &x {b: *x}\n", r"FILE:1: is nested deeper than 50 levels: does an alias"),
    "recursive key": ("? &x [*x]\n: 1\n", r"FILE:1: is nested deeper than 50 levels: does an alias"),
    "laughs": (
        "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)),
        r"FILE:\d+: holds more than 100000 values",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_text_is_one_clear_fault(file: Path, name: str) -> None:
    text, wanted = UNREADABLE[name]
    (said,) = faults_of(file, text)
    assert re.match(wanted, said), said


# Lines are added to GOOD, which has 7.
FAULTS = {
    "unknown option": ("scalling: {}", "FILE:8: scalling: no such option; did you mean scaling? "),
    "unknown far from any": ("zzz: 1", "FILE:8: zzz: no such option (known here: clouds, condor, deadline"),
    "unknown in a section": ("scaling: {idle: 5}", "FILE:8: scaling.idle: no such option"),
    "given twice": ("pool: other", "FILE:8: pool: is given twice"),
    "minimum above maximum": ("scaling: {nodes_min: 11}", "FILE:8: scaling.nodes_min: 11 is more than nodes_max 10"),
    "spare above maximum": (
        "scaling:\n  nodes_max: 2\n  nodes_spare: 3",
        "FILE:10: scaling.nodes_spare: 3 is more than nodes_max 2",
    ),
    "negative time": (
        "scaling: {idle_timeout: -1}",
        "FILE:8: scaling.idle_timeout: must be a time such as 300, 5m or 1h 30m, at least 0, not '-1'",
    ),
    "parsecs": ("deadline: 5 parsecs", "FILE:8: deadline: must be a time such as 300, 5m or 1h 30m, at least 1, not"),
    "endless time": (f"deadline: {'9' * 400}", "FILE:8: deadline: must be a time such as"),
    "time beyond 32 bits": ("deadline: 2147483648", "FILE:8: deadline: must be a time such as 300, 5m or 1h 30m, at"),
    "no number": ("scaling: {nodes_max: .nan}", "FILE:8: scaling.nodes_max: must be a whole number, at least 0, not"),
    "infinite": ("scaling: {nodes_max: .inf}", "FILE:8: scaling.nodes_max: must be a whole number, at least 0, not"),
    "huge": ("scaling: {nodes_max: 1000000000000}", "FILE:8: scaling.nodes_max: must be a whole number, at least 0, n"),
    "half": ("scaling: {nodes_max: 1.5}", "FILE:8: scaling.nodes_max: must be a whole number, at least 0, not '1.5'"),
    "truth for a number": ("scaling: {nodes_max: true}", "FILE:8: scaling.nodes_max: must be a whole number, at leas"),
    "unknown choice": (
        "condor: {token_source: stolen}",
        "FILE:8: condor.token_source: must be one of fetch, create, not 'stolen'",
    ),
    "create without key": (
        "condor:\n  token_source: create",
        "FILE:9: condor.token_key: must be given with token_source: create",
    ),
    "user unknown": ("condor: {tools: ~nobody-of-this-name/bin}", "FILE:8: condor.tools: must be a path, not '~nobody"),
    "control in a path": (r'condor: {tools: "/a\u2028b"}', "FILE:8: condor.tools: must be a path, not "),
    "merge key": ("scaling:\n  <<: {}", "FILE:9: scaling.<<: merge keys (<<) are not read here, aliases are"),
    "tag": ("template_values: !vault {}", "FILE:8: template_values: the YAML tag '!vault' means nothing here"),
    "list for a name": ("? [a]\n: 1", "FILE:8: ?: is no name but a list"),
    "name with a line break": (r'"a\nb": 1', r"FILE:8: 'a\nb': no such option"),
    "endless name": ("? " + "a" * 100_000 + "\n: 1", f"FILE:8: '{'a' * 64}': no such option"),
    "name of a value": ("template_values: {a/b: x}", "FILE:8: template_values.a/b: a name is 1 to 64 letters, digits"),
    "value that is ours": (
        "template_values: {token: x}",
        "FILE:8: template_values.token: ehoslite fills this tag itse",
    ),
    "value no tag can name": ("template_values: {Registry: x}", "FILE:8: template_values.Registry: a tag is made of"),
    "too many names": (
        "\n".join(["template_values:", *(f"  v{n}: x" for n in range(1001))]),
        "FILE:9: template_values: has more than 1000 names",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_names_line_place_and_what_is_allowed(file: Path, name: str) -> None:
    text, wanted = FAULTS[name]
    (said,) = faults_of(file, GOOD + text + "\n", 0o600)
    assert said.startswith(wanted)


# Each stands in the place of GOOD's clouds.
CLOUD_FAULTS = {
    "none": ("{}", "FILE:2: clouds: at least one cloud is needed"),
    "nothing": ("", "FILE:2: clouds: must be a mapping of names, not nothing"),
    "list": ("[local]", "FILE:2: clouds: must be a mapping of names, not a list"),
    "cloud without options": ("{a: }", "FILE:2: clouds.a: must be a mapping of options, not nothing"),
    "without type": ("{a: {directory: n}}", "FILE:2: clouds.a.type: must be one of local"),
    "unknown type": ("{a: {type: amazon, x: 1}}", "FILE:2: clouds.a.type: must be one of local"),
    "odd type": ("{a: {type: [local]}}", "FILE:2: clouds.a.type: must be one of local"),
    "without directory": ("{a: {type: local}}", "FILE:2: clouds.a.directory: is missing: folder in which"),
    "strange name": ("{'a b': {type: local, directory: n}}", "FILE:2: clouds.a b: a name is 1 to 64 letters"),
    "template": ("{a: {type: local, directory: n, template: b.yaml}}", "FILE:2: clouds.a.template: there is no b.yaml"),
    "template of that name elsewhere": (
        "{a: {type: local, directory: n, template: /nowhere/execute.yaml}}",
        "FILE:2: clouds.a.template: there is no /nowhere/execute.yaml; for ",
    ),
    "template of endless name": (
        f"{{a: {{type: local, directory: n, template: {'b' * 300}}}}}",
        "FILE:2: clouds.a.template: there is no bbb",
    ),
    "flavors alike": (
        "{a: {type: local, directory: n, flavors: [{name: s}, {name: s}]}}",
        "FILE:2: clouds.a.flavors: two flavors are called s",
    ),
    "flavor without name": (
        "{a: {type: local, directory: n, flavors: [{name: s}, {cpus: 2}]}}",
        "FILE:2: clouds.a.flavors[1].name: is missing: its name",
    ),
    "huge memory": (
        f"{{a: {{type: local, directory: n, quota: {{memory: {'9' * 400} GB}}}}}}",
        "FILE:2: clouds.a.quota.memory: must be an amount such as 2048 (MB) or 2 GB, at least 0, not '999",
    ),
    "option twice": ("{a: {type: local, directory: n, user: b, user: c}}", "FILE:2: clouds.a.user: is given twice"),
}


@pytest.mark.parametrize("name", CLOUD_FAULTS)
def test_fault_of_a_cloud(file: Path, name: str) -> None:
    text, wanted = CLOUD_FAULTS[name]
    (said,) = faults_of(file, f"pool: demo\nclouds: {text}\nrecord: {{path: s.json}}\n")
    assert said.startswith(wanted)


def test_every_fault_is_named_at_once(file: Path) -> None:
    said = faults_of(file, "pol: demo\nscaling: {nodes_min: 20, nodes_spare: 30}\ncondor: {domain: [1]}\ndeadline: 0\n")
    places = [re.match(r"(FILE:\d+): ([a-z_.]+): ", line) for line in said]
    assert sorted(place.groups() for place in places if place) == [
        ("FILE:1", "clouds"),
        ("FILE:1", "pol"),
        ("FILE:1", "pool"),
        ("FILE:2", "scaling.nodes_min"),
        ("FILE:2", "scaling.nodes_spare"),
        ("FILE:3", "condor.domain"),
        ("FILE:4", "deadline"),
    ]


def test_template_faults_come_with_the_others(file: Path) -> None:
    (file.parent / "a.yaml").write_text("#cloud-config\nruncmd: ['{node} {nobody_fills}']\n")
    (file.parent / "b.yaml").write_text("runcmd: []\n")
    clouds = "".join(f"  {name}: {{type: local, directory: n, template: {name}.yaml}}\n" for name in "abc")
    said = faults_of(file, f"pool: UPPER\nclouds:\n{clouds}record: {{path: s.json}}\n")
    assert [line.partition(": ")[0].rpartition("/")[2] for line in said] == ["FILE:1", "a.yaml", "b.yaml", "FILE:5"]
    assert "{nobody_fills}: nothing fills this tag; known are cloud, collector," in said[1]
    assert "is no cloud-config" in said[2]


# Places


def test_record_below_a_file_cannot_be_written(file: Path) -> None:
    program = file.parent / "program"
    program.touch(0o777)
    (said,) = faults_of(file, WITHOUT_RECORD + "record:\n  path: program/deeper/state.json\n")
    assert re.match(rf"FILE:7: record.path: .*/state.json cannot be written: {program} is not a folder", said)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/", "/ is a directory; name a file"),
        (".", "is a directory; name a file"),
        ("/dev/null", "/dev/null is there and is no state file"),
        ("ehos.yaml", "FILE is there and is no state file; name a file of its own"),
        ("x" * 300, "cannot be used: File name too long"),
    ],
)
def test_record_that_is_something_else_is_refused(file: Path, path: str, why: str) -> None:
    """Writing replaces the file: /dev/null, or the configuration itself."""
    (said,) = faults_of(file, WITHOUT_RECORD + f"record:\n  path: {path}\n")
    assert said.startswith("FILE:7: record.path: ")
    assert why in said


def test_record_in_a_folder_of_others_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    (said,) = faults_of(file, GOOD)
    assert "is not a folder that this user may write to" in said


def test_secrets_must_not_be_readable_by_everybody(file: Path) -> None:
    text = GOOD + "template_values: {password: hunter2}\n"
    assert load_text(file, text, 0o640).template_values == {"password": "hunter2"}
    (said,) = faults_of(file, text, 0o644)
    assert said == "FILE: holds a secret (template_values) and is readable by everybody (mode 0644); chmod 640 FILE"
    assert load_text(file, GOOD + "template_values: {}\n", 0o644).template_values == {}


def test_password_of_a_cloud_is_a_secret(file: Path) -> None:
    text = "pool: demo\nclouds:\n  far: {type: openstack, image: i, flavors: [f], password: %s}\n"
    said = faults_of(file, text % "[hunter2]" + "record: {path: s.json}\n")
    assert said[0] == "FILE:3: clouds.far.password: must be text, not a list"
    assert said[1].startswith("FILE: holds a secret (clouds.far.password) and is readable by everybody")
    said = faults_of(file, text % r'"hunter2\u2028"', 0o600)
    assert said[0] == "FILE:3: clouds.far.password: must be text, not what is given"


@pytest.mark.parametrize("text", ["hunter2", "{password: [hunter2]}", r'{password: "hunter2\a"}', "[hunter2]"])
def test_secrets_are_not_repeated_in_faults(file: Path, text: str) -> None:
    said = faults_of(file, f"{GOOD}template_values: {text}\n")
    assert len(said) == 2  # readable by everybody, and no text
    assert not any("hunter2" in line for line in said)


def test_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FixConfiguration, match="is a directory; name the file in it"):
        load(tmp_path)


def test_file_that_leads_nowhere(file: Path) -> None:
    file.symlink_to(file.parent / "gone")
    with pytest.raises(FixConfiguration, match="cannot be read: No such file or directory"):
        load(file)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_of_others(file: Path) -> None:
    with pytest.raises(FixConfiguration, match="cannot be read: Permission denied"):
        load_text(file, GOOD, 0o000)


def test_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(FixConfiguration, match="larger than 1 MB"):
        load(Path("/dev/zero"))


# The search


def test_first_folder_with_a_file_counts_and_a_given_file_wins(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders[1:]:
        folder.mkdir()
        (folder / "ehos.yaml").touch()
    assert find(None, folders) == folders[1] / "ehos.yaml"
    assert find(Path("mine.yaml"), folders) == Path("mine.yaml")


def test_file_that_cannot_be_read_is_found_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "ehos.yaml").symlink_to("gone")
    assert find(None, [tmp_path]) == tmp_path / "ehos.yaml"


def test_no_file_anywhere_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FixConfiguration, match=f"there is none in {tmp_path}; write one with") as caught:
        find(None, [tmp_path])
    assert caught.value.exit_code == 2


def test_folders_are_those_of_ehos() -> None:
    assert [str(folder) for folder in FOLDERS[:4]] == [
        "/etc/ehos", "/usr/local/etc/ehos", "/usr/share/ehos", "/usr/local/share/ehos",
    ]  # fmt: skip
    assert template_folders(Path("/a/b.yaml"))[:2] == [Path("/a"), Path("/etc/ehos")]

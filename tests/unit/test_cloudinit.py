"""Templates: tags are filled, everything else stays, and no value leaves its place."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ehoslite.cloudinit import NODE_TAGS, check_template, read_template, tags_in, user_data
from ehoslite.errors import FixConfiguration
from ehoslite.yamlfile import has_control

EXECUTE = Path(__file__).resolve().parents[2] / "cloud-init" / "execute.yaml"
HEAD = "#cloud-config\n"
VALUES = {name: f"the-{name.replace('_', '-')}" for name in NODE_TAGS}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the test writes its template."""
    return tmp_path / "template.yaml"


def write(file: Path, text: str | bytes) -> Path:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def fill(template: Any, **values: str) -> Any:
    """The filled template as the node parses it."""
    return yaml.safe_load(user_data(template, values, Path("template.yaml")))


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{node}", "N"),
        ("ehos-{node}.{pool}", "ehos-N.P"),
        ("{node}{pool}", "NP"),
        ("slot_{node}_1", "slot_N_1"),
        ("a{node}b", "aNb"),
        ('{"name": {node}}', '{"name": N}'),
        ("{{node}}", "{node}"),
        ("{{node}} {node}", "{node} N"),
        ("{{{node}}}", "{{node}}"),
        ("${node}", "${node}"),
        ("${node:-1} ${NODE} $NODE", "${node:-1} ${NODE} $NODE"),
        ("$(STARTD_ATTRS) $(node)", "$(STARTD_ATTRS) $(node)"),
        ("{Node} {a,b} {} {1} { node }", "{Node} {a,b} {} {1} { node }"),
        ("${pool}{node}", "${pool}N"),
    ],
)
def test_tags_are_filled_and_nothing_else(text: str, filled: str) -> None:
    assert fill({"a": [text, {"b": text}]}, node="N", pool="P") == {"a": [filled, {"b": filled}]}


def test_filled_values_are_not_filled_again() -> None:
    assert fill({"a": "{node}"}, node="{pool}", pool="P") == {"a": "{pool}"}


def test_tags_in_names_what_wants_a_value() -> None:
    assert tags_in("{node} {{literal}} ${shell} {node}{pool}") == ["node", "node", "pool"]


def test_other_values_are_left_as_they_are() -> None:
    template = yaml.safe_load("{a: 1, b: yes, c: 0644, d: 2024-01-01, e: null, f: 1.5, g: [], h: {}, 7: x}")
    assert fill(template) == template


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\tb", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028", "\ud800"])
def test_control_characters_in_a_value_are_refused(value: str) -> None:
    with pytest.raises(
        FixConfiguration, match=r"template.yaml: \{token\}: its value has a line break or control"
    ) as got:
        fill({"a": "nothing to fill"}, token=f"secret{value}")
    assert "secret" not in str(got.value)


def test_tag_without_value_is_refused() -> None:
    with pytest.raises(FixConfiguration, match=r"template.yaml: \{pool\}: nothing fills this tag"):
        fill({"a": ["{node} {pool}"]}, node="N")


printable = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")))
hostile = printable | st.sampled_from(
    ["yes", "null", "~", "1e3", "0644", "- a", "a: b", "{a: b}", "&a", "*a", "!!python/object:os.x", "#cloud-config",
     "'", '"', "\\", "%TAG", "---", "...", "|", ">", "<<", "=", " ", "", "{token}", "\xa0", "x" * 5000, ": " * 3000]
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(value=hostile, before=printable, after=printable)
def test_no_value_leaves_its_place(value: str, before: str, after: str) -> None:
    before, after = (re.sub(r"[{}$]", "", part) for part in (before, after))
    template = {"a": [{"b": f"{before}{{token}}{after}"}, "{token}"], "c": {"d": "{token}"}, "e": 1}
    text = user_data(template, {"token": value}, Path("x"))
    assert yaml.safe_load(text) == {"a": [{"b": f"{before}{value}{after}"}, value], "c": {"d": value}, "e": 1}
    assert text.startswith(HEAD)


# Reading

BAD = {
    "no header": (b"a: 1\n", "is no cloud-config: its first line must be #cloud-config"),
    "script": (b"#!/bin/sh\necho\n", "is no cloud-config"),
    "list": (b"#cloud-config\n- a\n", "is no cloud-config"),
    "nothing": (b"#cloud-config\n", "is no cloud-config"),
    "empty": (b"", "is no cloud-config"),
    "bad yaml": (b"#cloud-config\na: [\n", r"template.yaml:3: not valid YAML"),
    "not utf-8": (b"#cloud-config\na: \xff\n", r"template.yaml:2: not UTF-8"),
    "month 13": (b"#cloud-config\na: 2024-13-01\n", "has a value that YAML cannot read: month must be"),
    "no truth": (b"#cloud-config\na: !!bool maybe\n", "has a value that YAML cannot read"),
    "unknown tag": (b"#cloud-config\na: !include b\n", r"template.yaml:2: not valid YAML: could not determine"),
    "object": (b"#cloud-config\na: !!python/object:os.x {}\n", "not valid YAML: could not determine a constructor"),
    "recursive": (b"#cloud-config\na: &x [*x]\n", "nested deeper than 50 levels: does an alias"),
    "deep": (b"#cloud-config\na: " + b"[" * 100_000, "nested deeper than 50 levels"),
    "laughs": (
        b"#cloud-config\na0: &a0 [1]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b"*a%d," % (n - 1) * 9) for n in range(1, 9)),
        "holds more than 100000 values",
    ),
    "large": (HEAD.encode() + b"#" * 1_000_000, "is larger than 1 MB"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_unusable_template_is_one_clear_fault(file: Path, name: str) -> None:
    content, wanted = BAD[name]
    with pytest.raises(FixConfiguration, match=wanted) as caught:
        read_template(write(file, content))
    assert str(file) in str(caught.value)
    assert check_template(file, {}) == list(caught.value.faults)


def test_missing_template_is_a_fault(file: Path) -> None:
    (fault,) = check_template(file, {})
    assert str(fault) == f"{file}: cannot be read: No such file or directory"


def test_unknown_tags_are_faults_once_each(file: Path) -> None:
    write(file, HEAD + "a: ['{mine}', '{node} {other} {other}', '{{literal}}', '${shell}']\nb: {c: '{third}'}\n")
    faults = check_template(file, {"mine": "x"})
    assert [fault.path for fault in faults] == ["{other}", "{third}"]
    assert "known are cloud, collector, domain, flavor, lease, mine, node, " in faults[0].what


def test_tags_in_names_are_faults(file: Path) -> None:
    (fault,) = check_template(write(file, HEAD + "a: [{'{node}': 1}]\n"), {})
    assert fault.path == "{node}"
    assert "in the name of an option is not filled" in fault.what


def test_aliases_of_a_template_are_written_out(file: Path) -> None:
    template = read_template(write(file, HEAD + "a: &x ['{node}']\nb: *x\nc: {<<: &y {d: 1}, e: 2}\n"))
    assert fill(template, node="N") == {"a": ["N"], "b": ["N"], "c": {"d": 1, "e": 2}}
    assert "&" not in user_data(template, {"node": "N"}, file)


# The template that we ship


@pytest.fixture
def files() -> dict[str, dict[str, Any]]:
    """The files that our template writes on a node, by path."""
    filled = fill(read_template(EXECUTE), **VALUES)
    return {entry["path"]: entry for entry in filled["write_files"]}


def condor_settings(files: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The HTCondor configuration among them, up to what depends on the lease."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    always, _, _ = files["/etc/condor/config.d/50-ehoslite.conf"]["content"].partition("\nif ")
    parser.read_string("[all]\n" + always)
    return dict(parser["all"])


def test_our_template_has_no_faults() -> None:
    assert check_template(EXECUTE, {}) == []


def test_our_template_names_every_tag_and_no_other() -> None:
    comment = "".join(line for line in EXECUTE.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert set(tags_in(comment)) == {*NODE_TAGS, "tag", "tags"}  # the last two speak of tags


def test_our_template_lets_jobs_end_before_a_drain_kills(files: dict[str, dict[str, Any]]) -> None:
    assert condor_settings(files)["MAXJOBRETIREMENTTIME"] == VALUES["retirement"]


def test_our_template_makes_the_node_known(files: dict[str, dict[str, Any]]) -> None:
    known = condor_settings(files)
    for name in ("node", "pool", "cloud", "flavor"):
        attribute = f"Ehos{name.capitalize()}"
        assert known[attribute] == f'"{VALUES[name]}"'
        assert attribute in known["STARTD_ATTRS"].split()
        assert attribute in known["MASTER_ATTRS"].split()
    assert "$(STARTD_ATTRS)" in known["STARTD_ATTRS"]
    assert known["COLLECTOR_HOST"] == VALUES["collector"]
    assert known["TRUST_DOMAIN"] == VALUES["domain"]
    assert known["NETWORK_HOSTNAME"] == f"{VALUES['node']}.{VALUES['node_domain']}"


def test_our_template_keeps_the_token_to_root(files: dict[str, dict[str, Any]]) -> None:
    (entry,) = [entry for entry in files.values() if VALUES["token"] in entry["content"]]
    assert entry["path"] == "/etc/condor/tokens.d/ehoslite"
    assert int(entry["permissions"], 8) == 0o600
    assert entry["content"] == VALUES["token"] + "\n"


def test_our_template_keeps_shell_and_macros() -> None:
    filled = fill(read_template(EXECUTE), **VALUES)
    assert "$UPTIME" in filled["final_message"]
    assert not tags_in(yaml.safe_dump(filled))


def test_has_control() -> None:
    assert not has_control("Grüße, 世界 \xa0 {}\\'\"")
    assert has_control("a\x9bb")

"""The reader of YAML: one pass over the file, and nothing told of what it skips."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from builder.matrix.yaml_nodes import Report
from builder.matrix.yaml_reader import load

FAULTS = {
    # What stands below a key that does not count is passed over, and what follows is read.
    "a: 1\na: {b: ~, b: 2}\nc: ~\n": ["2:1: 'a' is a duplicate key", "3:4: there is no value"],
    "? [~]\n: {b: ~}\nc: ~\n": ["1:3: a key that is not text", "3:4: there is no value"],
    # What hides a value is told alone.
    "a: ~\na: &x 1\n": ["2:4: an anchor (&x)"],
    "? &x [y]\n: *x\n": ["1:3: an anchor (&x)", "2:3: an alias (*x)"],
    "a: 1\n---\nb: !t ~\n": ["2:1: a second YAML document", "3:4: a YAML tag (!t)"],
}


@pytest.mark.parametrize(("text", "faults"), FAULTS.items())
def test_what_it_tells(text: str, faults: list[str], tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text, "utf-8")
    report = Report()
    load(path, report)
    found = {f"{p.line}:{p.column}: {p.message}" for p in report.problems}
    assert found == set(faults)


def test_a_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    parsed: list[str] = []

    class Counting(loader):  # type: ignore[misc,valid-type]
        def __init__(self, content: str) -> None:
            parsed.append(content)
            super().__init__(content)

    monkeypatch.setattr(yaml, "CSafeLoader", Counting)
    path = tmp_path / "m.yaml"
    path.write_text("a: [b, {c: d}]\n", "utf-8")
    assert load(path, Report())
    assert parsed == ["a: [b, {c: d}]\n"]


def test_without_libyaml_it_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("a: [b, {c: 'd'}]\ne: |\n  f\n", "utf-8")
    ours = load(path, Report())
    assert ours
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert load(path, Report()) == ours

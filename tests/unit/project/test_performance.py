"""docs/performance.md: sections that benches write, each in its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.__main__ import BENCHES, ON_AN_ENGINE


def test_each_section_is_of_a_bench() -> None:
    text = page.PAGE.read_text("utf-8")
    names = re.findall(r"^<!-- Written by `python -m benchmarks (\w+) --write`. -->$", text, re.M)
    assert len(names) == len(set(names)) == text.count(page.END)
    assert {"scaling"} <= set(names) <= BENCHES.keys() | ON_AN_ENGINE.keys()


def test_a_section_takes_the_place_of_the_former_one() -> None:
    text = "# Page\n"
    for name, heading in (("a", "A"), ("b", "B")):
        text = page.with_section(text, name, (heading, f"{name} 1 s\n"))
    changed = page.with_section(text, "a", ("A", "a 2 s\n"))
    assert changed == text.replace("a 1 s", "a 2 s")
    assert changed.index("## A") < changed.index("## B")
    assert page.with_section(changed, "a", ("A", "a 2 s\n")) == changed


def test_what_stands_between_sections_stays() -> None:
    text = page.with_section("# Page\n", "a", ("A", "1 s\n")) + "\nBy hand.\n"
    text = page.with_section(text, "b", ("B", "1 s\n"))
    assert "\nBy hand.\n" in page.with_section(text, "a", ("A", "2 s\n"))


def test_it_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    page.write("a", ("A", page.markdown(["x", "y"], [["1", "2"]])))
    text = (tmp_path / "performance.md").read_text("utf-8")
    assert text.startswith("# Performance\n")
    assert "## A\n\n| x | y |\n|---|---|\n| 1 | 2 |\n" in text


def test_the_machine_is_named() -> None:
    assert re.search(r"^On \d{4}-\d\d-\d\d.*: \d+ cores \(.+\), load [\d.]+ ", page.machine())

"""Upgrades written into a matrix: each in its place, and all else stays."""

from __future__ import annotations

import dataclasses
import datetime
import tempfile
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import MatrixError
from builder.locks.upgrades import parse_upgrade
from builder.matrix.format import Upgrade
from builder.matrix.targets import load_targets
from builder.matrix.yaml_nodes import Position, Text
from tests.unit.corpus import SMALL, with_upgrade

TODAY = datetime.date(2023, 5, 1)
UNTIL = datetime.date(2024, 5, 1)
AT = Position(file="--upgrade", line=1, column=1)
PILLOW = Upgrade(
    package=Text("pillow", AT), version="9.3.0", date=TODAY, reason="CVE-2022-45198", until=UNTIL
)
ITEM = """\
  - package: pillow
    version: 9.3.0
    date: 2023-05-01
    reason: "CVE-2022-45198"
    until: 2024-05-01
"""
INTRODUCTION = """
# Packages that are newer than a lock's date allows, each with its reason and the day on which to
# look again; `dlc lock --upgrade` writes them.
upgrades:
"""
BEFORE, RELEASES = SMALL.partition("releases:\n")[0], SMALL[SMALL.index("releases:\n") :]
NUMPY = """\
  - package: numpy
    date: 2022-07-01
    reason: a buffer overflow
    until: 2023-07-01
"""


def parse(text: str, *, reason: str = "CVE-2022-45198", until: datetime.date = UNTIL) -> Upgrade:
    return parse_upgrade(text, reason=reason, until=until, today=TODAY)


def read(matrix: str) -> tuple[Upgrade, ...]:
    """The upgrades of a matrix."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "matrix.yaml")
        path.write_bytes(matrix.encode())
        return load_targets(path, name="m")[0].upgrades


def test_a_first_upgrade_gets_a_section_at_the_end() -> None:
    assert with_upgrade(SMALL, PILLOW) == SMALL + INTRODUCTION + ITEM
    assert [*read(SMALL + INTRODUCTION + ITEM)] == [PILLOW]


def test_a_file_without_a_last_line_break() -> None:
    assert with_upgrade(SMALL.rstrip("\n"), PILLOW) == SMALL + INTRODUCTION + ITEM
    one = SMALL + INTRODUCTION + NUMPY
    assert with_upgrade(one.rstrip("\n"), PILLOW) == one + ITEM
    old = SMALL + INTRODUCTION + ITEM.replace("9.3.0", "9.2.0")
    assert with_upgrade(old.rstrip("\n"), PILLOW) == SMALL + INTRODUCTION + ITEM


def test_to_the_newest() -> None:
    newest = dataclasses.replace(PILLOW, version=None)
    text = with_upgrade(SMALL, newest)
    assert text == SMALL + INTRODUCTION + ITEM.replace("    version: 9.3.0\n", "")
    assert [*read(text)] == [newest]


@pytest.mark.parametrize(
    "section",
    [
        f"upgrades:\n{NUMPY}",
        f"upgrades: # why\n\n  # The first.\n{NUMPY}",
        f"upgrades:\n{NUMPY}\n# In between.\n{NUMPY.replace('numpy', 'scipy')}",
        f"upgrades:\n{NUMPY}    # More about numpy.\n",
    ],
    ids=["plain", "with comments", "two", "comment at the end"],
)
@pytest.mark.parametrize(
    "after",
    [
        RELEASES,
        "\n" + RELEASES,
        "# All releases.\n" + RELEASES,
        "\n\n# All releases.\n\n# Really.\n" + RELEASES,
    ],
    ids=["section", "blank line", "comment", "comments"],
)
def test_a_further_upgrade_comes_last_in_its_section(section: str, after: str) -> None:
    text = with_upgrade(BEFORE + section + after, PILLOW)
    assert text == BEFORE + section + ITEM + after
    assert read(text)[-1] == PILLOW


@pytest.mark.parametrize("after", ["", "\n", "\n# The end.\n"])
def test_and_in_the_file(after: str) -> None:
    before = f"{SMALL}upgrades:\n{NUMPY}"
    assert with_upgrade(before + after, PILLOW) == before + ITEM + after


OLD = {
    "plain": ITEM.replace("9.3.0", "9.2.0"),
    "other order": """\
  - package: pillow
    until: 2024-01-01
    reason: CVE-2022-1
    date: 2023-01-01
""",
    "folded": """\
  - package: pillow  # an image library
    date: 2023-01-01
    reason: CVE-2022-1, of which
      little is known
    until: 2024-01-01
""",
    "in braces": "  - {package: pillow, date: 2023-01-01, reason: 'a: b', until: 2024-01-01}\n",
    "in braces on two lines": """\
  - {package: pillow, date: 2023-01-01,
     reason: CVE-2022-1, until: 2024-01-01}
""",
}


@pytest.mark.parametrize("old", OLD.values(), ids=OLD)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        (NUMPY, ""),
        ("", NUMPY),
        (f"  # One.\n{NUMPY}\n  # Two.\n", f"\n  # Three.\n{NUMPY.replace('numpy', 'scipy')}"),
    ],
    ids=["alone", "last", "first", "between"],
)
def test_an_upgrade_is_replaced_where_it_is(old: str, before: str, after: str) -> None:
    matrix = f"{BEFORE}upgrades:\n{before}{old}{after}\n# All.\n{RELEASES}"
    text = with_upgrade(matrix, PILLOW)
    assert text == f"{BEFORE}upgrades:\n{before}{ITEM}{after}\n# All.\n{RELEASES}"
    assert PILLOW in read(text)


def test_line_breaks_are_those_of_the_file() -> None:
    one = f"{BEFORE}upgrades:\n{NUMPY}\n{RELEASES}"
    windows = one.replace("\n", "\r\n")
    text = with_upgrade(windows, PILLOW)
    assert text == with_upgrade(one, PILLOW).replace("\n", "\r\n")
    again = dataclasses.replace(PILLOW, version="9.4.0")
    assert with_upgrade(text, again) == text.replace("9.3.0", "9.4.0")
    first = with_upgrade(SMALL.replace("\n", "\r\n"), PILLOW)
    assert first == (SMALL + INTRODUCTION + ITEM).replace("\n", "\r\n")


@pytest.mark.parametrize(
    "reason",
    [
        'he said "no"',
        "it's: 'no'",
        "a: b # c",
        "- one",
        "{x: [y]} & *z !t %d @e `f`",
        "C:\\new\\table",
        "null",
        "2023-05-01",
        "Überlauf, 溢出, 🐍",
        "x" * 2000,
    ],
)
def test_reasons(reason: str) -> None:
    upgrade = parse("pillow==9.3.0", reason=reason)
    text = with_upgrade(SMALL, upgrade)
    assert [*read(text)] == [upgrade]
    assert reason in text.replace("\\\\", "\\").replace('\\"', '"')


REASONS = st.text(
    st.characters(
        blacklist_categories=("Cc", "Cs", "Zl", "Zp"), blacklist_characters="\ufeff\ufffe\uffff"
    ),
    min_size=1,
).filter(lambda text: bool(text.strip()))
VERSIONS = st.one_of(
    st.none(),
    st.builds(
        "{}{}".format,
        st.lists(st.integers(0, 9999), min_size=1, max_size=4).map(
            lambda parts: ".".join(map(str, parts))
        ),
        st.sampled_from(["", "a1", "b22", "rc3", ".post4", ".dev5", "rc6.post7.dev8"]),
    ),
)
PACKAGES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,6}[A-Za-z0-9])?", fullmatch=True).filter(
    # Which YAML reads as nothing.
    lambda name: name.lower() not in ("null", "numpy")
)
DAYS = st.dates(datetime.date(2023, 5, 2), datetime.date(2099, 12, 31))


@given(PACKAGES, VERSIONS, VERSIONS, REASONS, REASONS, DAYS)
def test_what_is_written_is_read(
    package: str,
    version: str | None,
    other: str | None,
    reason: str,
    another: str,
    until: datetime.date,
) -> None:
    matrix = f"{BEFORE}upgrades:\n{NUMPY}\n# All.\n{RELEASES}"
    upgrade = parse(f"{package}=={version}" if version else package, reason=reason, until=until)
    text = with_upgrade(matrix, upgrade)
    numpy, found = read(text)
    assert (numpy, found) == (read(matrix)[0], upgrade)
    assert text.startswith(f"{BEFORE}upgrades:\n{NUMPY}")
    assert text.endswith(f"\n\n# All.\n{RELEASES}")

    second = parse(f"{package}=={other}" if other else package, reason=another, until=until)
    replaced = with_upgrade(text, second)
    assert replaced == with_upgrade(matrix, second)
    assert [*read(replaced)] == [numpy, second]


FIELDS = "date: 2022-07-01, reason: a buffer overflow, until: 2023-07-01"
FIRST = [f"{word}\n" for word in ("date: 2022-07-01", "reason: first", "until: 2023-07-01")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            f"'upgrades':\n  - {{package: numpy, {FIELDS}}}\n",
            f"'upgrades':\n  - {{package: numpy, {FIELDS}}}\n{ITEM}",
        ),
        (
            f"upgrades:\n    - {{package: numpy, {FIELDS}}}\n",
            f"upgrades:\n    - {{package: numpy, {FIELDS}}}\n{textwrap.indent(ITEM, '  ')}",
        ),
        (
            f"upgrades:\n- {{package: numpy, {FIELDS}}}\n# The end.\n",
            f"upgrades:\n- {{package: numpy, {FIELDS}}}\n{textwrap.dedent(ITEM)}# The end.\n",
        ),
        (
            f"upgrades:\n    - package: pillow\n      {'      '.join(FIRST)}"
            f"    - {{package: numpy, {FIELDS}}}\n",
            f"upgrades:\n{textwrap.indent(ITEM, '  ')}    - {{package: numpy, {FIELDS}}}\n",
        ),
        (f"upgrades:\n  - {FIRST[0]}    package: pillow\n    {FIRST[1]}    {FIRST[2]}", None),
        (f"upgrades:\n  - package: pillow\n    {FIRST[0]}\n    {FIRST[1]}    {FIRST[2]}", None),
        ("...\n", f"{INTRODUCTION}{ITEM}...\n"),
        ("# The end.\n", f"# The end.\n{INTRODUCTION}{ITEM}"),
    ],
    ids=[
        "quoted key",
        "four spaces in",
        "at the margin",
        "the same four spaces in",
        "the same, its name second",
        "the same with a blank line in it",
        "end of document",
        "a comment at the end",
    ],
)
def test_other_layouts(before: str, after: str | None) -> None:
    text = with_upgrade(SMALL + before, PILLOW)
    assert text == SMALL + (f"upgrades:\n{ITEM}" if after is None else after)
    assert PILLOW in read(text)


@pytest.mark.parametrize(
    "upgrades",
    [
        "upgrades: []\n",
        f"upgrades: [{{package: numpy, {FIELDS}}}]\n",
        f"upgrades: [\n  {{package: pillow, {FIELDS}}}\n]\n",
    ],
)
def test_brackets_are_refused(upgrades: str) -> None:
    with pytest.raises(MatrixError) as caught:
        with_upgrade(SMALL + upgrades, PILLOW)
    [problem] = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("m", SMALL.count("\n") + 1, 11)
    assert problem.message == "a list in brackets cannot be added to here"


def test_an_item_below_its_dash_is_refused() -> None:
    text = f"{SMALL}upgrades:\n  -\n    package: pillow\n    {'    '.join(FIRST)}"
    assert read(text)[0].package == "pillow"
    with pytest.raises(MatrixError, match="an upgrade that begins below its dash"):
        with_upgrade(text, PILLOW)

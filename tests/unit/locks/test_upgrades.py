"""Upgrades: read from the command line, written into a matrix, looked at again."""

from __future__ import annotations

import dataclasses
import datetime
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import ArgumentError
from builder.locks.lockfile import State
from builder.locks.upgrades import findings, parse_upgrade, with_upgrade
from builder.matrix.format import Upgrade
from builder.matrix.targets import load_targets
from builder.matrix.yaml_nodes import Position, Text
from tests.unit.corpus import SMALL

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


# From the command line


@pytest.mark.parametrize(
    ("text", "package", "version"),
    [
        ("pillow==9.3.0", "pillow", "9.3.0"),
        ("pillow", "pillow", None),
        (" pillow == 9.3.0 ", "pillow", "9.3.0"),
        ("Ruamel.YAML_clib==0.2", "ruamel-yaml-clib", "0.2"),
        ("pillow==9", "pillow", "9"),
        ("pillow==v9.3.0", "pillow", "9.3.0"),
        ("pillow==9.3.0RC1", "pillow", "9.3.0rc1"),
        ("pillow==9.3.0-1", "pillow", "9.3.0.post1"),
        ("pillow==9.3.dev4", "pillow", "9.3.dev4"),
    ],
)
def test_reading(text: str, package: str, version: str | None) -> None:
    found = parse(text)
    assert found == dataclasses.replace(PILLOW, package=package, version=version)
    assert read(with_upgrade(SMALL, found, None))[0].requirement == found.requirement


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pillow=9.3.0",
        "pillow>=9.3.0",
        "pillow!=9.3.0",
        "pillow~=9.3",
        "pillow===9.3.0",
        "pillow==9.*",
        "pillow==9.3.0,<10",
        "pillow==9.3.0,==9.3.1",
        "pillow[xmp]==9.3.0",
        "pillow==9.3.0; python_version < '3.9'",
        "pillow @ https://host/pillow-9.3.0-py3-none-any.whl",
        "pillow==9.3.0 numpy==1.22.0",
        # What a matrix cannot say.
        "pillow==1!9.3.0",
        "pillow==9.3.0+local",
    ],
)
def test_what_is_no_package_and_version(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse(text)
    assert str(caught.value) == (
        f"{text!r} is not PACKAGE[==VERSION]; write one like pillow==9.3.0"
    )


@pytest.mark.parametrize("until", [TODAY, TODAY - datetime.timedelta(days=1)])
def test_an_end_that_is_not_ahead(until: datetime.date) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse("pillow", until=until)
    assert (
        str(caught.value)
        == f"--until {until} is not in the future; give the day of the next review"
    )
    assert parse("pillow", until=TODAY + datetime.timedelta(days=1)).until.day == 2


@pytest.mark.parametrize(
    "reason",
    ["", "  ", "\n", "one\ntwo", "one\rtwo", "a bell \x07", "one\x85two", "one\u2028two", "\udc80"],
    ids=repr,
)
def test_what_is_no_line_of_text(reason: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse("pillow", reason=reason)
    assert str(caught.value) == (
        "--reason is not one line of text; name the advisory, like CVE-..."
    )


def test_a_reason_has_no_margins() -> None:
    assert parse("pillow", reason="  CVE-1: see there \n").reason == "CVE-1: see there"


# Into a matrix


def test_a_first_upgrade_gets_a_section_at_the_end() -> None:
    assert with_upgrade(SMALL, PILLOW, None) == SMALL + INTRODUCTION + ITEM
    assert [*read(SMALL + INTRODUCTION + ITEM)] == [PILLOW]


def test_a_file_without_a_last_line_break() -> None:
    assert with_upgrade(SMALL.rstrip("\n"), PILLOW, None) == SMALL + INTRODUCTION + ITEM
    one = SMALL + INTRODUCTION + NUMPY
    assert with_upgrade(one.rstrip("\n"), PILLOW, None) == one + ITEM
    [numpy] = read(one)
    assert with_upgrade(one.rstrip("\n"), PILLOW, numpy) == SMALL + INTRODUCTION + ITEM


def test_to_the_newest() -> None:
    newest = dataclasses.replace(PILLOW, version=None)
    text = with_upgrade(SMALL, newest, None)
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
    text = with_upgrade(BEFORE + section + after, PILLOW, None)
    assert text == BEFORE + section + ITEM + after
    assert read(text)[-1] == PILLOW


@pytest.mark.parametrize("after", ["", "\n", "\n# The end.\n"])
def test_and_in_the_file(after: str) -> None:
    before = f"{SMALL}upgrades:\n{NUMPY}"
    assert with_upgrade(before + after, PILLOW, None) == before + ITEM + after


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
    [replaced] = (upgrade for upgrade in read(matrix) if upgrade.package == "pillow")
    text = with_upgrade(matrix, PILLOW, replaced)
    assert text == f"{BEFORE}upgrades:\n{before}{ITEM}{after}\n# All.\n{RELEASES}"
    assert PILLOW in read(text)


def test_line_breaks_are_those_of_the_file() -> None:
    one = f"{BEFORE}upgrades:\n{NUMPY}\n{RELEASES}"
    windows = one.replace("\n", "\r\n")
    text = with_upgrade(windows, PILLOW, None)
    assert text == with_upgrade(one, PILLOW, None).replace("\n", "\r\n")
    again = dataclasses.replace(PILLOW, version="9.4.0")
    assert with_upgrade(text, again, read(text)[1]) == text.replace("9.3.0", "9.4.0")
    first = with_upgrade(SMALL.replace("\n", "\r\n"), PILLOW, None)
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
    text = with_upgrade(SMALL, upgrade, None)
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
    text = with_upgrade(matrix, upgrade, None)
    numpy, found = read(text)
    assert (numpy, found) == (read(matrix)[0], upgrade)
    assert text.startswith(f"{BEFORE}upgrades:\n{NUMPY}")
    assert text.endswith(f"\n\n# All.\n{RELEASES}")

    second = parse(f"{package}=={other}" if other else package, reason=another, until=until)
    replaced = with_upgrade(text, second, found)
    assert replaced == with_upgrade(matrix, second, None)
    assert [*read(replaced)] == [numpy, second]


# Looked at again

LINE = Position(file="matrix.yaml", line=7, column=14)
SAID = dataclasses.replace(PILLOW, package=Text("pillow", LINE))


def state(
    lifted: Mapping[str, str] = {}, kept: Mapping[str, str] = {}, stale: Mapping[str, str] = {}
) -> State:
    return State(stale=stale, requirements=9, unhashed={}, lifted=lifted, kept=kept)


LIFTS = state(lifted={"pillow": "9.2.0 to 9.3.0"})
KEEPS = state(kept={"pillow": "9.2.0, the rest bears no newer one"})
STALE = state(stale={"libraries": "stale"})
NEXT = UNTIL + datetime.timedelta(days=1)
EXPIRED = (
    "matrix.yaml:7: the upgrade of pillow (CVE-2022-45198) expired on 2024-05-01; "
    "extend it or remove it"
)
IDLE = "matrix.yaml:7: the upgrade of pillow lifts nothing any more; remove it"


@pytest.mark.parametrize(
    ("states", "today", "messages"),
    [
        ([LIFTS], UNTIL, []),
        ([state(), LIFTS, KEEPS], UNTIL, []),
        ([LIFTS], NEXT, [EXPIRED]),
        ([state(), KEEPS], UNTIL, [IDLE]),
        ([state()], NEXT, [EXPIRED, IDLE]),
        ([], UNTIL, [IDLE]),
        # It may yet lift something there.
        ([state(), STALE], UNTIL, []),
        ([STALE], NEXT, [EXPIRED]),
    ],
    ids=[
        "good",
        "good for one",
        "expired",
        "idle",
        "both",
        "no locks",
        "not locked yet",
        "expired before it was locked",
    ],
)
def test_findings(states: list[State], today: datetime.date, messages: list[str]) -> None:
    assert [*map(str, findings([SAID], iter(states), today))] == messages


def test_findings_are_of_each_upgrade_by_itself() -> None:
    later = dataclasses.replace(SAID, package=Text("numpy", LINE), until=NEXT)
    found = findings([SAID, later], [LIFTS], NEXT)
    assert [(finding.at, finding.message) for finding in found] == [
        (LINE, EXPIRED.removeprefix("matrix.yaml:7: ")),
        (LINE, "the upgrade of numpy lifts nothing any more; remove it"),
    ]
    assert findings([], [LIFTS], NEXT) == []

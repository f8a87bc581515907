"""Upgrades: read from the command line, looked at again."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

import pytest

from builder.errors import ArgumentError
from builder.locks.freshness import State
from builder.locks.upgrades import findings, parse_upgrade
from builder.matrix.format import Upgrade
from builder.matrix.yaml_nodes import Position, Text

TODAY = datetime.date(2023, 5, 1)
UNTIL = datetime.date(2024, 5, 1)
AT = Position(file="--upgrade", line=1, column=1)
PILLOW = Upgrade(
    package=Text("pillow", AT), version="9.3.0", date=TODAY, reason="CVE-2022-45198", until=UNTIL
)


def parse(text: str, *, reason: str = "CVE-2022-45198", until: datetime.date = UNTIL) -> Upgrade:
    return parse_upgrade(text, reason=reason, until=until, today=TODAY)


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


# Looked at again

LINE = Position(file="matrix.yaml", line=7, column=14)
SAID = dataclasses.replace(PILLOW, package=Text("pillow", LINE))


def state(
    lifted: Mapping[str, str] = {}, kept: Mapping[str, str] = {}, stale: Mapping[str, str] = {}
) -> State:
    return State(texts={}, stale=stale, requirements=9, unhashed={}, lifted=lifted, kept=kept)


LIFTS = state(lifted={"pillow": "9.2.0 to 9.3.0"})
KEEPS = state(kept={"pillow": "9.2.0, a newer one conflicts with other pins"})
STALE = state(stale={"libraries": "stale"})
NEXT = UNTIL + datetime.timedelta(days=1)
EXPIRED = (
    "matrix.yaml:7: the upgrade of pillow (CVE-2022-45198) expired on 2024-05-01; "
    "extend it or remove it"
)
IDLE = "matrix.yaml:7: the upgrade of pillow no longer changes a lock; remove it"


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
        (LINE, "the upgrade of numpy no longer changes a lock; remove it"),
    ]
    assert findings([], [LIFTS], NEXT) == []

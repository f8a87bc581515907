"""docs/pins.md: what AWS's images pin, beside the locks."""

from __future__ import annotations

import pytest

from tools import pins
from tools.pins import Row, differences, fits, page


def test_the_page_is_up_to_date() -> None:
    """So every difference has a reason, and no reason is left over."""
    assert pins.current() == pins.PAGE.read_text("utf-8")


def test_every_reason_is_used() -> None:
    reasons, rows = pins.read()
    assert {*reasons} == {pins.NEWEST, *(why for row in rows for why in row.why.values())}


def row(pinned: dict[str, str], **why: str) -> Row:
    return Row(name="repository:tag", dockerfile="Dockerfile", commit="1a2b", pins=pinned, why=why)


def test_differences() -> None:
    pinned = {"older": "2.0", "newer": "1.0", "same": "1", "none": "*", "bound": "<2", "in": ">=1"}
    have = {"older": "1.0", "newer": "1.1", "same": "1.0", "bound": "2.1", "in": "3"}
    found = list(differences(row(pinned, older="a", none="b", bound="c"), have))
    assert [(each.package, each.ours, each.reason) for each in found] == [
        ("bound", "2.1", "c"),
        ("newer", "1.1", "newest"),
        ("none", None, "b"),
        ("older", "1.0", "a"),
    ]


def test_a_difference_without_a_reason_is_no_page() -> None:
    with pytest.raises(KeyError, match="none"):
        list(differences(row({"none": "1.0"}), {}))


def test_a_reason_that_nothing_needs() -> None:
    with pytest.raises(ValueError, match="repository:tag: no reason is needed for same"):
        list(differences(row({"same": "1.0"}, same="a"), {"same": "1.0"}))


def test_what_fits() -> None:
    assert fits("3.20.2", ">=3.19.5,<=3.20.2")
    assert not fits("2.6.0", "commit f0c3eb2")


def test_reasons_are_numbered_in_the_order_of_the_table() -> None:
    wanted = row({"b": "1.0", "c": "*"}, b="second", c="first")
    text = page({"first": "no wheel", "second": "other"}, [(wanted, list(differences(wanted, {})))])
    assert "| b | 1.0 | none | 1 |\n| c | any version | none | 2 |\n" in text
    assert text.endswith("Why:\n\n1. other\n2. no wheel\n")
    assert "`repository:tag`, [1a2b](" in text
    assert ": 0 of 2 agree\n" in text

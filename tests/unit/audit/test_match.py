"""Which versions an advisory is for, and in which it is fixed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from builder.audit.advisory import Database
from builder.audit.match import match
from builder.audit.names import project
from builder.audit.osv import advisory
from builder.errors import AdvisoryError
from tests.unit.audit.data import database, entry, events

RELEASES = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(lambda n: ".".join(map(str, n)))


def fixed_in(version: str, value: dict[str, Any], kind: str = "python") -> str | None:
    """The version that fixes it, empty if there is none; None if the advisory is not for it."""
    found = advisory(value, "test.json")
    assert found
    hit = match(kind, version, found, found.affected[0])
    return hit.fixed if hit else None


@pytest.mark.parametrize(
    ("version", "bounds", "fixed"),
    [
        ("1.0", ("introduced 0", "fixed 1.1"), "1.1"),
        ("1.1", ("introduced 0", "fixed 1.1"), None),
        ("1.1rc1", ("introduced 0", "fixed 1.1"), "1.1"),
        ("1.10", ("introduced 0", "fixed 1.9"), None),
        ("2.0+cu111", ("introduced 0", "last_affected 2.0"), ""),
        ("2.0.1", ("introduced 0", "last_affected 2.0"), None),
        ("2.0+cpu", ("introduced 0", "fixed 2.0"), None),
        ("1.5", ("introduced 0", "fixed 1.2", "introduced 1.4", "fixed 1.6"), "1.6"),
        ("1.3", ("introduced 0", "fixed 1.2", "introduced 1.4", "fixed 1.6"), None),
        # Bounds may stand in any order.
        ("1.5", ("fixed 1.6", "introduced 1.4", "fixed 1.2", "introduced 0"), "1.6"),
        ("9", ("introduced 1.4",), ""),
        ("1.0", ("introduced 1.4",), None),
        ("1.0", ("introduced 0", "limit 5"), ""),
    ],
)
def test_ranges(version: str, bounds: tuple[str, ...], fixed: str | None) -> None:
    assert fixed_in(version, entry("A-1", "x", *bounds)) == fixed


def test_versions_that_are_named() -> None:
    named = entry("A-1", "x", versions=["1.0", "1.2"])
    assert fixed_in("1.0.0", named) == ""
    assert fixed_in("1.1", named) is None
    both = entry("A-1", "x", "introduced 2", "fixed 2.1", versions=["1.0"])
    assert fixed_in("1.0", both) == "2.1"
    assert fixed_in("1.0-odd", entry("A-1", "x", versions=["1.0-odd"]), "binary") == ""


def test_the_rules_of_dpkg_and_maven() -> None:
    debian = entry(
        "D-1", "openssl", "introduced 0", "fixed 3.0.11-1~deb12u2", ecosystem="Debian:12"
    )
    assert fixed_in("3.0.11-1~deb12u1", debian, "system") == "3.0.11-1~deb12u2"
    assert fixed_in("3.0.11-1", debian, "system") is None
    assert fixed_in("3.00.11-1~deb12u2", debian, "system") is None, "zeros do not count"
    maven = entry("M-1", "io.netty:netty", "introduced 0", "fixed 4.1.94.Final", ecosystem="Maven")
    assert fixed_in("4.1.91.Final", maven, "java") == "4.1.94.Final"
    assert fixed_in("4.1.100.Final", maven, "java") is None


@given(mine=RELEASES, start=RELEASES, end=RELEASES, last=st.booleans())
def test_one_range_is_what_its_bounds_say(mine: str, start: str, end: str, last: bool) -> None:
    if Version(start) >= Version(end):
        return
    kind = "last_affected" if last else "fixed"
    value = entry("A-1", "x", f"introduced {start}", f"{kind} {end}")
    inside = Version(start) <= Version(mine) and (
        Version(mine) <= Version(end) if last else Version(mine) < Version(end)
    )
    assert (fixed_in(mine, value) is not None) == inside
    assert fixed_in(mine, value) in ((None,) if not inside else ("",) if last else (end,))


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        (("introduced 1", "fixed banana"), "bound fixed 'banana', which is no version"),
        (("introduced 0", "introduced 2", "fixed 3"), "begins at 0 and again at 2"),
        (("introduced 2", "fixed 1"), "ends at 1 unbegun"),
    ],
)
def test_nonsense_is_an_error(bounds: tuple[str, ...], told: str) -> None:
    with pytest.raises(AdvisoryError) as raised:
        fixed_in("1.5", entry("A-1", "x", *bounds))
    assert "test.json: advisory A-1 has" in str(raised.value)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": ""}, "has no `id`"),
        ({"affected": 1}, "no list as `affected`"),
        ({"affected": ["x"]}, "no object as `affected`"),
        ({"affected": [{"package": {"name": "x"}}]}, "without `name` or `ecosystem`"),
        ({"aliases": "CVE-1"}, "no list of texts"),
        ({"severity": {}, "x": 1}, None),
        ({"severity": "high"}, "no list as `severity`"),
    ],
)
def test_what_is_not_as_the_format_says(change: dict[str, Any], told: str | None) -> None:
    value = {**entry("A-1", "x", "introduced 0"), **change}
    if told is None:
        assert advisory(value, "test.json")
        return
    with pytest.raises(AdvisoryError) as raised:
        advisory(value, "test.json")
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        ([{"type": "MOON", "events": events("introduced 0")}], "unknown type 'MOON'"),
        ([{"type": "ECOSYSTEM", "events": []}], "without `events`"),
        ([{"type": "ECOSYSTEM", "events": events("fixed 1")}], "begins nowhere"),
        ([{"type": "ECOSYSTEM", "events": [{"since": "1"}]}], "an event that is none"),
        (
            [{"type": "ECOSYSTEM", "events": events("introduced 0", "fixed 1", "last_affected 2")}],
            "both",
        ),
        ("1.0", "no list as `ranges`"),
    ],
)
def test_ranges_that_are_none(ranges: Any, told: str) -> None:
    value = entry("A-1", "x")
    value["affected"][0]["ranges"] = ranges
    with pytest.raises(AdvisoryError) as raised:
        advisory(value, "test.json")
    assert told in str(raised.value)


def test_what_was_withdrawn_or_is_about_commits_counts_for_nothing() -> None:
    assert advisory({**entry("A-1", "x", "introduced 0"), "withdrawn": "2026-01-01"}, "x") is None
    commits = entry("A-1", "x")
    commits["affected"][0]["ranges"] = [{"type": "GIT", "events": events("introduced 0")}]
    assert fixed_in("1", commits) is None


@pytest.mark.parametrize(
    ("more", "severity"),
    [
        ({}, ""),
        ({"database_specific": {"severity": "MODERATE"}}, "medium"),
        (
            {
                "severity": [
                    {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}
                ]
            },
            "critical",
        ),
        ({"severity": [{"type": "CVSS_V2", "score": "AV:L/AC:H/Au:N/C:N/I:N/A:P"}]}, "low"),
        ({"severity": [{"type": "Ubuntu", "score": "medium"}]}, ""),
    ],
)
def test_severities(more: dict[str, Any], severity: str) -> None:
    found = advisory(entry("A-1", "x", "introduced 0", **more), "x")
    assert found
    assert found.severity == severity


def test_one_project_under_several_names() -> None:
    known: Database = database(entry("A-1", "TensorFlow", "introduced 0"))
    for name in ("tensorflow", "tensorflow-cpu", "tensorflow_gpu"):
        assert [each.id for each, _ in known.about("python", name, "")] == ["A-1"]
    assert project("python", "Tensor.Flow") == "tensor-flow"


def test_advisories_of_one_release_of_a_distribution() -> None:
    known = database(
        entry("D-1", "openssl", "introduced 0", ecosystem="Debian:12"),
        entry("U-1", "openssl", "introduced 0", ecosystem="Ubuntu:22.04:LTS"),
        entry("P-1", "openssl", "introduced 0", ecosystem="Ubuntu:Pro:18.04:LTS"),
        entry("G-1", "openssl", "introduced 0", ecosystem="Go"),
    )
    found = {
        distribution: [each.id for each, _ in known.about("system", "openssl", distribution)]
        for distribution in ("debian 12", "debian 11", "ubuntu 22.04", "ubuntu 18.04")
    }
    assert found == {
        "debian 12": ["D-1"],
        "debian 11": [],
        "ubuntu 22.04": ["U-1"],
        "ubuntu 18.04": ["P-1"],
    }

"""Findings, what fixes them, what the matrix accepts, and the command."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.audit import gate
from builder.audit.audit import Audited, audit, raise_if_open
from builder.audit.fixes import LIFT, NONE, REMOVE, UPGRADE
from builder.errors import FindingError
from builder.inventory.image import dumps
from builder.inventory.model import Package
from builder.matrix.parts import Accepted
from builder.matrix.select import select
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.matrix.yaml_nodes import Position, Text
from tests.conftest import Dlc
from tests.unit.audit.data import SAFETY, database, entry, python
from tests.unit.conftest import write_part
from tests.unit.inventory.trees import inventory

TODAY = datetime.date(2026, 11, 27)
CPU = "*inference:1.8.1-transformers4.10.2-cpu*"
LOCK = """\
pillow==8.1.2 \\
    --hash=sha256:00
    # via -r wanted
urllib3==1.26.4 \\
    --hash=sha256:00
    # via
    #   botocore
    #   requests
"""


@pytest.fixture
def target(targets: Sequence[Target]) -> Target:
    [found] = select(targets, [CPU])
    return replace(found, library_requirements=("pillow", "transformers==4.10.2"))


def fixes(
    *packages: Package, target: Target | None = None, fixed: str = "fixed 9"
) -> dict[str, tuple[str, str, str]]:
    known = database(
        *(entry(f"A-{each.name}", each.name, "introduced 0", fixed) for each in packages)
        if fixed
        else (entry(f"A-{each.name}", each.name, "introduced 0") for each in packages)
    )
    found = audit(inventory(*packages), known, TODAY, target=target, locks={"libraries": LOCK})
    return {f.package.name: (f.fix.what, f.fix.version, f.fix.how) for f in found.findings}


def test_what_fixes_a_finding(target: Target) -> None:
    found = fixes(python("pillow", "8"), python("transformers", "4.10.2"), target=target)
    assert found["pillow"] == (UPGRADE, "9", "to 9")
    assert found["transformers"] == (LIFT, "9", "transformers==4.10.2 (the matrix)")


def test_what_another_package_does_not_allow() -> None:
    needing = python("requests", "2", requires=("urllib3<1.27,>=1.21.1", "idna (<3,>=2.5)"))
    found = fixes(needing, python("urllib3", "1.26.4"), python("idna", "2.10"))
    assert found["urllib3"] == (LIFT, "9", "urllib3<1.27,>=1.21.1 (requests)")
    assert found["idna"] == (LIFT, "9", "idna (<3,>=2.5) (requests)")
    assert fixes(needing, python("urllib3", "1.26.4"), fixed="fixed 1.26.5")["urllib3"] == (
        UPGRADE,
        "1.26.5",
        "to 1.26.5",
    )


def test_without_a_fix_it_may_be_removed_if_nothing_needs_it(target: Target) -> None:
    found = fixes(python("pillow", "8"), python("urllib3", "1"), target=target, fixed="")
    assert found == {
        "pillow": (REMOVE, "", "nothing else needs it"),
        "urllib3": (NONE, "", ""),
    }


def test_a_wheel_of_the_matrix_is_lifted_there(targets: Sequence[Target]) -> None:
    [found] = select(targets, [CPU])
    what, version, how = fixes(python("torch", "1.8.1+cpu"), target=found)["torch"]
    assert (what, version) == (LIFT, "9")
    assert "the matrix" in how


def test_what_comes_with_something_else() -> None:
    jar = Package(kind="java", name="io.netty:netty", version="4", within="/x/server.jar")
    known = database(
        entry("M-1", "io.netty:netty", "introduced 0", "fixed 5", ecosystem="Maven"),
        entry("A-1", "zipp", "introduced 0", "fixed 5"),
    )
    vendored = python("zipp", "3", within="setuptools")
    found = audit(inventory(jar, vendored), known, TODAY)
    assert [(f.fix.what, f.fix.how) for f in found.findings] == [
        (LIFT, "server.jar carries it"),
        (LIFT, "setuptools carries it"),
    ]


def test_one_advisory_under_several_names_is_one_finding() -> None:
    known = database(
        entry("PYSEC-1", "x", "introduced 0", "fixed 2", aliases=["CVE-1"]),
        entry(
            *("GHSA-1", "x", "introduced 0", "fixed 3"),
            aliases=["CVE-1"],
            database_specific={"severity": "HIGH"},
        ),
    )
    [found] = audit(inventory(python("x", "1")), known, TODAY).findings
    assert found.advisory.id == "PYSEC-1"
    assert set(found.advisory.aliases) == {"CVE-1", "GHSA-1"}
    assert found.advisory.severity == "high"
    assert found.fix.version == "3", "both are fixed there"


def accepted(advisory: str, until: datetime.date) -> Accepted:
    at = Position(file="matrix.yaml", line=7, column=3)
    day: Any = until
    return Accepted(advisory=Text(advisory, at), reason=Text("not reachable", at), until=day)


@pytest.mark.parametrize("name", ["A-1", "cve-1"])
def test_an_accepted_advisory_does_not_count(name: str, target: Target) -> None:
    known = database(entry("A-1", "x", "introduced 0", aliases=["CVE-1"]))
    mine = replace(target, accepted=(accepted(name, TODAY),))
    found = audit(inventory(python("x", "1")), known, TODAY, target=mine)
    assert found.findings[0].accepted
    raise_if_open([found], "low")


def test_an_acceptance_that_is_over_fails_even_without_a_finding(target: Target) -> None:
    over = accepted("A-1", TODAY - datetime.timedelta(days=1))
    mine = replace(target, accepted=(over,))
    known = database(entry("A-1", "x", "introduced 0"))
    with pytest.raises(FindingError) as raised:
        raise_if_open([audit(inventory(python("x", "1")), known, TODAY, target=mine)], "low")
    assert "matrix.yaml:7:3: the acceptance of A-1 ended on 2026-11-26" in str(raised.value)
    assert "1 advisory of severity low" in str(raised.value)
    with pytest.raises(FindingError, match="ended on"):
        raise_if_open([audit(inventory(), known, TODAY, target=mine)], "low")


@pytest.mark.parametrize(
    ("severity", "threshold", "fails"),
    [
        ("LOW", "low", True),
        ("LOW", "medium", False),
        ("HIGH", "high", True),
        ("", "critical", True),
    ],
)
def test_the_threshold(severity: str, threshold: str, fails: bool) -> None:
    more: dict[str, Any] = {"database_specific": {"severity": severity}} if severity else {}
    known = database(entry("A-1", "x", "introduced 0", **more))
    found: list[Audited] = [audit(inventory(python("x", "1")), known, TODAY)]
    if fails:
        with pytest.raises(FindingError):
            raise_if_open(found, threshold)
    else:
        raise_if_open(found, threshold)


# The command


@pytest.fixture
def advisories(tmp_path: Path) -> Path:
    path = tmp_path / "advisories.json"
    path.write_text(json.dumps([entry("A-1", "urllib3", "introduced 0", "fixed 99")]))
    return path


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    return write_part(tmp_path / "m", "4.10.2") / "matrix.yaml"


def test_the_command(advisories: Path, matrix: Path, dlc: Dlc) -> None:
    run = dlc("--matrix", matrix, "audit", CPU, "--advisories", advisories)
    assert run.code == 19
    assert run.out.splitlines()[1].split()[1:3] == ["A-1", "urllib3"]
    assert "1 target of 1 with findings; 1 advisory read" in run.err
    run = dlc("--matrix", matrix, "audit", CPU, "--advisories", advisories, "--format", "json")
    [row] = json.loads(run.out)
    [finding] = row["findings"]
    assert (finding["fix"], finding["fixed_in"], finding["counts"]) == (UPGRADE, "99", True)


ALL = "\naccepted:\n  - {advisory: A-1, reason: not reachable, until: 2099-01-01}\n"
SOME = "\n    accepted: [{advisory: A-1, reason: not reachable, until: 2099-01-01}]"
ROW = ", accepted: [{advisory: A-1, reason: not reachable, until: 2099-01-01}]}"


def test_the_matrix_accepts_at_three_levels(advisories: Path, matrix: Path, dlc: Dlc) -> None:
    text = matrix.read_text("utf-8")
    [target] = select(load_targets(matrix), [CPU])
    head = f"\n  {target.libraries}:\n    requires:"
    assert head in text
    row = "pytorch: [1.8.1, 1.9.0]\n"
    serving = text.rindex(row)
    changed = {
        "all": text + ALL,
        "libraries": text.replace(head, f"\n  {target.libraries}:{SOME}\n    requires:", 1),
        "target": text[:serving] + text[serving:].replace("[1.8.1,", f"[{{version: 1.8.1{ROW},", 1),
    }
    for level, content in changed.items():
        matrix.write_text(content)
        run = dlc("--matrix", matrix, "audit", CPU, "--advisories", advisories)
        assert run.code == 0, (level, run.err)
        assert "until 2099-01-01" in run.out
        expired = content.replace("until: 2099-01-01", "until: 2020-01-01")
        matrix.write_text(expired)
        run = dlc("--matrix", matrix, "audit", CPU, "--advisories", advisories)
        assert run.code == 19, level
        assert "the acceptance of A-1 ended on 2020-01-01" in run.err
    other = dlc("--matrix", matrix, "audit", "*1.9.0*-cpu-*", "--advisories", advisories)
    assert "the acceptance" not in other.err, "it is another target's"


def test_an_inventory_is_audited_with_all_kinds(tmp_path: Path, advisories: Path, dlc: Dlc) -> None:
    path = tmp_path / "a.json"
    path.write_text(dumps(inventory(python("urllib3", "1"))))
    run = dlc("audit", "--inventory", path, "--advisories", advisories)
    assert run.code == 19
    path.write_text(dumps(inventory(python("urllib3", "99"))))
    run = dlc("audit", "--inventory", path, "--advisories", advisories)
    assert (run.code, run.out) == (0, "")
    assert "0 targets of 1 with findings" in run.err


def test_damaged_advisories_are_no_empty_result(tmp_path: Path, dlc: Dlc) -> None:
    path = tmp_path / "cut.json"
    path.write_text("[{")
    run = dlc("audit", CPU, "--advisories", path)
    assert (run.code, run.out) == (18, "")
    assert "is damaged" in run.err
    assert "findings" not in run.err
    assert dlc("audit", CPU, "--advisories", "").code == 2


def test_the_real_locks_with_the_database_of_2021(dlc: Dlc) -> None:
    run = dlc("audit", "*tensorflow*:2.4.1*", "--advisories", SAFETY, "--format", "json")
    assert run.code == 19
    for row in json.loads(run.out):
        found = [each for each in row["findings"] if each["package"].startswith("tensorflow")]
        assert len(found) == 11, row["image"]
        assert {each["fix"] for each in found} == {LIFT}


def test_advisories_gained_and_lost_between_two_images(
    tmp_path: Path, advisories: Path, dlc: Dlc
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(dumps(inventory(python("urllib3", "1"))))
    new.write_text(dumps(inventory(python("urllib3", "99"))))
    run = dlc("diff", old, new, "--advisories", advisories)
    assert run.code == 0, run.err
    assert run.out.splitlines()[-1].split() == ["lost", "advisory", "A-1", "urllib3", "1", "-"]
    run = dlc("diff", new, old, "--advisories", advisories, "--format", "markdown")
    assert "| gained | `A-1` | - | `urllib3` 1 |" in run.out
    [row] = json.loads(dlc("diff", new, old, "--advisories", advisories, "--format", "json").out)[
        "advisories"
    ]
    assert (row["what"], row["package"]) == ("gained", "urllib3")
    same = dlc("diff", old, old, "--advisories", advisories)
    assert same.out == ""
    advisories.write_text("[{")
    assert dlc("diff", old, new, "--advisories", advisories).code == 18


def test_a_release_asks_before_it_pushes(
    target: Target, advisories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = inventory(python("urllib3", "1"))
    monkeypatch.setattr(gate, "engine_client", nullcontext)
    monkeypatch.setattr(gate, "of_image", lambda *_: found)
    ask = gate.Gate(sources=[str(advisories)], threshold="low", images=tmp_path)
    with pytest.raises(FindingError, match="in 1 of 1 target: A-1"):
        ask(target, "image")
    ask(replace(target, accepted=(accepted("A-1", datetime.date(2099, 1, 1)),)), "image")

"""`dlc patch`: from a finding to the lock, with an index and advisories of the test."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dlc, Run
from tests.package_index import PackageIndex, wheel
from tests.unit.audit.data import Service, entry, serving
from tests.unit.locks.test_locks_stay import MATRIX, NAME, RELEASE, SECOND, Project
from tests.unit.locks.test_resolve import only

pytestmark = pytest.mark.integration

TODAY = datetime.date(2025, 10, 1)
LATE = "2025-09-01T00:00:00Z"


class Patching(Project):
    """A project of two targets, and advisories."""

    def __init__(self, folder: Path, dlc: Dlc, index: PackageIndex) -> None:
        super().__init__(folder, dlc, index)
        self.matrix.write_text(MATRIX + RELEASE, "utf-8")
        self.advisories = folder / "advisories.json"

    def know(self, *entries: Mapping[str, Any]) -> None:
        self.advisories.write_text(json.dumps(entries), "utf-8")

    def patch(self, *arguments: str) -> Run:
        return self.run("patch", "--advisories", str(self.advisories), *arguments)

    def documents(self, *arguments: str) -> Any:
        run = self.patch("--format", "json", *arguments)
        assert run.code == 0, run.err
        return json.loads(run.out)

    def lifted(self) -> list[tuple[str, str | None, str | None]]:
        """The upgrades that the matrix has."""
        from builder.matrix.rewrite import load

        return [(each.package, each.oldest, each.version) for each in load(self.matrix)[0].upgrades]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def project(
    tmp_path: Path, cache: Path, dlc: Dlc, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Patching]:
    """One target has http 1.0 and one 2.0; a client of the first takes nothing newer than 1."""
    monkeypatch.setattr("builder.cli.patch.today", lambda: TODAY)
    with PackageIndex(
        *(wheel("setuptools", "80.0"), wheel("uv", "0.13.8"), wheel("tensorflow-cpu", "2.13.0")),
        wheel("transformers", "4.57.1", requires=["http<2", "text"]),
        wheel("transformers", "4.57.2", requires=["http", "text"]),
        *(wheel("http", "1.0"), wheel("http", "2.0"), wheel("text", "1.0")),
        *(wheel("http", version, uploaded=LATE) for version in ("1.1", "1.2", "2.1", "2.2")),
        *(wheel("text", version, uploaded=LATE) for version in ("1.1", "1.2")),
    ) as index:
        only(monkeypatch, **index.environment, UV_CACHE_DIR=cache, UV_HTTP_RETRIES="0")
        project = Patching(tmp_path, dlc, index)
        assert project.run("lock").code == 0
        assert project.versions("libraries")["http"] == "1.0"
        assert project.versions("libraries", SECOND)["http"] == "2.0"
        yield project


def test_from_a_finding_to_the_lock(project: Patching) -> None:
    project.know(entry("CVE-2025-1", "text", "introduced 0", "fixed 1.1"))
    framework = project.text("framework")
    run = project.patch()
    assert (run.code, run.err.splitlines()[-1]) == (0, "1 advisory gone from 2 targets")
    assert run.out.splitlines()[1].split() == ["text", "1.0", "1.1", "2", "CVE-2025-1"]
    for name in (NAME, SECOND):
        assert project.versions("libraries", name)["text"] == "1.1", "the smallest, not 1.2"
    assert project.text("framework") == framework
    text = project.matrix.read_text("utf-8")
    assert text.endswith(
        "  - package: text\n    version: 1.1\n    date: 2025-10-01\n"
        '    reason: "CVE-2025-1"\n    until: 2026-03-30\n'
    )
    assert project.run("lock", "--check").code == 0
    assert project.run("audit", "--advisories", str(project.advisories)).code == 0
    # Once more, there is nothing to do.
    before = project.files(), text
    again = project.patch("--check")
    assert (again.code, again.out) == (0, "")
    assert project.patch().err == "0 advisories gone from 0 targets\n"
    assert (project.files(), project.matrix.read_text("utf-8")) == before


def test_what_it_would_do(project: Patching) -> None:
    project.know(entry("CVE-2025-1", "text", "introduced 0", "fixed 1.1"))
    before = project.files(), project.matrix.read_bytes()
    run = project.patch("--dry-run")
    assert run.code == 0
    assert run.err.endswith("1 advisory gone from 2 targets; nothing was written\n")
    check = project.patch("--check")
    assert (check.code, check.out) == (19, run.out)
    assert check.err.splitlines()[-1] == ("dlc: upgrades would remove CVE-2025-1; run `dlc patch`")
    found = project.documents("--dry-run", NAME)
    assert found["upgrades"] == [
        {
            "package": "text",
            "from": None,
            "version": "1.1",
            "date": "2025-10-01",
            "reason": "CVE-2025-1",
            "until": "2026-03-30",
        }
    ]
    [target] = found["targets"]
    assert target["image"] == NAME
    assert target["packages"] == [{"package": "text", "before": "1.0", "after": "1.1"}]
    assert [each["advisory"] for each in target["gone"]] == ["CVE-2025-1"]
    assert (target["new"], target["left"]) == ([], [])
    assert found["others"] == [SECOND], "an upgrade is for all that have the version"
    assert (project.files(), project.matrix.read_bytes()) == before


def test_each_branch_of_versions_gets_its_own_fix(project: Patching) -> None:
    known = entry("CVE-2025-1", "http", "introduced 0", "fixed 1.1")
    known["affected"][0]["ranges"] += [
        {"type": "ECOSYSTEM", "events": [{"introduced": "2.0"}, {"fixed": "2.1"}]}
    ]
    project.know(known)
    assert project.patch().code == 0
    assert project.lifted() == [("http", None, "1.1"), ("http", "2.0", "2.1")]
    assert project.versions("libraries")["http"] == "1.1"
    assert project.versions("libraries", SECOND)["http"] == "2.1"
    assert project.run("lock", "--check").code == 0
    assert project.run("lock").err == f"{NAME}: fresh\n{SECOND}: fresh\n"


def test_older_versions_that_need_nothing_stay(project: Patching) -> None:
    project.know(entry("CVE-2025-1", "http", "introduced 2.0", "fixed 2.1"))
    before = project.text("libraries")
    assert project.patch().code == 0
    assert project.lifted() == [("http", "2.0", "2.1")]
    assert project.text("libraries") == before
    assert project.versions("libraries", SECOND)["http"] == "2.1"


def test_a_lock_takes_the_newest_fix_that_it_can(project: Patching) -> None:
    project.know(
        entry("CVE-2025-1", "http", "introduced 0", "fixed 1.1"),
        entry("CVE-2025-2", "http", "introduced 0", "fixed 2.2"),
    )
    found = project.documents()
    assert project.lifted() == [("http", None, "1.1"), ("http", None, "2.2")]
    assert project.versions("libraries")["http"] == "1.1"
    assert project.versions("libraries", SECOND)["http"] == "2.2"
    first, second = found["targets"]
    assert [each["advisory"] for each in first["gone"]] == ["CVE-2025-1"]
    [stays] = first["left"]
    assert (stays["advisory"], stays["version"]) == ("CVE-2025-2", "1.1")
    assert "transformers" in stays["why"], "in uv's words"
    assert [each["advisory"] for each in second["gone"]] == ["CVE-2025-2"]
    assert project.run("lock", "--check").code == 0
    before = project.files(), project.matrix.read_bytes()
    again = project.patch()
    assert "1 advisory left in 1 target" in again.err
    assert "a newer one conflicts with other pins" in again.out
    assert (project.files(), project.matrix.read_bytes()) == before


def test_what_no_lock_can_take_is_not_in_the_matrix(project: Patching) -> None:
    project.know(
        entry("CVE-2025-1", "http", "introduced 0", "fixed 9.0"),
        entry("CVE-2025-3", "text", "introduced 0", "fixed 1.2"),
        entry("CVE-2025-4", "transformers", "introduced 0", "fixed 5"),
        entry("CVE-2025-5", "tensorflow", "introduced 0"),
    )
    run = project.patch(NAME, "--format", "markdown")
    assert run.code == 0, run.err
    assert project.lifted() == [("text", None, "1.2")]
    stays = {
        line.split("`")[1]: line for line in run.out.splitlines() if line.startswith("| - | `")
    }
    assert set(stays) == {"CVE-2025-1", "CVE-2025-4", "CVE-2025-5"}
    assert "not allowed: transformers==4.57.1 (the matrix)" in stays["CVE-2025-4"]
    assert "no version is fixed" in stays["CVE-2025-5"]
    assert "http==9.0" in stays["CVE-2025-1"], "in uv's words"
    assert "| `text` | `1.0` | `1.2` | 1 | CVE-2025-3 |" in run.out.splitlines()


def test_a_later_fix_takes_the_place_of_a_former_one(project: Patching) -> None:
    project.know(entry("CVE-2025-1", "text", "introduced 0", "fixed 1.1"))
    assert project.patch("--until", "2025-12-31").code == 0
    project.know(
        entry("CVE-2025-1", "text", "introduced 0", "fixed 1.1"),
        entry("CVE-2025-2", "text", "introduced 1.1", "fixed 1.2"),
    )
    assert project.patch("--until", "2099-12-31").code == 0
    assert project.lifted() == [("text", None, "1.2")]
    assert 'reason: "CVE-2025-1, CVE-2025-2"' in project.matrix.read_text("utf-8")
    assert "\n# lifted: text 1.0 to 1.2\n" in project.text("libraries")
    assert project.run("lock", "--check").err == ""


def test_a_fix_that_has_an_advisory_of_its_own_is_passed_over(project: Patching) -> None:
    """A service tells only of the versions that it is asked about."""
    service = Service(
        [
            entry("CVE-2025-1", "text", "introduced 0", "fixed 1.1"),
            entry("CVE-2025-2", "text", "introduced 1.1", "fixed 1.2"),
        ]
    )
    service.affected = {
        ("PyPI", "text", "1.0"): ["CVE-2025-1"],
        ("PyPI", "text", "1.1"): ["CVE-2025-2"],
    }
    with serving(service) as address:
        run = project.run("patch", "--advisories", address)
    assert run.code == 0, run.err
    assert project.lifted() == [("text", None, "1.2")]
    assert project.versions("libraries")["text"] == "1.2"


def test_what_is_accepted_or_minor_is_left_alone(project: Patching) -> None:
    project.know(entry("CVE-2025-1", "text", "introduced 0", "fixed 1.1"))
    project.matrix.write_text(
        project.matrix.read_text("utf-8")
        + "accepted: [{advisory: CVE-2025-1, reason: not reachable, until: 2099-01-01}]\n",
        "utf-8",
    )
    assert project.patch("--check").code == 0


@pytest.mark.parametrize("data", ["[{", "[]", '{"id": 3}'])
def test_broken_advisories_are_never_nothing_to_do(data: str, project: Patching) -> None:
    project.advisories.write_text(data, "utf-8")
    before = project.files(), project.matrix.read_bytes()
    run = project.patch()
    assert (run.code, run.out) == (18, "")
    assert "gone" not in run.err
    assert (project.files(), project.matrix.read_bytes()) == before


def test_nobody_who_answers_is_no_answer(project: Patching, closed_port: int) -> None:
    run = project.run("patch", "--advisories", f"http://127.0.0.1:{closed_port}")
    assert (run.code, run.out) == (18, "")


def test_an_index_that_does_not_answer(
    project: Patching, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.know(entry("CVE-2025-1", "text", "introduced 0", "fixed 1.1"))
    before = project.files(), project.matrix.read_bytes()
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{closed_port}/simple")
    run = project.patch()
    assert (run.code, run.out) == (9, "")
    assert (project.files(), project.matrix.read_bytes()) == before


def test_a_review_date_that_is_not_ahead(project: Patching) -> None:
    project.know(entry("CVE-2025-1", "text", "introduced 0", "fixed 1.1"))
    run = project.patch("--until", "2025-10-01")
    assert (run.code, run.err) == (
        2,
        "dlc: --until 2025-10-01 is not in the future; give the day of the next review\n",
    )

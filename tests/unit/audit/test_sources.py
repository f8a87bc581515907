"""Where advisories come from; whatever is wrong there is told, and is never `nothing found`."""

from __future__ import annotations

import datetime
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.audit import osv_api
from builder.audit.advisory import Database
from builder.audit.audit import audit
from builder.audit.sources import load
from builder.errors import AdvisoryError
from builder.inventory.model import Package
from tests.unit.audit.data import SAFETY, Service, entry, python, serving
from tests.unit.inventory.trees import inventory

TODAY = datetime.date(2026, 11, 27)
URLLIB3 = entry("GHSA-1", "urllib3", "introduced 0", "fixed 1.26.5", aliases=["CVE-2021-33503"])


def names(database: Database, *packages: Package) -> dict[str, str]:
    found = audit(inventory(*packages), database, TODAY)
    return {each.advisory.id: each.fix.version for each in found.findings}


def test_a_file_a_folder_a_list_and_an_archive(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.json", tmp_path / "folder"
    file.write_text(json.dumps(URLLIB3))
    (folder / "below").mkdir(parents=True)
    (folder / "below/b.json").write_text(json.dumps([URLLIB3]))
    (folder / "c.json").write_text(json.dumps({"vulns": [entry("A-2", "x", "introduced 0")]}))
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("GHSA-1.json", json.dumps(URLLIB3))
    for source in (file, folder, archive):
        found = load([str(source)], ())
        assert names(found, python("urllib3", "1.26.4")) == {"GHSA-1": "1.26.5"}
        assert names(found, python("urllib3", "1.26.5")) == {}
    assert load([str(file), str(folder)], ()).count == 3


def test_the_real_safety_db() -> None:
    found = load([str(SAFETY)], ())
    assert found.count > 2500
    tensorflow = names(found, python("tensorflow-cpu", "2.4.1"))
    assert len(tensorflow) == 11
    assert set(tensorflow.values()) == {"2.4.2"}
    assert names(found, python("tensorflow", "2.5.0")) == {}


def safety(**packages: Any) -> dict[str, Any]:
    return {"$meta": {}, **packages}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (json.dumps(URLLIB3)[:-20], "is damaged"),
        ("", "is damaged"),
        ("{}", "neither of OSV's format nor of safety-db"),
        ("[]", "has no advisories"),
        ("[1]", "neither"),
        (json.dumps(safety()), "has no advisories"),
        (json.dumps(safety(x=1)), "x has no list"),
        (json.dumps(safety(x=["<1"])), "has no identifiers"),
        (json.dumps(safety(x=[{"id": "a"}])), "has no `specs` in a"),
        (json.dumps(safety(x=[{"specs": ["<1"]}])), "without `id`"),
        ("[" * 100_000, "is damaged"),
    ],
)
def test_a_file_that_is_none(content: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(AdvisoryError) as raised:
        load([str(file)], ())
    assert str(file) in str(raised.value)
    assert told in str(raised.value)


def test_a_real_database_that_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "insecure_full.json"
    content = (SAFETY / "insecure_full.json").read_bytes()
    for length in (len(content) // 2, len(content) - 2):
        file.write_bytes(content[:length])
        with pytest.raises(AdvisoryError, match="is damaged"):
            load([str(file)], ())


def test_an_archive_that_is_cut_off_and_what_is_not_there(tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("GHSA-1.json", json.dumps(URLLIB3))
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(AdvisoryError, match="is damaged"):
        load([str(archive)], ())
    with pytest.raises(AdvisoryError, match="no such file"):
        load([str(tmp_path / "nothing")], ())
    (tmp_path / "empty").mkdir()
    with pytest.raises(AdvisoryError, match="has no advisories"):
        load([str(tmp_path / "empty")], ())


def test_specifiers_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(safety(urllib3=[{"id": "S-1", "specs": ["about 1"]}])))
    with pytest.raises(AdvisoryError, match="advisory S-1 has the versions 'about 1'"):
        names(load([str(file)], ()), python("urllib3", "1"))


# The API


@pytest.fixture
def service() -> Service:
    entries = [URLLIB3, *(entry(f"A-{n}", "x", "introduced 0", "fixed 2") for n in range(5))]
    found = Service([*entries, entry("D-1", "openssl", "introduced 0", ecosystem="Debian:12")])
    found.affected = {
        ("PyPI", "urllib3", "1.26.4"): ["GHSA-1"],
        ("PyPI", "x", "1.0"): [f"A-{n}" for n in range(5)],
        ("Debian:12", "openssl", "3.0.11-1"): ["D-1"],
    }
    return found


OPENSSL = Package(
    kind="system",
    name="libssl3",
    version="3.0.11-1+b1",
    architecture="amd64",
    source="openssl",
    source_version="3.0.11-1",
)


def test_the_service_is_asked_once_for_each_package(service: Service) -> None:
    packages = [python("urllib3", "1.26.4"), python("x", "1.0+local"), python("y", "1"), OPENSSL]
    with serving(service) as url:
        asked = [(each, "debian 12") for each in (*packages, *packages)]
        found = load([url], asked)
    result = names(found, *packages)
    assert result == {"GHSA-1": "1.26.5", **{f"A-{n}": "2" for n in range(5)}, "D-1": ""}
    assert service.asked.count("/v1/querybatch") == 3, "of five advisories, two on a page"
    assert len(service.asked) == 3 + 7


def test_the_services_own_word_counts_where_ranges_say_less(service: Service) -> None:
    service.affected["PyPI", "urllib3", "9.9"] = ["GHSA-1"]
    mine = python("urllib3", "9.9")
    with serving(service) as url:
        found = load([url], [(mine, "")])
    assert names(found, mine) == {"GHSA-1": ""}
    assert names(found, python("urllib3", "9.8")) == {}


def test_more_packages_than_go_into_one_query(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osv_api, "_AT_ONCE", 2)
    packages = [(python(f"p{n}", "1"), "") for n in range(5)]
    with serving(service) as url:
        assert load([url], packages).count == 0
    assert service.asked == ["/v1/querybatch"] * 3


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((500, {}), "answers 500"),
        ((404, {}), "answers 404"),
        ((200, b"<html>a proxy</html>"), "is not JSON"),
        ((200, {}), "no answer for each of 1 queries"),
        ((200, {"results": []}), "no answer for each of 1 queries"),
        ((200, {"results": [None]}), "no object"),
        ((200, {"results": [{"vulns": [{}]}]}), "no `id`"),
        ((200, {"results": [{"next_page_token": "again"}]}), "no end"),
    ],
)
def test_what_is_no_answer_is_an_error(
    answer: tuple[int, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osv_api, "_RETRIES", 0)
    with serving(lambda _path, _body: answer) as url, pytest.raises(AdvisoryError) as raised:
        load([url], [(python("x", "1"), "")])
    assert url in str(raised.value)
    assert told in str(raised.value)


def test_an_advisory_about_another_is_an_error(service: Service) -> None:
    wrong: Mapping[str, Any] = {**URLLIB3, "id": "GHSA-2"}
    service.entries["GHSA-1"] = wrong
    with serving(service) as url, pytest.raises(AdvisoryError, match="not about GHSA-1"):
        load([url], [(python("urllib3", "1.26.4"), "")])


def test_a_service_that_is_not_there(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osv_api, "_RETRIES", 0)
    with pytest.raises(AdvisoryError, match="does not answer"):
        load([f"http://127.0.0.1:{closed_port}"], [(python("x", "1"), "")])

"""The site as files: sound links, nothing inline, every text escaped, the same bytes each time."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from builder.matrix.target import Target
from builder.report.catalog import tables
from builder.site.pages import files
from builder.site.records import Advisory, Catalog, Package
from tests import site_samples
from tests.site_samples import HOSTILE, Links, broken, image, sources
from tests.unit.site.conftest import EACH

ATOM = "{http://www.w3.org/2005/Atom}"


def some(site: dict[str, bytes]) -> list[str]:
    """All pages but those of images, of which each third: `make test-site` reads all."""
    pages = [name for name in site if name.endswith(".html")]
    images = [name for name in pages if name.startswith("images/")]
    return [name for name in pages if name not in images or images.index(name) % 3 == 0]


def test_a_page_for_each_image(targets: tuple[Target, ...], site: dict[str, bytes]) -> None:
    targets = targets[::EACH]
    for target in targets:
        page = site[f"images/{target.repository}/{target.tag}.html"].decode()
        assert target.name in page
        data = json.loads(site[f"data/images/{target.repository}/{target.tag}.json"])
        assert (data["name"], data["transformers"]) == (target.name, target.transformers)
    listed = json.loads(site["data/images.json"])["images"]
    assert sorted(each["name"] for each in listed) == sorted(each.name for each in targets)
    assert all(each["page"] in site and each["data"] in site for each in listed)


def test_no_link_is_broken(site: dict[str, bytes]) -> None:
    assert broken(site, some(site)) == []


def test_a_broken_link_is_found() -> None:
    pages = {"a/b.html": b'<a href="../c.html">c</a><a href="#d">d</a>', "e.html": b""}
    assert broken(pages, pages) == ["a/b.html: ../c.html", "a/b.html: #d has no such place"]


@pytest.mark.parametrize("which", ["real", "hostile"])
def test_nothing_that_the_policy_refuses(which: str, site: dict[str, bytes]) -> None:
    found = site if which == "real" else files(site_samples.hostile())
    for name in some(found):
        page = Links(found[name])
        assert page.refused == [], name
        assert not [each for each in page.addresses if "//" in each or ":" in each], name
        assert len(page.ids) == len(set(page.ids)), name
        assert b"default-src 'none'; script-src 'self'" in found[name]


def test_hostile_texts_are_only_texts() -> None:
    """The pages of hostile texts have the elements that those of good texts have."""
    bad = files(site_samples.hostile())
    page = image().page
    text = bad[page].decode()
    assert HOSTILE not in text
    assert "{{ 7*7 }}" in text
    assert "window.broken = 1&lt;/script&gt;" in text
    elements = Links(bad[page]).elements
    assert elements.count("script") == 2
    assert elements.count("img") == 1
    assert bad["assets/search.js"].isascii()
    names = json.loads(bad["data/packages.json"])["packages"]
    assert HOSTILE in names
    feed = ET.fromstring(bad["feed.xml"])  # noqa: S314 - our own
    assert HOSTILE in (feed.findtext(f"{ATOM}entry/{ATOM}summary") or "")


def test_the_same_bytes_each_time(catalog: Catalog, site: dict[str, bytes]) -> None:
    assert files(site_samples.real(each=EACH)) == site
    assert files(catalog) == site


def test_search_knows_who_has_a_package(catalog: Catalog, site: dict[str, bytes]) -> None:
    script = site["assets/search.js"].decode()
    assert script.startswith("window.dlcPackages = JSON.parse('{")
    index = json.loads(site["data/packages.json"])
    assert script.count('":[') == site["data/packages.json"].count(b'":[')
    assert index["images"] == [each.name for each in catalog.images]
    for place, one in enumerate(catalog.images):
        [numpy] = [each for each in one.packages if each.name == "numpy"]
        assert place in index["packages"]["numpy"][numpy.version]


def test_the_feed_is_in_order_and_has_each_image_once(catalog: Catalog) -> None:
    feed = ET.fromstring(files(catalog, address="https://example.org/dlc")["feed.xml"])  # noqa: S314
    entries = feed.findall(f"{ATOM}entry")
    dates = [each.findtext(f"{ATOM}updated") or "" for each in entries]
    assert dates == sorted(dates, reverse=True)
    assert feed.findtext(f"{ATOM}updated") == dates[0]
    ids = {each.findtext(f"{ATOM}id") for each in entries}
    assert len(ids) == len(entries) == len(catalog.images)
    links = [link.get("href", "") for each in entries for link in each.findall(f"{ATOM}link")]
    assert all(link.startswith("https://example.org/dlc/images/") for link in links)


def test_a_page_says_what_is_not_known() -> None:
    bare = image(proof=None, tasks=None, advisories=None, dockerfile="", state="untried")
    page = files(Catalog(images=(bare,), templates={}, regions={}))[bare.page].decode()
    for text in (
        "It is not proven",
        "Nobody has recorded the size",
        "was not asked every task",
        "written without a database of advisories",
        "It is not rendered",
        "the first of its repository",
    ):
        assert text in page


def test_the_tables_are_those_of_the_reference_page(site: dict[str, bytes]) -> None:
    rows = [
        [
            html.unescape(re.sub("<[^>]*>", "", cell))
            for cell in re.findall("<t[dh].*?</t[dh]>", row)
        ]
        for row in re.findall("<tr>.*?</tr>", site["tables.html"].decode())
    ]
    wanted = [
        [*(row.cells[name] for name in table.columns), row.target.name]
        for table in tables(sources().targets[::EACH])
        for row in table.rows
    ]
    assert len(wanted) == len(sources().targets[::EACH])
    assert [row[:-1] for row in rows if row[-2] != "image"] == wanted


def test_a_page_has_the_tasks_and_the_contract(catalog: Catalog, site: dict[str, bytes]) -> None:
    """Everything of tasks.json and contract.json that docs/ only sums up."""
    asked = [each for each in catalog.images if each.asked or each.contract]
    assert len(asked) > 2
    overview = html.unescape(site["tasks.html"].decode())
    for one in asked:
        page = html.unescape(site[one.page].decode())
        texts = [part for task in one.tasks or () for part in (task.name, task.reason, task.detail)]
        if one.asked:
            texts += [one.asked.date, one.asked.toolkit, one.asked.stand_in]
            assert all(task.reason in overview for task in one.tasks or ())
        if one.contract:
            texts += [one.contract.date, one.contract.stand_in, *one.contract.skipped]
            texts += [*one.contract.parts, *one.contract.told, *one.contract.told.values()]
            assert f"{one.contract.passed} of {one.contract.ran} tests passed" in page
        assert [text for text in texts if text not in page] == []


def test_parts_of_a_contract_that_do_not_hold() -> None:
    page = files(Catalog(images=(image(),), templates={}, regions={}))[image().page].decode()
    assert "35 of 36 tests passed" in page
    page = page.partition('aria-label="Contract by part"')[2].partition("</table>")[0]
    rows = re.findall('<tr><td><code>([a-z]+)</code></td><td class="number">(.*?)</td></tr>', page)
    assert dict(rows) == {
        "first": "1 of 1",
        "protocol": '34 of 35 <span class="badge failed">not as promised</span>',
        "components": "\N{EN DASH}",
    }


def test_advisories_open_and_accepted() -> None:
    open_one = Advisory(
        id="TEST-1",
        aliases=(),
        severity="high",
        summary="it is bad",
        package="numpy",
        version="1.26.4",
        fix="upgrade",
        fixed_in="2.0",
    )
    accepted = replace(open_one, id="TEST-2", accepted="not reachable", until="2027-01-01")
    one = image(
        advisories=(open_one, accepted), accepted=(("TEST-3", "no answer uses it", "2027-02-02"),)
    )
    page = files(Catalog(images=(one,), templates={}, regions={}))[one.page].decode()
    rows = [row for row in page.split("<tr>") if "TEST-" in row]
    assert ["TEST-1" in rows[0], "<td>open</td>" in rows[0]] == [True, True]
    assert "accepted until 2027-01-01: not reachable" in rows[1]
    assert "severity-high" in rows[0]
    assert re.search("TEST-3</code> until <time [^>]*>2027-02-02</time>: no answer uses it", page)


def test_licences_where_an_inventory_has_them() -> None:
    licensed = Package(kind="python", name="numpy", version="1.26.4", licenses=("BSD-3-Clause",))
    one = image(packages=(licensed, Package(kind="system", name="bash", version="5.2")))
    page = files(Catalog(images=(one,), templates={}, regions={}))[one.page].decode()
    assert '<span class="license">BSD-3-Clause</span>' in page
    assert "Packages of the distribution" in page
    assert "Licences are shown where" not in page

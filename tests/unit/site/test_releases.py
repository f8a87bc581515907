"""The site of images that were released, with the records as a release writes them."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from builder.engine.layers import Layer
from builder.inventory.model import Config, Inventory, Package
from builder.release import inventories, notes
from builder.release.record import Released, record
from builder.site.collect import collect
from builder.site.pages import files
from builder.site.records import Catalog
from tests.site_samples import sources

ATOM = "{http://www.w3.org/2005/Atom}"
REPOSITORY, TAG = (
    "huggingface-pytorch-inference",
    "2.13.0-transformers4.57.1-cpu-py311-debian12",
)
REGISTRY = "registry.example.com/team"
FIRST, SECOND = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32


def release(folder: Path, date: str, digest: str, size: int, packages: Sequence[Package]) -> None:
    """Write all that a release leaves of an image, in the order that it does."""
    released = Released(
        image=f"{REGISTRY}/{REPOSITORY}",
        tag=TAG,
        tags=(TAG, f"{TAG}-v1"),
        digest=digest,
        size=size,
        key="0" * 64,
        profile="oci",
    )
    found = Inventory(
        image=f"{REPOSITORY}:{TAG}",
        id=digest,
        key="0" * 64,
        created="",
        distribution="debian",
        release="12",
        packages=tuple(packages),
        config=Config(env={}, labels={}),
        layers=(Layer(digest=digest, size=size, step="base"),),
        size=size,
    )
    inventories.keep(folder, digest, found)
    record(folder, date, released)
    notes.write(folder, released)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """One image, released twice, beside one that never was."""
    folder = tmp_path_factory.mktemp("releases")
    numpy = Package(kind="python", name="numpy", version="1.26.3", license="BSD-3-Clause")
    bash = Package(kind="system", name="bash", version="5.2.15-2+b7", license="GPL-3.0-or-later")
    jar = Package(kind="java", name="netty-codec", version="4.1", licenses=("Apache-2.0",))
    scipy = Package(kind="python", name="scipy", version="1.15.3", license="BSD-3-Clause")
    release(folder, "2026-10-05", FIRST, 700_000_000, [numpy, bash])
    newer = replace(numpy, version="1.26.4")
    release(folder, "2026-11-09", SECOND, 650_000_000, [newer, scipy, bash, jar])
    some = [each for each in sources().targets if each.tag.startswith("2.13.0-transformers4.57.1")]
    return collect(replace(sources(), targets=some, releases=folder))


@pytest.fixture(scope="module")
def site(catalog: Catalog) -> dict[str, bytes]:
    return files(catalog, address="https://example.org/dlc")


@pytest.fixture(scope="module")
def page(site: dict[str, bytes]) -> str:
    """The page of the image, as a reader sees its texts."""
    return html.unescape(site[f"images/{REPOSITORY}/{TAG}.html"].decode())


def test_packages_are_those_of_the_newest_image(page: str) -> None:
    assert f"4 packages, as found in <code>{REGISTRY}/{REPOSITORY}@{SECOND}</code>" in page
    for text in ("1.26.4", "netty-codec", "5.2.15-2+b7", "Packages of the distribution", ">Java "):
        assert text in page
    assert "Licences are shown where" not in page


def test_licences_with_their_packages(page: str) -> None:
    table = page.partition('id="licences"')[2].partition("</table>")[0]
    rows = re.findall(
        r"<th scope=\"row\">(.*?)</th><td class=\"number\">(\d+)</td><td>(.*?)</td>", table
    )
    assert rows == [
        ("BSD-3-Clause", "2", "numpy, scipy"),
        ("Apache-2.0", "1", "netty-codec"),
        ("GPL-3.0-or-later", "1", "bash"),
    ]


def test_digests_tags_and_notes_of_each_release(page: str) -> None:
    published = page.partition("<h3>Published</h3>")[2].partition("</table>")[0]
    assert published.index(SECOND) < published.index(FIRST)
    assert f"{TAG}, {TAG}-v1" in published
    assert "650 MB" in published
    [shown] = re.findall(
        "Release notes of 2026-11-09</summary><pre[^>]*>(.*?)</pre>", page, re.DOTALL
    )
    assert "numpy" in shown
    assert "1.26.3" in shown
    assert "scipy" in shown
    assert "Release notes of 2026-10-05" not in page  # there was none before to compare with


def test_sizes_over_time(site: dict[str, bytes]) -> None:
    text = site["sizes.html"].decode()
    rows = re.findall(
        f"<tr><td>{REPOSITORY}:{TAG}</td><td><time [^>]*>(.*?)</time></td><td[^>]*>(.*?)</td>", text
    )
    assert rows == [("2026-10-05", "700 MB"), ("2026-11-09", "650 MB")]
    assert text.count("<figure>") == 2  # as pushed, and as built
    assert "No push is recorded yet" not in text


def test_the_feed_has_each_release(site: dict[str, bytes]) -> None:
    feed = ET.fromstring(site["feed.xml"])  # noqa: S314 - our own
    entries = feed.findall(f"{ATOM}entry")
    assert [each.findtext(f"{ATOM}updated") for each in entries] == [
        "2026-11-09T00:00:00Z",
        "2026-10-05T00:00:00Z",
    ]
    assert [each.findtext(f"{ATOM}summary") for each in entries] == [
        f"{REGISTRY}/{REPOSITORY}@{digest}; tags: {TAG}, {TAG}-v1" for digest in (SECOND, FIRST)
    ]
    assert len({each.findtext(f"{ATOM}id") for each in entries}) == 2


def test_data_has_all_of_it(site: dict[str, bytes]) -> None:
    data = json.loads(site[f"data/images/{REPOSITORY}/{TAG}.json"])
    assert [(each["date"], each["size"]) for each in data["published"]] == [
        ("2026-11-09", 650_000_000),
        ("2026-10-05", 700_000_000),
    ]
    licences = {each["name"]: each["licenses"] for each in data["packages"]}
    assert licences["bash"] == ["GPL-3.0-or-later"]
    listed = json.loads(site["data/images.json"])["images"]
    assert {each["name"]: each["digests"] for each in listed}[f"{REPOSITORY}:{TAG}"] == [
        f"{REGISTRY}/{REPOSITORY}@{digest}" for digest in (SECOND, FIRST)
    ]
    packages = json.loads(site["data/packages.json"])["packages"]
    assert [len(places) for places in packages["netty-codec"].values()] == [1]

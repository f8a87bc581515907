"""An inventory as JSON, SPDX and CycloneDX, and beside the locks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InventoryError
from builder.inventory import cyclonedx, spdx
from builder.inventory.image import dumps
from builder.inventory.locked import compare, requirements
from builder.inventory.model import KINDS, Inventory, Package, from_json, to_json
from tests.unit.inventory.trees import inventory

WORDS = st.text(alphabet="ab-+.:~_1/", min_size=1, max_size=8)
PACKAGES = st.builds(
    Package,
    kind=st.sampled_from(KINDS),
    name=WORDS,
    version=WORDS | st.just(""),
    architecture=WORDS,
    path=WORDS,
    license=st.sampled_from(["", "MIT OR Apache-2.0", "LicenseRef-own"]),
    licenses=st.lists(WORDS, max_size=2).map(tuple),
    license_files=st.lists(WORDS, max_size=2).map(tuple),
)
VENV = "/opt/venv"


def python(name: str, version: str, path: str = f"{VENV}/lib", within: str = "") -> Package:
    return Package(kind="python", name=name, version=version, path=path, within=within)


@given(packages=st.lists(PACKAGES, max_size=4))
def test_the_document_holds_all_of_it(packages: list[Package]) -> None:
    whole = replace(inventory(*packages), differences=("x is missing",))
    assert from_json(json.loads(dumps(whole)), "x") == whole


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dlc_inventory": 99}, "has format 99"),
        ({"packages": 1}, "`packages` is not a list"),
        ({"packages": [1]}, "a package is not an object"),
        ({"packages": [{"kind": "x", "name": "a"}]}, "unknown kind 'x'"),
        ({"packages": [{"kind": "python"}]}, "no name"),
        ({"packages": [{"kind": "python", "name": "a", "version": 1}]}, "`version` is not a text"),
        ({"size": True}, "`size`"),
        ({"layers": [{}]}, "digest"),
        ({"config": []}, "`config`"),
        ({"id": None}, "`id` is not a text"),
    ],
)
def test_what_is_no_inventory_is_told(change: dict[str, Any], told: str) -> None:
    document = {**to_json(inventory()), **change}
    with pytest.raises(InventoryError, match=r"file\.json") as raised:
        from_json(document, "file.json")
    assert told in str(raised.value)
    del document["dlc_inventory"]
    with pytest.raises(InventoryError, match="not an inventory"):
        from_json(document, "file.json")


@given(packages=st.lists(PACKAGES, max_size=6))
def test_every_package_has_an_identifier_of_its_own(packages: list[Package]) -> None:
    different = {(p.kind, p.name, p.version, p.architecture, p.path): p for p in packages}
    document = spdx.document(inventory(*different.values()), name="x", digest="sha256:" + "1" * 64)
    identifiers = [each["SPDXID"] for each in document["packages"]]
    assert len(identifiers) == len(set(identifiers)) == len(different) + 1
    related = [each["relatedSpdxElement"] for each in document["relationships"]]
    assert sorted(related) == sorted(identifiers)


@pytest.fixture
def whole() -> Inventory:
    return inventory(
        Package(
            kind="python",
            name="torch",
            version="2.0+cpu",
            layer="framework",
            path="/a",
            license="BSD-3-Clause",
            license_files=("/a/LICENSE",),
        ),
        Package(
            kind="system", name="git", version="1:2", architecture="amd64", licenses=("GPL-2",)
        ),
        Package(kind="java", name="io.netty:netty-all", version="4.1", path="/s.jar"),
        Package(kind="java", name="unknown", version="", within="/s.jar", license="LicenseRef-x"),
        Package(kind="runtime", name="openjdk", version="17"),
        Package(kind="binary", name="ffmpeg", version="7"),
    )


def test_cyclonedx_is_valid(whole: Inventory) -> None:
    document = cyclonedx.document(whole, name="team/a:1", digest=whole.id)
    text = json.dumps(document)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert document == cyclonedx.document(whole, name="team/a:1", digest=whole.id)
    netty = next(each for each in document["components"] if each["name"] == "netty-all")
    assert (netty["group"], netty["purl"]) == ("io.netty", "pkg:maven/io.netty/netty-all@4.1")


def test_spdx_is_valid(whole: Inventory, tmp_path: Path) -> None:
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    path = tmp_path / "a.spdx.json"
    path.write_text(json.dumps(spdx.document(whole, name="team/a:1", digest=whole.id)))
    document = parse_file(str(path))
    assert validate_full_spdx_document(document) == []
    assert len(document.packages) == 7


LOCK = """\
torch @ ${W}/torch-2.0%2Bcpu-cp38-cp38-x.whl \\
    --hash=sha256:00
numpy==1.0 --hash=sha256:00
"""


def test_packages_beside_their_locks() -> None:
    packages = [
        python("torch", "2.0+cpu"),
        python("numpy", "1.0.0"),
        python("zipp", "9", within="setuptools"),
        python("pip", "1", path="/opt/python/lib"),
    ]
    told, problems = compare(packages, {"framework": LOCK}, VENV)
    assert problems == ()
    assert [each.layer for each in told] == ["framework", "framework", "", ""]


def test_every_difference_is_named() -> None:
    found = inventory(python("torch", "1.9"), python("stray", "1"))
    _, problems = compare(found.packages, {"framework": LOCK}, VENV)
    assert problems == (
        "stray 1 is in no lock",
        "torch is 1.9, and framework.lock has 2.0+cpu",
        "numpy 1.0 of framework.lock is missing",
    )
    with pytest.raises(InventoryError, match=r"stray 1 is in no lock; torch is 1\.9"):
        replace(found, differences=problems).require_locked()
    assert compare(found.packages, {}, VENV)[1] == ()


def test_requirements_of_the_committed_locks(root: Path) -> None:
    for folder in sorted(root.glob("images/*/*")):
        texts = {
            path.stem: path.read_text("utf-8")
            for path in folder.glob("*.lock")
            if path.stem in ("framework", "libraries")
        }
        found = requirements(texts)
        assert len(found) > 30, folder
        assert all(version for version, _ in found.values()), folder

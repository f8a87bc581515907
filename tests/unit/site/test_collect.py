"""What the site knows of images, from the project's own files and from records of releases."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ArgumentError, DlcError
from builder.inventory.model import Config, Inventory, Package, to_json
from builder.report.sides import of_locks
from builder.site import evidence
from builder.site.collect import collect
from builder.site.records import Catalog
from tests.conftest import ROOT
from tests.site_samples import sources
from tests.unit.site.conftest import EACH

INFERENCE = "huggingface-pytorch-inference:2.13.0-transformers4.57.1-cpu-py311-debian12"
DIGEST = "sha256:" + "ab" * 32


def test_packages_are_those_of_the_locks(catalog: Catalog) -> None:
    for target in sources().targets[:: EACH * 3]:
        found = catalog.image(target.name)
        assert found
        locked = of_locks(target, ROOT / "images").packages
        assert [(each.name, each.version, each.layer) for each in found.packages] == [
            (each.name, each.version, each.layer) for each in locked
        ]


def test_states_are_those_of_the_proof(catalog: Catalog) -> None:
    rows = json.loads((ROOT / "docs/proof.json").read_text("utf-8"))["rows"]
    proven = {row["image"]: row for row in rows}
    for image in catalog.images:
        row = proven.get(image.name)
        assert (image.proof is not None) == (row is not None)
        if row is None:
            assert image.state in {"untried", "unbuildable"}
        else:
            assert image.state == (
                "partial" if row["gaps"] else "stand-in" if row["stand_in"] else "proven"
            )
            assert image.size == row["size"]
    assert {"proven", "stand-in", "unbuildable"} <= {each.state for each in catalog.images}


def test_the_former_image_is_the_next_older_one(catalog: Catalog) -> None:
    found = next(each for each in catalog.images if each.changes)
    former = catalog.image(found.former)
    assert former
    assert (former.repository, former.device) == (found.repository, found.device)
    was = {each.name: each.version for each in former.packages}
    now = {each.name: each.version for each in found.packages}
    changed = {name for name in {*was, *now} if was.get(name) != now.get(name)}
    assert {each.name for each in found.changes} == changed
    first = [each for each in catalog.images if not each.former]
    assert len(first) == len({(each.repository, each.device) for each in catalog.images})


def record(folder: Path, **changes: Any) -> None:
    repository, tag = INFERENCE.split(":")
    row = {
        "image": f"registry.example.com/team/{repository}",
        "tag": tag,
        "tags": [tag],
        "digest": DIGEST,
        "size": 700,
        "key": "k",
        "profile": "oci",
    }
    folder.mkdir(exist_ok=True)
    document = {"date": "2026-11-02", "images": [{**row, **changes}]}
    (folder / "2026-11-02.json").write_text(json.dumps(document), "utf-8")


def inventory(license: str) -> Inventory:  # noqa: A002
    return Inventory(
        image=INFERENCE,
        id=DIGEST,
        key="k",
        created="",
        distribution="debian",
        release="12",
        packages=(
            Package(kind="python", name="numpy", version="1.26.4", license=license),
            Package(kind="system", name="bash", version="5.2"),
        ),
        config=Config(env={}, labels={}),
        layers=(),
        size=1,
    )


def test_records_of_releases_with_notes_and_inventories(tmp_path: Path) -> None:
    record(tmp_path / "releases")
    for folder, name, text in (
        ("inventories", "json", json.dumps(to_json(inventory("BSD-3-Clause")))),
        ("notes", "md", "# What changed\n"),
    ):
        path = tmp_path / "releases" / folder / f"{DIGEST.partition(':')[2]}.{name}"
        path.parent.mkdir()
        path.write_text(text, "utf-8")
    some = [each for each in sources().targets if each.name == INFERENCE]
    found = collect(replace(sources(), targets=some, releases=tmp_path / "releases"))
    [image] = found.images
    [published] = image.published
    assert published.reference.endswith(f"{INFERENCE.partition(':')[0]}@{DIGEST}")
    assert (published.date, published.size) == ("2026-11-02", 700)
    assert published.notes == "# What changed\n"
    assert image.inventory_of == published.reference
    assert [(each.name, each.licenses) for each in image.packages] == [
        ("numpy", ("BSD-3-Clause",)),
        ("bash", ()),
    ]


def test_a_record_of_other_images_is_left_out(tmp_path: Path) -> None:
    record(tmp_path / "releases", image="registry.example.com/other")
    some = [each for each in sources().targets if each.name == INFERENCE]
    found = collect(replace(sources(), targets=some, releases=tmp_path / "releases"))
    assert found.images[0].published == ()


def test_an_inventory_that_is_given_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_text(json.dumps(to_json(inventory("MIT"))), "utf-8")
    some = [each for each in sources().targets if each.name == INFERENCE]
    [image] = collect(replace(sources(), targets=some, inventories=[path])).images
    assert image.packages[0].licenses == ("MIT",)


def test_advisories_from_a_file(tmp_path: Path) -> None:
    advisory = {
        "id": "TEST-2026-1",
        "modified": "2026-01-01T00:00:00Z",
        "summary": "it is bad",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "numpy"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
            }
        ],
    }
    path = tmp_path / "TEST-2026-1.json"
    path.write_text(json.dumps(advisory), "utf-8")
    some = [each for each in sources().targets if each.name == INFERENCE]
    [image] = collect(replace(sources(), targets=some, advisories=[str(path)])).images
    assert [(each.id, each.package) for each in image.advisories or ()] == [
        ("TEST-2026-1", "numpy")
    ]


@pytest.mark.parametrize("name", ["contract.json", "proof.json", "tasks.json"])
@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"rows": 1}', '{"rows": [{"image": "x"}]}', '{"rows": [[]]}']
)
def test_damaged_evidence_is_told(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    read = {
        "contract.json": evidence.contracts,
        "proof.json": evidence.proofs,
        "tasks.json": evidence.tasks,
    }
    with pytest.raises(ArgumentError, match=name):
        read[name](tmp_path / name)


def test_a_damaged_inventory_is_told(tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_text("{", "utf-8")
    with pytest.raises(DlcError, match=r"given\.json"):
        collect(replace(sources(), targets=sources().targets[:1], inventories=[path]))

"""What differs between two inventories, and how it is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.engine.layers import Layer
from builder.inventory.diff import Change, Setting, compare, to_json
from builder.inventory.markdown import markdown
from builder.inventory.model import Config, Inventory, Package
from builder.inventory.versions import order
from tests.unit.inventory.trees import inventory

KINDS = st.sampled_from(["python", "system", "java", "runtime", "binary"])
VERSIONS = st.text(alphabet="019.:~+-ra", max_size=6)


def packages(**versions: str) -> list[Package]:
    return [
        Package(kind=key.split("_")[0], name=key.split("_")[1], version=version, layer="l")
        for key, version in versions.items()
    ]


@pytest.fixture
def before() -> Inventory:
    found = inventory(
        *packages(python_same="1", python_up="1.9", python_down="2", python_gone="1"),
        *packages(system_libc6="1:2.36-9+deb12u10", java_netty="4.1.9.Final", runtime_openjdk=""),
    )
    layers = (
        Layer(digest="sha256:" + "a" * 64, size=5, step="base"),
        Layer(digest="sha256:" + "b" * 64, size=6, step="RUN x"),
    )
    return replace(found, layers=layers, size=11)


@pytest.fixture
def after(before: Inventory) -> Inventory:
    return replace(
        before,
        image="team/a:2",
        packages=tuple(
            sorted(
                packages(
                    python_same="1",
                    python_up="1.10",
                    python_down="1",
                    python_new="1",
                    system_libc6="1:2.36-9+deb12u9",
                    java_netty="4.1.91.Final",
                    runtime_openjdk="17.0.1",
                )
            )
        ),
        config=Config(env={"LANG": "C", "A": "1|2"}, labels={}, entrypoint=("python", "x")),
        layers=(before.layers[0], Layer(digest="sha256:" + "c" * 64, size=9, step="COPY y")),
        size=14,
    )


def test_everything_that_differs(before: Inventory, after: Inventory) -> None:
    found = compare(before, after)
    assert {each.name: each.what for each in found.packages} == {
        "up": "upgraded",
        "down": "downgraded",
        "gone": "removed",
        "new": "added",
        "libc6": "downgraded",
        "netty": "upgraded",
        "openjdk": "changed",
    }
    assert found.settings == (
        Setting(what="environment", name="A", before=None, after="1|2"),
        Setting(what="environment", name="LANG", before="C.UTF-8", after="C"),
        Setting(what="label", name="a", before="b", after=None),
        Setting(what="image", name="entrypoint", before='["python"]', after='["python", "x"]'),
    )
    assert (found.shared_layers, found.new_layers) == (1, (("COPY y", 9),))
    document = json.loads(json.dumps(to_json(found)))
    assert document["after"]["size"] == 14
    assert document["layers"] == {"shared": 1, "new": [{"step": "COPY y", "size": 9}]}


def test_the_page(before: Inventory, after: Inventory) -> None:
    page = markdown(compare(before, after))
    assert page.startswith("# team/a:2\n\nCompared with team/a:1: packages: 1 added, 1 changed, ")
    assert "| `up` | upgraded | `1.9` | `1.10` |" in page
    assert "| environment `A` | - | `1\\|2` |" in page
    assert "## Java" in page
    same = markdown(compare(before, before))
    assert same.splitlines()[2] == (
        "Compared with team/a:1: the same packages; 0 new layers of 2; 11 B."
    )
    assert "|" not in same


def test_beside_locks_there_are_only_their_packages(before: Inventory) -> None:
    locks = replace(before, id="", layers=(), size=0, packages=before.packages[:2])
    found = compare(locks, before)
    assert found.locks_only
    assert (found.settings, found.new_layers) != ((), ()) or found.settings == ()
    assert to_json(found)["after"]["layers"] is None
    unlocked = replace(before, packages=tuple(replace(p, layer="") for p in before.packages))
    assert {each.what for each in compare(locks, unlocked).packages} == {"removed"}


def test_several_versions_of_one_package() -> None:
    one = Package(kind="python", name="packaging", version="1", path="/a")
    vendored = replace(one, version="2", path="/b", within="setuptools")
    found = compare(inventory(one, vendored), inventory(one, replace(vendored, version="3")))
    assert found.packages == (
        Change(
            what="upgraded",
            kind="python",
            name="packaging",
            before="2",
            after="3",
            within="setuptools",
        ),
    )


@given(kind=KINDS, one=VERSIONS, other=VERSIONS)
def test_order_turns_round_with_its_sides(kind: str, one: str, other: str) -> None:
    there, back = order(kind, one, other), order(kind, other, one)
    assert there == (None if back is None else -back)
    assert order(kind, one, one) in (0, None)


@given(
    one=st.dictionaries(st.sampled_from("abcd"), VERSIONS),
    other=st.dictionaries(st.sampled_from("abcd"), VERSIONS),
)
def test_what_is_told_leads_from_one_to_the_other(
    one: dict[str, str], other: dict[str, str]
) -> None:
    def of(versions: dict[str, str]) -> Inventory:
        return inventory(
            *(Package(kind="python", name=name, version=v) for name, v in versions.items())
        )

    found = compare(of(one), of(other))
    result = {**one}
    for each in found.packages:
        if each.what == "removed":
            del result[each.name]
        else:
            result[each.name] = each.after
    assert result == other
    assert (found.packages == ()) == (one == other)

"""The format of the matrix: what is declared of a key is what it becomes, and what the docs say."""

from __future__ import annotations

import copy
import datetime
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from builder.matrix.format import GIVES, MATRIX
from builder.matrix.keys import Key, Struct, given, key, record, structs
from builder.matrix.read import read
from builder.matrix.reference import reference
from builder.matrix.schema import DateOf, Day, ListOf, MapOf, TextOf, where
from builder.matrix.target import Target
from builder.matrix.yaml_nodes import Position, Report, Text
from tests.compare import assert_same
from tests.conftest import GOLDEN, Dlc
from tests.unit.corpus import SMALL

AT, THERE = Position(file="m", line=3, column=5), Position(file="m", line=9, column=1)
RECORDS = {each.what: each for each, _ in structs(MATRIX) if isinstance(each.make, type)}
BEGIN, END = "<!-- keys -->\n", "<!-- end of keys -->\n"


def fits(shape: Any, kind: Any) -> bool:
    """Whether what a shape reads is of a type."""
    *_, last = [each for each in get_args(kind) if each not in (type(None), ...)] or [kind]
    origin = get_origin(kind) or kind
    if origin is UnionType:  # X | None
        return fits(shape, last)
    if isinstance(shape, ListOf):
        return origin is tuple and fits(shape.item, last)
    if isinstance(shape, MapOf):
        return issubclass(origin, Mapping) and fits(shape.value, last)
    if isinstance(shape, TextOf):
        return issubclass(Day if isinstance(shape, DateOf) else Text, origin)
    assert isinstance(shape, Struct)
    # Builds and modes are made by functions, which look for a fallback or fill in libraries.
    made = shape.make if isinstance(shape.make, type) else get_type_hints(shape.make)["return"]
    return issubclass(made, origin)


@pytest.mark.parametrize("what", RECORDS)
def test_a_field_has_the_type_that_its_shape_reads(what: str) -> None:
    shape = RECORDS[what]
    hints = get_type_hints(shape.make)
    for name, declared in shape.declared.items():
        if isinstance(declared, Key):
            assert fits(declared.shape, hints[name]), f"{what}: {name}"


def test_a_wrong_type_would_be_seen() -> None:
    shape = TextOf(what="a text")
    assert fits(shape, str)
    assert fits(shape, Text | None)
    assert not fits(shape, int)
    assert not fits(shape, datetime.date)
    assert not fits(ListOf(item=shape, what="texts"), Text)
    assert not fits(ListOf(item=shape, what="texts"), tuple[Day, ...])


def test_what_is_declared_is_in_the_schema_and_given() -> None:

    @record
    class Row:
        """A record."""

        size: Text | None = key(
            TextOf(what="a size", like="3 GB"), "Its size.", "big", default=None
        )

    shape = Struct(
        what="a row", keys={"size": Row.__dataclass_fields__["size"].metadata["declared"]}
    )
    assert shape.schema()["properties"]["size"]["description"] == "Its size. (a size like 3 GB)"
    assert given(Row(size=Text("3 GB", AT))) == {"big": "3 GB"}
    assert given(Row()) == {}


@record
class Said:
    """A record that gives one of each."""

    word: Text | None = key(TextOf(what="a word"), "A word.", "word", default=None)
    words: tuple[Text, ...] = key(
        ListOf(item=TextOf(what="a word"), what="words"), "Words.", "words", default=()
    )
    named: Mapping[str, str] = key(
        MapOf(key=TextOf(what="a name"), value=TextOf(what="a word"), what="names"),
        "Words by name.",
        "named",
        default_factory=dict,
    )
    own: Text | None = key(TextOf(what="a word"), "Of its own.", default=None)


def test_the_last_says_a_value_and_lists_are_joined() -> None:
    a, b = Text("a", AT), Text("b", THERE)
    found = given(
        Said(word=a, words=(a,), named={"x": "1", "y": "2"}, own=a),
        Said(word=b, words=(b, a), named={"y": "3", "z": "4"}),
        Said(),
    )
    assert found == {"word": "b", "words": ("a", "b", "a"), "named": {"x": "1", "y": "3", "z": "4"}}
    assert where(found["word"]) == THERE
    assert where(found["words"]) == AT


def test_a_text_is_a_str_that_knows_where_it_stands() -> None:
    text = Text("cpu", AT)
    assert text == "cpu"
    assert text == Text("cpu", THERE)
    assert {"cpu": 1}[text] == 1
    assert repr(text) == "'cpu'"
    for same in (copy.deepcopy(text), pickle.loads(pickle.dumps(text))):  # noqa: S301
        assert (same, same.at) == (text, AT)


def test_where() -> None:
    text, day = Text("2021-11-03", AT), Day.of(Text("2021-11-03", THERE))
    assert where(text) == AT
    assert (where(day), day) == (THERE, datetime.date(2021, 11, 3))
    assert where((text, day)) == AT
    assert where({text: "x"}) == AT
    unsaid: tuple[object, ...] = (None, "", (), {}, "cpu", 1, datetime.date(2021, 11, 3))
    for each in unsaid:
        assert where(each) is None


def test_every_value_that_is_given_is_shown(dlc: Dlc, small: dict[str, Target]) -> None:
    name, target = next(iter(small.items()))
    assert [*target.given()] == [*GIVES]
    run = dlc("--matrix", GOLDEN / "matrix.yaml", "show", name, "--format", "json")
    assert run.err == ""
    assert json.loads(run.out)["values"].keys() >= set(GIVES)


def test_records_know_the_keys_that_lead_to_them(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_text(SMALL, "utf-8")
    matrix = read(path, Report())
    assert matrix is not None
    version = matrix.versions("pytorch")["1.9.1"]
    assert (version.framework, version.version) == ("pytorch", "1.9.1")
    assert {name: build.name for name, build in version.builds.items()} == {
        name: name for name in ("cpu", "cu111", "sdk1.17.1")
    }
    fallback = matrix.versions("pytorch")["1.6.0"].builds["cu110"]
    assert (fallback.name, fallback.carries, fallback.wheels) == ("cu110", "cu102", ())
    assert [
        (entry.mode, entry.framework, entry.version, entry.libraries)
        for release in matrix.releases
        for entry in release.entries
    ] == [
        ("training", "pytorch", "1.6.0", "training"),
        ("training", "tensorflow", "2.4.1", "training"),
        ("inference", "tensorflow", "2.4.1", "serving"),
        ("training", "pytorch", "1.9.1", "training"),
        ("inference", "pytorch", "1.9.1", "serving"),
    ]
    assert matrix.versions("jax") == {}


def test_the_docs_have_every_key(root: Path, request: pytest.FixtureRequest) -> None:
    path = root / "docs" / "matrix.md"
    text = path.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    found = f"{before}{BEGIN}{reference()}{END}{after}"
    if request.config.getoption("--update-golden"):
        path.write_text(found, "utf-8")
        return
    assert_same(found, text, "docs/matrix.md: --update-golden writes it;")

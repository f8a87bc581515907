"""The JSON schema: what editors check the matrix with says what the loader says."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from builder.matrix.format import MATRIX, schema_text
from builder.matrix.yaml_nodes import Report
from builder.matrix.yaml_reader import load
from tests.conftest import Dlc
from tests.unit.corpus import BROKEN, BROKEN_COMPONENTS, SMALL, Broken

SCHEMA = json.loads(schema_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def typed(text: str) -> Any:
    """A document as editors read it: YAML's own types, dates as text."""
    return _json(yaml.safe_load(text))


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _json(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_json(child) for child in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_committed_schema_is_as_printed(dlc: Dlc, root: Path) -> None:
    run = dlc("schema")
    assert (run.code, run.err) == (0, "")
    committed = (root / "builder" / "matrix.schema.json").read_text("utf-8")
    assert run.out == committed, "run dlc schema > builder/matrix.schema.json"


def test_every_pattern_and_choice_says_what_it_is() -> None:
    def check(schema: dict[str, Any]) -> None:
        assert {"description", "anyOf"} & schema.keys(), schema
        for child in schema.get("properties", {}).values():
            check(child)
        for name in ("items", "additionalProperties"):
            if isinstance(schema.get(name), dict):
                check(schema[name])

    check(SCHEMA)


@pytest.mark.parametrize(
    "name",
    [
        "matrix.yaml",
        *(f"tests/golden/{path}" for path in ("matrix.yaml", "components/matrix.yaml")),
    ],
)
def test_our_matrices_are_valid(name: str, root: Path) -> None:
    VALIDATOR.validate(typed((root / name).read_text("utf-8")))


@pytest.mark.parametrize(
    "broken",
    [broken for broken in (*BROKEN, *BROKEN_COMPONENTS) if broken.shape],
    ids=lambda broken: broken.name,
)
def test_it_refuses_what_is_of_the_wrong_shape(broken: Broken) -> None:
    assert not VALIDATOR.is_valid(typed(broken.text))


# Random mistakes

DOCUMENT: dict[str, Any] = yaml.load(SMALL, Loader=yaml.BaseLoader)  # noqa: S506 - all text


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a document but itself."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        yield (*path, key)
        if not isinstance(child, str):
            yield from places(child, (*path, key))


PLACES = list(places(DOCUMENT))
VALUES = st.sampled_from(
    [
        None,
        "",
        "x",
        "1.2.3",
        "3.8",
        "2021-11-03",
        "ubuntu18.04",
        "cu111",
        "NAME",
        "cpu",
        "own",
        "two\nlines",
        [],
        ["x"],
        ["1.9.1"],
        [["cpu"]],
        [{"version": "1.9.1"}],
        {},
        {"x": "y"},
        {"version": "1.9.1", "devices": ["gpu"]},
    ]
)
KEYS = st.sampled_from(
    ["x", "1.9.1", "3.8", "cu111", "cpu", "base", "date", "wheels", "neuron", ""]
)


@st.composite
def mutants(draw: st.DrawFn) -> dict[str, Any]:
    """The small matrix with one to three mistakes, or what may be one."""
    document = copy.deepcopy(DOCUMENT)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(PLACES))
        holder: Any = document
        for key in way:
            holder = holder[key] if _has(holder, key) else None
        if not _has(holder, last):
            continue
        what = draw(st.sampled_from(["drop", "put", "add", "rename"]))
        if what == "put":
            holder[last] = copy.deepcopy(draw(VALUES))
        elif what == "add" and isinstance(holder[last], dict):
            holder[last][draw(KEYS)] = copy.deepcopy(draw(VALUES))
        elif what == "add" and isinstance(holder[last], list):
            holder[last].append(copy.deepcopy(draw(VALUES)))
        elif what == "rename" and isinstance(holder, dict):
            holder[draw(KEYS)] = holder.pop(last)
        else:
            del holder[last]
    return document


def _has(holder: Any, key: Any) -> bool:
    if isinstance(holder, list):
        return isinstance(key, int) and key < len(holder)
    return isinstance(holder, dict) and key in holder


@given(document=mutants())
def test_loader_and_schema_agree(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutant.yaml"
    path.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper, allow_unicode=True), "utf-8")
    report = Report()
    loaded = load(path, report)
    if loaded is not None:
        MATRIX.read(loaded, report)
    errors = [error.message for error in VALIDATOR.iter_errors(document)]
    assert bool(errors) == bool(report.problems), (errors, report.problems)

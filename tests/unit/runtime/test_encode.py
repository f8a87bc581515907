"""Answers as JSON: what JSON cannot say itself is said by one rule."""

import base64
import datetime
import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

FILES = Path(__file__).parents[3] / "runtime"


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FILES)


def encoded(value: Any, *, utf8: bool = False) -> Any:
    text = importlib.import_module("dlc_encode").encode_json(value, utf8)
    assert utf8 or text.isascii()
    return json.loads(text, parse_constant=pytest.fail)


class Listed:
    """Stands for an array of NumPy's or a tensor of PyTorch's."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def tolist(self) -> Any:
        return self.value


class Tensor:
    """Stands for a tensor of TensorFlow's."""

    def numpy(self) -> Any:
        return Listed([1.5, math.nan])


class Brain16:
    """Stands for a scalar that NumPy does not know: its list is itself."""

    def tolist(self) -> Any:
        return self

    def __float__(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"score": math.nan}, {"score": None}),
        ([math.inf, -math.inf, 1.5], [None, None, 1.5]),
        (Listed([[1.0, math.inf]]), [[1.0, None]]),
        ({"a": Tensor(), "b": Brain16()}, {"a": [1.5, None], "b": 0.5}),
        (b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
        ([bytearray(b"a"), memoryview(b"a")], ["YQ==", "YQ=="]),
        (datetime.datetime(2024, 1, 2, 3, 4), "2024-01-02 03:04:00"),  # noqa: DTZ001
        ({(1, 2): 1, 3: 2, None: 3, True: 4}, {"(1, 2)": 1, "3": 2, "null": 3, "true": 4}),
        (("a", ["b"]), ["a", ["b"]]),
    ],
)
def test_what_json_cannot_say(value: Any, wanted: Any) -> None:
    assert encoded(value) == wanted


def test_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    value = {
        "f2": numpy.float16(0.5),
        "f4": numpy.float32("nan"),
        "f8": numpy.float64("inf"),
        "i": numpy.int64(3),
        "b": numpy.bool_(True),
        "a": numpy.array([[0.5, numpy.nan]], dtype="float16"),
        "t": numpy.array(["a", b"b"], dtype=object),
        numpy.int64(7): numpy.str_("x"),
    }
    assert encoded(value) == {
        "f2": 0.5,
        "f4": None,
        "f8": None,
        "i": 3,
        "b": True,
        "a": [[0.5, None]],
        "t": ["a", "Yg=="],
        "7": "x",
    }


def test_images() -> None:
    image = pytest.importorskip("PIL.Image")
    for mode in ("RGB", "L", "CMYK", "RGBA"):
        text = encoded([image.new(mode, (2, 3))])[0]
        assert base64.b64decode(text).startswith(b"\x89PNG")


def test_arrays_are_never_pickled() -> None:
    numpy = pytest.importorskip("numpy")
    encode = importlib.import_module("dlc_encode").encode_npy
    for value in ([[0.5, 1.0]], numpy.arange(3), "text", ["a", "bc"], 1):
        assert encode(value, "application/x-npy").startswith(b"\x93NUMPY")
    for value in ([{"label": "A"}], {"a": 1}, None, numpy.array([1, "a"], dtype=object)):
        with pytest.raises(ValueError, match="Python objects"):
            encode(value)


def test_characters() -> None:
    assert encoded("ä\U0001f600") == "ä\U0001f600"
    assert importlib.import_module("dlc_encode").encode_json("ä", True) == '"ä"'
    assert importlib.import_module("dlc_encode").encode_json([1, {"a": 2}]) == '[1,{"a":2}]'


def test_what_has_no_rule_is_named() -> None:
    for value in (object(), {"a": [object()]}, [math.nan, object()], {1.5: 1, "a": object()}):
        with pytest.raises(TypeError, match="the answer has a object, which JSON cannot say"):
            encoded(value)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="nested in itself"):
        encoded(loop)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_any_answer_is_json(value: Any, utf8: bool) -> None:
    encoded(value, utf8=utf8)

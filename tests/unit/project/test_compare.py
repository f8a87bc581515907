"""Failures are readable and come at once, however long what differs is."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compare import assert_same, assert_same_files, first_difference
from tests.conftest import ROOT

LINES = [f"line {number}\n" for number in range(4_000)]


def differing() -> list[str]:
    """Another 4,000 lines: what difflib looks at for hours."""
    return [line if number % 2 else f"{line[:-1]}!\n" for number, line in enumerate(LINES)]


def test_first_lines() -> None:
    told = first_difference("".join(LINES), "".join(differing()))
    assert told == [
        "first difference at line 1 (of 4000, now 4000):",
        *["- line 0!", "- line 1", "- line 2!", "- line 3", "- line 4!"],
        *["+ line 0", "+ line 1", "+ line 2", "+ line 3", "+ line 4"],
        "and 7988 more lines",
    ]


def test_a_line_put_in_between() -> None:
    told = first_difference("".join([*LINES[:9], "new\n", *LINES[9:]]), "".join(LINES))
    assert told == [
        "first difference at line 10 (of 4000, now 4001):",
        *["  line 7", "  line 8", "+ new"],
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    name: str
    rows: tuple[dict[str, object], ...]


@pytest.mark.parametrize(
    ("actual", "expected", "told"),
    [
        (
            b"a\nb\n",
            b"a\n",
            ["first difference at line 2 (of 1, now 2):", "  b'a\\n'", "+ b'b\\n'"],
        ),
        ("a", "a\n", ["first difference at line 1 (of 1, now 1):", "- a", "+ 'a'"]),
        ([1, 2], [1], ["first difference at item 2 (of 1, now 2):", "  1", "+ 2"]),
        ({"a": 1}, {"b": 1}, ["- 'b'", "+ 'a'"]),
        ({1}, {2}, ["- 2", "+ 1"]),
        (1, 2, ["- 2", "+ 1"]),
        (
            Record(name="x", rows=({"a": [1]},)),
            Record(name="x", rows=({"a": [2]},)),
            ["at .rows[0]['a']:", "first difference at item 1 (of 1, now 1):", "- 2", "+ 1"],
        ),
        (
            "x" * 5000 + "a",
            "x" * 5000 + "b",
            [
                "first difference at line 1 (of 1, now 1):",
                "from column 4962:",
                f"- {'x' * 40}b'",
                f"+ {'x' * 40}a'",
            ],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_differs(actual: object, expected: object, told: list[str]) -> None:
    assert first_difference(actual, expected) == told


VALUES = st.recursive(
    st.integers(0, 2) | st.text("a\n", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
)


@given(VALUES, VALUES)
def test_what_differs_has_a_difference(actual: object, expected: object) -> None:
    if actual != expected:
        assert any(line.startswith(("+", "-")) for line in first_difference(actual, expected))


def test_files(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a\n")
    other.write_text("b\n")
    assert_same_files(one, one)
    with pytest.raises(pytest.fail.Exception, match=f"{one} .* from {other} .* differs\nfirst"):
        assert_same_files(one, other)
    with pytest.raises(pytest.fail.Exception, match="it differs\n- 2\n\\+ 1"):
        assert_same(1, 2, "it")


FAILING = """
from pathlib import Path
import pytest

LEFT, RIGHT = (Path(__file__).with_name(name).read_text() for name in ("left", "right"))

@pytest.mark.parametrize("pair", [
    (LEFT, RIGHT),
    (LEFT.encode(), RIGHT.encode()),
    (LEFT.splitlines(), RIGHT.splitlines()),
    ({"file": LEFT}, {"file": RIGHT}),
    ([{"file": LEFT}], [{"file": RIGHT}]),
], ids=["text", "bytes", "list", "mapping", "nested"])
def test_same(pair):
    assert pair[0] == pair[1]

def test_not_in():
    assert "line 3999" not in LEFT

def test_short():
    assert "abc" == "abd"
"""


@pytest.mark.integration
def test_a_failure_is_short(tmp_path: Path) -> None:
    """difflib would be at it for hours: it is made to fail, so that none of it can pass unseen."""
    (tmp_path / "left").write_text("".join(LINES))
    (tmp_path / "right").write_text("".join(differing()))
    (tmp_path / "test_it.py").write_text(FAILING)
    (tmp_path / "nodifflib.py").write_text(
        "import difflib\n\n"
        "def refuse(lines, *_):\n"
        "    assert len(lines) < 100\n"
        "    return iter(['- abd', '+ abc'])\n\n"
        "difflib.ndiff = difflib.unified_diff = refuse\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.compare", "-p", "nodifflib"),
            *("-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", "--rootdir", tmp_path),
            *("-o", f"pythonpath={ROOT} {tmp_path}", tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "COLUMNS": "200"},
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert "7 failed" in done.stdout
    assert len(done.stdout) < 20_000
    assert "representation of details failed" not in done.stdout
    for line in ("- line 0!", "- b'line 0!\\n'", "- 'line 0!'", "found at line 4000:", "- abd"):
        assert f"E         {line}\n" in done.stdout
    assert done.stdout.count("and 7988 more lines") == 4
    assert done.stdout.count("and 7988 more items") == 1


def test_each_test_has_a_limit(request: pytest.FixtureRequest) -> None:
    assert 0 < float(request.config.getini("timeout")) <= 120

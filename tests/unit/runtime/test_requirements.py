"""What a model requires in multi-model mode, where nothing is installed."""

import importlib
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "runtime"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Asks why the image does not meet a text of requirements; it has one package."""
    monkeypatch.syspath_prepend(FILES)
    module = importlib.import_module("dlc_requirements")
    versions = {"a-package": "2.0.0+cpu"}
    monkeypatch.setattr(module, "version_of", lambda name: versions.get(name.lower()))

    def ask(content: bytes) -> Any:
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / "requirements.txt").write_bytes(content)
        return module.why_not_met(str(tmp_path))

    return ask


@pytest.mark.parametrize(
    "met",
    [
        b"",
        b"# nothing\n\n",
        b"a-package\r\nA-Package>=1,<3 # a comment\n",
        b"\xef\xbb\xbfa-package==2.0.0+cpu \\\n    --hash=sha256:00\n",
        b"other; python_version < '3'\n",
        b"-i https://a.example/\n--extra-index-url=https://b.example/\n--no-index\na-package[more]",
    ],
)
def test_met(asked: Any, met: bytes) -> None:
    assert asked(met) is None


@pytest.mark.parametrize(
    ("unmet", "named"),
    [
        (b"a-package\nother\n", "asks for other, which"),
        (b"a-package==3", "a-package==3"),
        (b"-r more.txt", "-r more.txt"),
        (b"--editable .", "--editable ."),
        (b"./wheels/other.whl", "./wheels/other.whl"),
        (b"a-package @ https://a.example/a.whl", "a-package @ https"),
        (b"\xff", "cannot be read"),
    ],
)
def test_unmet(asked: Any, unmet: bytes, named: str) -> None:
    assert named in asked(unmet)


def test_no_requirements(asked: Any, tmp_path: Path) -> None:
    asked(b"")
    why = importlib.import_module("dlc_requirements").why_not_met
    assert why(str(tmp_path / "nothing")) is None
    assert why(str(tmp_path / "code" / "requirements.txt")) is None


def test_versions_are_those_that_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FILES)
    module = importlib.import_module("dlc_requirements")
    assert module.is_met(f"pytest=={pytest.__version__}")
    assert not module.is_met("no-such-package")

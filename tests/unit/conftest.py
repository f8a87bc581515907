"""What unit tests share: nothing of the machine's, and a part of the real matrix."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from builder.matrix import targets
from builder.matrix.target import Target
from tests.conftest import ROOT

_STATES = itertools.count()


_loaded: dict[tuple[str, bytes], tuple[Target, ...]] = {}


def _load_once(path: Path, *, name: str | None = None) -> tuple[Target, ...]:
    key = name or str(path), path.read_bytes() if path.is_file() else b""
    if key not in _loaded:
        _loaded[key] = _load_targets(path, name=name)
    return _loaded[key]


# Hundreds of tests load the same matrix, which takes a tenth of a second and depends on its name
# and its bytes only. One that is wrong is read each time.
_load_targets = targets.load_targets
targets.load_targets = _load_once


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder for each test, made when it is used; no settings and engine of the caller."""
    for name in os.environ:
        if name.startswith(("DLC_", "DOCKER_")):
            monkeypatch.delenv(name)
    folder = tmp_path_factory.getbasetemp() / f"state-{next(_STATES)}"
    monkeypatch.setenv("DLC_STATE", str(folder))
    # Else each question for the wheelhouse starts pip, which tells of the machine's.
    monkeypatch.setenv("PIP_FIND_LINKS", "")


@pytest.fixture(autouse=True)
def starts_no_program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests stay quick: one that starts a program is told to say so."""
    marks = {mark.name for mark in request.node.iter_markers()}
    if marks.isdisjoint({"integration", "images", "slow", "live"}):
        monkeypatch.setattr(subprocess.Popen, "__init__", _refuse)


def _refuse(_self: object, arguments: object, *_: object, **__: object) -> None:
    pytest.fail(f"a unit test starts {arguments}: mark it `integration`")


def write_part(folder: Path, *releases: str, change: tuple[str, str] = ("", "")) -> Path:
    """A folder with some releases of the real matrix, with a text replaced, and their locks."""
    head, _, rest = (ROOT / "matrix.yaml").read_text("utf-8").partition("\nreleases:\n")
    entries = [f"  - transformers:{text}" for text in rest.split("  - transformers:")[1:]]
    kept = [text for text in entries if text.split()[2] in releases]
    assert len(kept) == len(releases)
    folder.mkdir()
    text, (old, new) = "".join(kept), change
    assert old in text
    text = f"{head}\nreleases:\n{text.replace(old, new, 1)}"
    (folder / "matrix.yaml").write_text(text, "utf-8")
    for target in targets.load_targets(folder / "matrix.yaml"):
        shutil.copytree(ROOT / "images" / target.folder, folder / "images" / target.folder)
    return folder


@pytest.fixture(scope="session")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of the real matrix, with every framework, mode and device; not to be changed."""
    return write_part(tmp_path_factory.mktemp("part") / "m", "4.10.2", "4.12.3", "4.57.1")

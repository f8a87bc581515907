"""What unit tests share: nothing of the machine's, and a part of the real matrix."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest

from builder.targets import load_targets
from tests.conftest import ROOT

_STATES = itertools.count()


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder for each test, made when it is used; no settings and engine of the caller."""
    for name in os.environ:
        if name.startswith(("DLC_", "DOCKER_")):
            monkeypatch.delenv(name)
    folder = tmp_path_factory.getbasetemp() / f"state-{next(_STATES)}"
    monkeypatch.setenv("DLC_STATE", str(folder))


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
    for target in load_targets(folder / "matrix.yaml"):
        shutil.copytree(ROOT / "images" / target.folder, folder / "images" / target.folder)
    return folder


@pytest.fixture(scope="session")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of the real matrix, with every framework, mode and device; not to be changed."""
    return write_part(tmp_path_factory.mktemp("part") / "m", "4.10.2", "4.12.3", "4.57.1")

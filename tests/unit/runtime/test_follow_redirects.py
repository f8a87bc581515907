"""The downloads of 2021, mended: what runtime/follow_redirects.py does to a file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin

import pytest

from tests.conftest import ROOT

PROGRAM = ROOT / "runtime" / "follow_redirects.py"
FILES = ("huggingface_hub/file_download.py", "transformers/file_utils.py")

# As huggingface_hub 0.4 and Transformers 4.17 do it, but for what does not matter here.
DOWNLOAD = """\
import requests

def download(url, headers, proxies=None, etag_timeout=10):
    url_to_download = url
    if True:
        try:
            r = requests.head(url, headers=headers, allow_redirects=False,
                              proxies=proxies, timeout=etag_timeout)
            r.raise_for_status()
            etag = r.headers.get("X-Linked-Etag") or r.headers.get("ETag")
            if 300 <= r.status_code <= 399:
                url_to_download = r.headers["Location"]
        finally:
            pass
    return url_to_download, etag
"""

HUB = {
    "https://hub/old/resolve/main/a": (307, {"Location": "/org/new/resolve/main/a"}),
    "https://hub/org/new/resolve/main/a": (307, {"Location": "/cache/0af1/a?x", "ETag": "1"}),
    "https://hub/cache/0af1/a?x": (200, {"ETag": "1"}),
    "https://hub/org/new/resolve/main/b": (302, {"Location": "https://cdn/b", "ETag": "2"}),
    "https://hub/org/new/resolve/main/c": (200, {"ETag": "3"}),
}


def head(url: str, *, headers: str, allow_redirects: bool, **_: object) -> SimpleNamespace:
    """Stands in for requests.head."""
    assert headers == "with the token"
    assert not allow_redirects
    status, found = HUB[url]
    return SimpleNamespace(status_code=status, headers=found, raise_for_status=lambda: None)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with both files."""
    for name in FILES:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(DOWNLOAD)
    return tmp_path


def mend(packages: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, packages], capture_output=True, text=True, check=False
    )


@pytest.mark.integration
@pytest.mark.parametrize("name", FILES)
def test_redirects_to_a_path_are_followed(
    name: str, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mend(packages).returncode == 0
    requests = SimpleNamespace(head=head, compat=SimpleNamespace(urljoin=urljoin))
    monkeypatch.setitem(sys.modules, "requests", requests)
    module: dict[str, object] = {}
    exec((packages / name).read_text(), module)  # noqa: S102 - what was written above
    download = module["download"]
    assert callable(download)

    found = {url: download(url, "with the token") for url in HUB}
    cached = ("https://hub/cache/0af1/a?x", "1")
    assert found == {
        "https://hub/old/resolve/main/a": cached,
        "https://hub/org/new/resolve/main/a": cached,
        "https://hub/cache/0af1/a?x": cached,
        # Large files are elsewhere, and whoever follows must leave the token behind.
        "https://hub/org/new/resolve/main/b": ("https://cdn/b", "2"),
        "https://hub/org/new/resolve/main/c": ("https://hub/org/new/resolve/main/c", "3"),
    }
    assert list((packages / name).parent.glob("__pycache__/*.pyc"))


@pytest.mark.integration
def test_other_code_ends_the_build(packages: Path) -> None:
    assert mend(packages).returncode == 0
    again = mend(packages)
    assert again.returncode == 1
    assert again.stderr == (f"{packages / FILES[0]}: not the code that follow_redirects.py mends\n")
    (packages / FILES[0]).write_text("")
    assert mend(packages).returncode == 1


def test_program_is_for_python_3_6() -> None:
    ast.parse(PROGRAM.read_text("utf-8"), feature_version=(3, 6))

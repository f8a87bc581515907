"""What apt is asked, tried with stand-ins for apt-get and dpkg-deb."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.engine import apt

pytestmark = pytest.mark.integration

# Says what it is asked, and has packages only once `update` has run, if ever.
APT_GET = """#!/bin/sh
echo "$*" >> "$LISTS.log"
case "$*" in
*update*) {update} ;;
*) test -e "$LISTS" || {{ echo "E: Can't find a source" >&2; exit 100; }}; touch a_1.deb ;;
esac
"""


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that stands for package lists of today; programs of tests come first on PATH."""
    monkeypatch.setenv("LISTS", str(tmp_path / "lists"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    _program(tmp_path / "dpkg-deb", '#!/bin/sh\ntouch "$3/unpacked"\n')
    return tmp_path / "lists"


def _program(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    path.chmod(0o755)


def _verbs(lists: Path) -> list[str]:
    log = lists.with_suffix(".log").read_text("utf-8").splitlines()
    return [verb for line in log for verb in ("update", "download") if verb in line.split()]


def test_lists_that_are_too_old_are_updated(lists: Path, tmp_path: Path) -> None:
    _program(tmp_path / "apt-get", APT_GET.format(update='touch "$LISTS"'))
    apt.unpack("a", into=tmp_path / "root")
    assert (tmp_path / "root/unpacked").exists()
    assert _verbs(lists) == ["download", "update", "download"]


def test_lists_of_today_are_left_alone(lists: Path, tmp_path: Path) -> None:
    _program(tmp_path / "apt-get", APT_GET.format(update="exit 1"))
    lists.touch()
    apt.unpack("a", into=tmp_path / "root")
    assert _verbs(lists) == ["download"]


def test_what_no_list_has_is_told(lists: Path, tmp_path: Path) -> None:
    _program(tmp_path / "apt-get", APT_GET.format(update="exit 1"))
    with pytest.raises(apt.InstallError, match="Can't find a source"):
        apt.unpack("a", into=tmp_path / "root")
    assert _verbs(lists) == ["download", "update", "download"]

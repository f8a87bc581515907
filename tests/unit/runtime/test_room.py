"""As whom a model server runs, in which folders, and with which model."""

import importlib
import os
import pwd
import tempfile
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "runtime"


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FILES)
    return importlib.import_module("dlc_room")


def test_no_model_is_an_error(room: Any, tmp_path: Path) -> None:
    def why(**environment: str) -> str | None:
        given = {"SAGEMAKER_BASE_DIR": str(tmp_path), **environment}
        told: str | None = room.why_no_model(given)
        return told

    assert str(why()).startswith(f"there is no model: mount one at {tmp_path}/model, or set HF_")
    (tmp_path / "model").mkdir()
    assert why()
    assert why(HF_MODEL_ID=f"{tmp_path}/model/")
    assert not why(HF_MODEL_ID="a/b")
    assert not why(SAGEMAKER_MULTI_MODEL="true")
    (tmp_path / "model" / "config.json").touch()
    assert not why()
    environment = {"SAGEMAKER_BASE_DIR": str(tmp_path), "HF_MODEL_ID": f"{tmp_path}/model"}
    assert room.why_no_model(environment) is None
    assert "HF_MODEL_ID" not in environment


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, ""),
        ({"DLC_USER": "root"}, None),
        ({"SAGEMAKER_MULTI_MODEL": "true"}, "models come later"),
        ({"SAGEMAKER_BIND_TO_PORT": "80"}, "is below 1024"),
        ({"HF_HOME": "locked"}, "only root can write"),
        ({"SAGEMAKER_BASE_DIR": "locked"}, "only root can read"),
        ({"SAGEMAKER_BASE_DIR": "with-code"}, "code/requirements.txt is to be installed"),
    ],
)
def test_server_leaves_root(
    room: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    why: str | None,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "with-code" / "model" / "code").mkdir(parents=True)
        (folder / "with-code" / "model" / "code" / "requirements.txt").touch()
        (folder / "locked" / "model").mkdir(parents=True, mode=0o700)
        (folder / "locked").chmod(0o700)
        (folder / "open" / "model").mkdir(parents=True)
        given = {"SAGEMAKER_BASE_DIR": "open", "HOME": "none", **environment}
        for variable in ("SAGEMAKER_BASE_DIR", "HF_HOME", "HOME"):
            if variable in given:
                given[variable] = str(folder / given[variable])
        nobody = pwd.getpwnam("nobody")
        became: list[str] = []
        monkeypatch.setattr(room, "USER", "nobody")
        parent, become = os.getpid(), room.become

        def become_in_children(user: Any) -> None:
            if os.getpid() == parent:
                became.append(user.pw_name)
            else:
                become(user)

        monkeypatch.setattr(room, "become", become_in_children)
        room.leave_root(given)
        told = capsys.readouterr().err
        assert became == (["nobody"] if why == "" else [])
        assert (why or "") in told
        assert ("runs as root: " in told) == bool(why)
        assert (given["HOME"] == nobody.pw_dir) == (why == "")


@pytest.mark.parametrize("temp", ["file/tmp", "locked", None])
def test_temporary_directory_that_cannot_be_used_is_replaced(
    room: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temp: str | None
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir()
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(room, "writable", lambda path: not path.endswith("locked"))
    monkeypatch.setattr(room.tempfile, "gettempdir", lambda: str(tmp_path / "other"))
    environment = {"TEMP": str(tmp_path / temp)} if temp else {}
    assert room.choose_temporary_directory(environment) is None
    assert environment == {"TEMP": str(tmp_path / "other")}


def test_no_temporary_directory_is_said(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(room.tempfile, "gettempdir", none)
    assert "mount a tmpfs or a volume at /tmp" in room.choose_temporary_directory({})


def test_home_that_cannot_be_written_is_replaced(
    room: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(room, "writable", lambda path: path == "/writable")
    (tmp_path / ".cache").mkdir()
    for home, expected in (
        ("/writable", "/writable"),
        (str(tmp_path), str(tmp_path)),  # it may be a volume
        ("/locked", "/room"),
        ("", "/room"),
    ):
        environment = {"HOME": home}
        room.make_home(environment, "/room")
        assert environment["HOME"] == expected

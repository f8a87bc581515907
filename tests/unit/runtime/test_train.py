"""Training that fails is a failure, whatever can be written of it: the real file and a toolkit."""

import importlib
import json
import os
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

FILES = Path(__file__).parents[3] / "runtime"

# As versions 3 to 5 of the real one.
TRAINER = """
    import os, sys
    from sagemaker_training import files
    def _exit_processes(code):
        END(code)
    def train():
        code = 0
        try:
            how = os.environ["HOW"]
            if how == "fails":
                raise ValueError("the loss is not a number")
            if how == "exits":
                sys.exit(int(os.environ["CODE"]))
            files.write_success_file()
        except Exception as error:
            files.write_failure_file("the reason: %s" % error)
            code = 3
        finally:
            _exit_processes(code)
"""
WRITER = """
    import os
    def write_failure_file(reason):
        with open(os.path.join(os.environ["OUTPUT"], "failure"), "w") as file:
            file.write(reason)
    def write_success_file():
        open(os.path.join(os.environ["OUTPUT"], "success"), "w").close()
"""


def train(
    folder: Path, output: Path, how: str, end: str = "sys.exit", code: int = 0
) -> tuple[int, str]:
    package = folder / "sagemaker_training"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "trainer.py").write_text(textwrap.dedent(TRAINER).replace("END", end))
    (package / "files.py").write_text(textwrap.dedent(WRITER))
    for other in ("entry_point", "process"):  # as in version 3, whose process has no run_async
        (package / f"{other}.py").touch()
    environment = {**os.environ, "PYTHONPATH": str(folder), "OUTPUT": str(output)}
    environment |= {"HOW": how, "CODE": str(code)}
    command = [sys.executable, str(FILES / "dockerd-entrypoint.py"), "train"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return run.returncode, run.stderr


@pytest.mark.parametrize("end", ["sys.exit", "os._exit"])
def test_failure_that_cannot_be_written(tmp_path: Path, end: str) -> None:
    code, errors = train(tmp_path, tmp_path / "nothing", "fails", end)
    assert code == 3
    assert "dlc: the file that reports the training's failure cannot be written: " in errors
    assert "the reason: the loss is not a number" in errors


def test_failure_that_can(tmp_path: Path) -> None:
    assert train(tmp_path, tmp_path, "fails") == (3, "")
    assert (tmp_path / "failure").read_text() == "the reason: the loss is not a number"


def test_success_that_cannot_be_written(tmp_path: Path) -> None:
    code, errors = train(tmp_path, tmp_path / "nothing", "succeeds")
    assert code == 0
    assert "training's success cannot be written" in errors


@pytest.mark.parametrize(("asked", "code"), [(0, 0), (5, 1)])
def test_exit_that_nobody_caught(tmp_path: Path, asked: int, code: int) -> None:
    found, errors = train(tmp_path, tmp_path, "exits", "os._exit", asked)
    assert found == code
    assert ("dlc: the training ended with SystemExit(5)" in errors) == bool(code)


# Toolkits 4.0 to 5.1.2: what they do with a command, and how a script that is no Python is in one.
ENTRY_POINT = """
    import asyncio
    from sagemaker_training import process
    def run(uri, user_entry_point, args, capture_error=False):
        if user_entry_point.endswith(".py"):
            command = [sys.executable, user_entry_point] + args
        else:
            text = " ".join([user_entry_point] + [shlex.quote(each) for each in args])
            command = ["/bin/sh", "-c", '"./%s"' % text]
        return asyncio.run(process.run_async(command))
"""
PROCESS = """
    import asyncio
    async def run_async(cmd):
        started = await asyncio.create_subprocess_shell(" ".join(cmd))
        return await started.wait()
"""
SHELLS = """
    import os, sys
    sys.path.insert(0, sys.argv[1])
    import dlc_train
    from sagemaker_training import entry_point, process
    assert dlc_train.joins_for_a_shell(process)
    dlc_train.keep_arguments(entry_point, process)
    sys.exit(entry_point.run(uri=".", user_entry_point=sys.argv[2], args=sys.argv[3:]))
"""
HOSTILE = [
    "--a", "$(touch made)", "--b", "`touch made`", "--c", "; touch made #", "--d", "> made",
    "--e", "it's \"$HOME\"", "--f", "a\nb", "--g", "*", "--h", "", "--i", "&& touch made || \\",
    "--j", '"',
]  # fmt: skip


@pytest.mark.parametrize("name", ["a script.py", "script;touch made"])
def test_arguments_arrive_as_they_are(name: str, tmp_path: Path) -> None:
    package = tmp_path / "sagemaker_training"
    package.mkdir()
    (package / "__init__.py").touch()
    head = "import shlex, sys\n"
    (package / "entry_point.py").write_text(head + textwrap.dedent(ENTRY_POINT))
    (package / "process.py").write_text(textwrap.dedent(PROCESS))
    script = tmp_path / name
    script.write_text(
        f"#!{sys.executable}\nimport json, sys\njson.dump(sys.argv[1:], open('told', 'w'))\n"
    )
    script.chmod(0o755)
    program = tmp_path / "program"
    program.write_text(textwrap.dedent(SHELLS))
    command = [sys.executable, str(program), str(FILES), name, *HOSTILE]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert json.loads((tmp_path / "told").read_text()) == HOSTILE
    assert not (tmp_path / "made").exists()


def test_a_module_is_no_file(dlc_train: Any) -> None:
    python = ["python", "-m", "module", "--a", "b c"]
    wanted = ["python", "-m", "module", "--a", "'b c'"]
    assert dlc_train.quoted(python, ["module.py", "--a", "b c"]) == wanted
    assert dlc_train.quoted(["python", "a b.py"], ["a b.py"]) == ["python", "'a b.py'"]
    assert dlc_train.quoted(python, ["other.py", "x"]) == python


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


SYMLINK, LINK = tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture
def dlc_train(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FILES)
    return importlib.import_module("dlc_train")


@pytest.mark.parametrize(
    "members",
    [
        [member("/etc/x")],
        [member("../x")],
        [member("a/../../x")],
        [member("a", SYMLINK, "/etc/passwd")],
        [member("a", SYMLINK, "..")],
        [member("a/b", SYMLINK, "../../x")],
        [member("a", SYMLINK, "."), member("b", SYMLINK, "a/..")],
        [member("a", SYMLINK, "b"), member("a/x")],
        [member("a/x"), member("a", SYMLINK, "b")],
        [member("a", LINK, "/etc/passwd")],
        [member("a", LINK, "../x")],
        [member("b/a", LINK, "../x")],
        [member("a", SYMLINK, "b"), member("c", LINK, "a/x")],
        *([member("a", kind)] for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)),
    ],
)
def test_hostile_archives(dlc_train: Any, members: list[tarfile.TarInfo]) -> None:
    assert dlc_train.why_hostile(members)


def test_names_are_looked_at_before_the_toolkit_changes_them(tmp_path: Path) -> None:
    """As 5.1.4 does on a Python without filters for archives."""
    renaming = """
        import tarfile
        def _safe_extractall(archive, path):
            for member in archive.getmembers():
                member.name = member.name.lstrip("/")
            archive.extractall(path)
        def write_success_file(): ...
        def write_failure_file(reason): ...
    """
    trainer = """
        import sys, tarfile
        from sagemaker_training import files
        _exit_processes = sys.exit
        def train():
            with tarfile.open(sys.argv[1]) as archive:
                files._safe_extractall(archive, sys.argv[2])
    """
    package = tmp_path / "sagemaker_training"
    package.mkdir()
    sources = {
        "files": renaming,
        "trainer": trainer,
        "entry_point": "",
        "process": "",
        "__init__": "",
    }
    for name, source in sources.items():
        (package / f"{name}.py").write_text(textwrap.dedent(source))
    with tarfile.open(tmp_path / "code.tar", "w") as archive:
        archive.addfile(member("/etc/x"))
    names = (FILES / "dlc_train.py", tmp_path / "code.tar", tmp_path / "code")
    command = [sys.executable, *map(str, names)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "code.tar is not unpacked: /etc/x is outside of its folder" in run.stderr
    assert not (tmp_path / "code").exists()


def test_a_hostile_archive_leaves_nothing(dlc_train: Any, tmp_path: Path) -> None:
    path = tmp_path / "code.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for each in (member("train.py"), member("../canary")):
            archive.addfile(each)
    folder = tmp_path / "code"
    folder.mkdir()
    unpack = dlc_train.only_inside(tarfile.TarFile.extractall)
    with tarfile.open(path) as archive, pytest.raises(ValueError, match="canary is outside"):
        unpack(archive, folder)
    assert list(folder.iterdir()) == []


def test_archives_as_people_make_them(dlc_train: Any, tmp_path: Path) -> None:
    path = tmp_path / "code.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for each in (
            *(member("./"), member("./train.py"), member("conf/a..b.json"), member("c/../d.py")),
            *(member("link.py", SYMLINK, "./train.py"), member("conf/up", SYMLINK, "../train.py")),
            *(member("hard.py", LINK, "./train.py"), member("dir", SYMLINK, "conf")),
        ):
            each.type = tarfile.DIRTYPE if each.name == "./" else each.type
            archive.addfile(each)
    folder = tmp_path / "code"
    folder.mkdir()
    with tarfile.open(path) as archive:
        assert dlc_train.why_hostile(archive.getmembers()) is None

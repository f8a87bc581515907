"""Targets to Dockerfiles: golden files, drift, pruning, templates of one's own, hadolint."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from builder.dockerfile.render import LOCK_NAMES, Change, Renderer, apply, changes
from builder.errors import RenderError
from builder.matrix.target import Target
from tests.conftest import GOLDEN, Dlc, Run

OURS = {
    "compile.py",
    "Dockerfile",
    "dockerd-entrypoint.py",
    "fetch.sh",
    "follow_redirects.py",
    "install.sh",
}
TO_SERVE = {
    "dlc_content.py",
    "dlc_decode.py",
    "dlc_encode.py",
    "dlc_fetch.py",
    "dlc_front.py",
    "dlc_handler.py",
    "dlc_http.py",
    "dlc_inputs.py",
    "dlc_limits.py",
    "dlc_memory.py",
    "dlc_parameters.py",
    "dlc_pipelines.py",
    "dlc_process.py",
    "dlc_questions.py",
    "dlc_ready.py",
    "dlc_requirements.py",
    "dlc_room.py",
    "dlc_routes.py",
    "dlc_server.py",
    "dlc_serving.py",
    "dlc_tasks.py",
    "dlc_waits.py",
    "dlc_worker.py",
}
TO_TRAIN = {"dlc_process.py", "dlc_train.py"}
TARGET = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"


def rendered(target: Target) -> set[str]:
    """The names of the files that rendering writes for a target."""
    return OURS | (TO_SERVE if target.mode == "inference" else TO_TRAIN)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the small matrix."""
    shutil.copy(GOLDEN / "matrix.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    """A folder for templates that go before ours."""
    (tmp_path / "templates" / "stages").mkdir(parents=True)
    return tmp_path / "templates"


def test_golden(small: dict[str, Target], request: pytest.FixtureRequest) -> None:
    renderer = Renderer()
    actual = {
        f"{target.folder}/Dockerfile": renderer.files(target)["Dockerfile"].decode()
        for target in small.values()
    }
    if request.config.getoption("--update-golden"):
        for path in GOLDEN.glob("*/*/Dockerfile"):
            shutil.rmtree(path.parent)
        for name, text in actual.items():
            (GOLDEN / name).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / name).write_text(text, "utf-8")
    golden = {
        str(path.relative_to(GOLDEN)): path.read_text("utf-8")
        for path in GOLDEN.glob("*/*/Dockerfile")
    }
    assert sorted(actual) == sorted(golden)
    for name, text in actual.items():
        assert text == golden[name], f"{name} differs; if it should, run pytest --update-golden"


def test_what_is_committed_is_as_rendered(dlc: Dlc, root: Path) -> None:
    run = dlc("--matrix", root / "matrix.yaml", "render", "--check")
    assert run == Run(code=0, out="", err="")


def test_twice_the_same(project: Path, dlc: Dlc, small: dict[str, Target]) -> None:
    matrix, one, other = project / "matrix.yaml", project / "one", project / "other"
    run = dlc("--matrix", matrix, "--images", one, "render")
    assert (run.code, run.out) == (0, "")
    count = sum(len(rendered(target)) for target in small.values())
    assert run.err.splitlines()[-1] == f"8 targets rendered, {count} files changed"
    dlc("--matrix", matrix, "--images", other, "render")
    assert files(one) == files(other)
    again = dlc("--matrix", matrix, "--images", one, "render")
    assert again == Run(code=0, out="", err="8 targets rendered, 0 files changed\n")


def test_a_folder_holds_what_its_dockerfile_copies(
    tmp_path: Path, small: dict[str, Target]
) -> None:
    target = small[TARGET]
    apply(changes(tmp_path, [target], Renderer(), prune=False))
    modes = {
        path.name: path.stat().st_mode & 0o777 for path in (tmp_path / target.folder).iterdir()
    }
    assert modes == dict.fromkeys(OURS | TO_SERVE, 0o644) | {"fetch.sh": 0o755, "install.sh": 0o755}
    dockerfile = (tmp_path / target.folder / "Dockerfile").read_text("utf-8")
    copied = {
        name
        for line in dockerfile.replace("\\\n", "").splitlines()
        if line.startswith("COPY") and "--from=" not in line
        for name in line.split()[1:-1]
    }
    mounted = {"follow_redirects.py"}
    assert all(f"--mount=type=bind,source={name}," in dockerfile for name in mounted)
    assert copied == {*OURS, *TO_SERVE, *LOCK_NAMES, "wheelhouse*"} - {"Dockerfile"} - mounted


def test_pruning_leaves_what_is_not_ours(project: Path, dlc: Dlc, small: dict[str, Target]) -> None:
    images, matrix = project / "images", project / "matrix.yaml"
    dlc("--matrix", matrix, "render")
    gone = [target for target in small.values() if target.transformers == "4.6.1"]
    kept = [target for target in small.values() if target not in gone]
    for target in gone:
        for name in LOCK_NAMES:
            (images / target.folder / name).write_text("a lock\n")
    foreign = {
        "README.md": b"about this folder\n",
        f"{gone[0].folder}/notes.txt": b"mine\n",
        "mine/1.0/Dockerfile": b"FROM scratch # \xff is not UTF-8\n",
        "mine/1.0/install.sh": b"mine, too\n",
        "mine/2.0/Dockerfile/Dockerfile": b"in a folder of that name\n",
    }
    for name, content in foreign.items():
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(content)
    text = matrix.read_text("utf-8")
    begin, end = text.index("  - transformers: 4.6.1"), text.index("  - transformers: 4.12.3")
    matrix.write_text(text[:begin] + text[end:], "utf-8")

    dlc("--matrix", matrix, "render", TARGET)
    removed = sum(len(rendered(target)) + len(LOCK_NAMES) for target in gone)
    left = {f"{target.folder}/{name}" for target in kept for name in rendered(target)}
    assert len(files(images)) == removed + len(left) + len(foreign), "a selection removes nothing"
    run = dlc("--matrix", matrix, "render")
    assert run.err.count(f"removed {images}/") == removed
    assert files(images).keys() == left | foreign.keys()
    assert not any(path.is_dir() and not any(path.iterdir()) for path in images.rglob("*"))


def test_check_shows_a_diff_and_writes_nothing(
    project: Path, dlc: Dlc, small: dict[str, Target]
) -> None:
    images = project / "images"
    dlc("--matrix", project / "matrix.yaml", "render")
    changed = images / small[TARGET].folder / "Dockerfile"
    text = changed.read_text("utf-8")
    changed.write_text(text.replace("EXPOSE 8080\n", "EXPOSE 80\n"), "utf-8")
    missing = changed.with_name("install.sh")
    lines = len(missing.read_bytes().splitlines())
    missing.unlink()
    before = files(project)

    run = dlc("--matrix", project / "matrix.yaml", "render", "--check")
    assert run.code == 7
    assert run.err == (
        f"dlc: not as rendered: 2 files below {images}; run `dlc render` and commit the result\n"
    )
    number = text.splitlines().index("EXPOSE 8080") + 1
    expected = f"""\
--- {changed} (committed)
+++ {changed} (rendered)
@@ -{number - 3},7 +{number - 3},7 @@
 RUN --mount=type=bind,from=programs,source=/programs,target=/mnt \\
     cp /mnt/*.py /usr/local/bin/
{" "}
-EXPOSE 80
+EXPOSE 8080
 ENTRYPOINT ["python", "/usr/local/bin/dockerd-entrypoint.py"]
 CMD ["serve"]
{" "}
--- /dev/null
+++ {missing} (rendered)
@@ -0,0 +1,{lines} @@
+#!/bin/sh
"""
    assert run.out.startswith(expected)
    assert files(project) == before


def test_check_tells_of_targets_that_are_gone(
    project: Path, dlc: Dlc, small: dict[str, Target]
) -> None:
    dlc("--matrix", project / "matrix.yaml", "render")
    folder = project / "images" / small[TARGET].folder
    folder.rename(folder.with_name("0.1"))
    run = dlc("--matrix", project / "matrix.yaml", "render", "--check")
    assert run.code == 7
    count = len(rendered(small[TARGET]))
    assert run.out.count("\n--- /dev/null\n") + run.out.startswith("--- /dev/null\n") == count
    assert run.out.count("\n+++ /dev/null\n") == count


def test_gpu_images_say_which_driver_they_need(targets: tuple[Target, ...]) -> None:
    renderer = Renderer()
    for target in targets:
        text = renderer.files(target)["Dockerfile"].decode()
        needed = re.findall(r"NVIDIA_REQUIRE_CUDA=(.*)", text)
        assert needed == ([f'"cuda>={target.driver_cuda}"'] if target.device == "gpu" else [])


def test_diff_of_a_file_without_a_last_newline() -> None:
    change = Change(path=Path("Dockerfile"), before=b"FROM a\nCMD b", after=b"FROM a\nCMD b\n")
    assert change.diff() == (
        "--- Dockerfile (committed)\n+++ Dockerfile (rendered)\n@@ -1,2 +1,2 @@\n"
        " FROM a\n-CMD b\n\\ No newline at end of file\n+CMD b\n"
    )


def test_own_templates_go_before_ours(
    project: Path, templates: Path, dlc: Dlc, small: dict[str, Target]
) -> None:
    (templates / "stages" / "labels.j2").write_text('LABEL team="{{ target.device }}"\n')
    (templates / "files").mkdir()
    (templates / "files" / "install.sh").write_text("#!/bin/sh\n")
    run = dlc("--matrix", project / "matrix.yaml", "--templates", templates, "render", TARGET)
    assert run.code == 0
    folder = small[TARGET].folder
    own = (project / "images" / folder / "Dockerfile").read_text("utf-8")
    ours = (GOLDEN / folder / "Dockerfile").read_text("utf-8")
    assert (
        own == ours[: ours.index("LABEL")] + 'LABEL team="cpu"\n' + ours[ours.index("\n# Images") :]
    )
    assert (project / "images" / folder / "install.sh").read_text("utf-8") == "#!/bin/sh\n"


@pytest.mark.parametrize(
    ("template", "where", "what"),
    [
        (
            "FROM a\n\n{{ target.nothing }}\n",
            "stages/libraries.j2:3",
            "'builder.matrix.target.Target object' has no attribute 'nothing' (rendering {target})",
        ),
        ("FROM a\n{{ nothing }}", "stages/libraries.j2:2", "'nothing' is undefined (rendering"),
        (
            "{% macro twice(x) %}\n{{ x.y * 2 }}\n{% endmacro %}\n{{ twice(header) }}\n",
            "stages/libraries.j2:2",
            "'str object' has no attribute 'y' (rendering {target})",
        ),
        ("FROM a\n{{ 1 / 0 }}", "stages/libraries.j2:2", "division by zero (rendering {target})"),
        ("FROM a\n{{ target.labels(1) }}", "stages/libraries.j2:2", "Target.labels() takes 1"),
        ("FROM a\n{% if %}\n", "stages/libraries.j2:2", "Expected an expression"),
        ("FROM a\n\n{% for x in y %}\n", "stages/libraries.j2:3", "Unexpected end of template"),
        (
            '\n{% include "stages/b.j2" %}',
            "stages/libraries.j2:2",
            "no template is named stages/b.j2",
        ),
    ],
)
def test_a_wrong_template(
    template: str, where: str, what: str, templates: Path, small: dict[str, Target]
) -> None:
    (templates / "stages" / "libraries.j2").write_text(template)
    with pytest.raises(RenderError) as caught:
        Renderer(templates).files(small[TARGET])
    expected = f"{templates}/{where}: {what.format(target=TARGET)}"
    assert caught.value.message.startswith(expected)
    assert caught.value.remedy.startswith("fix the template")


def test_a_wrong_template_fails_the_command(project: Path, templates: Path, dlc: Dlc) -> None:
    (templates / "Dockerfile.j2").write_text("{{ nothing }}")
    before = files(project)
    run = dlc("--matrix", project / "matrix.yaml", "--templates", templates, "render")
    assert (run.code, run.out) == (8, "")
    assert run.err.startswith(f"dlc: {templates}/Dockerfile.j2:1: 'nothing' is undefined")
    assert files(project) == before
    run = dlc("--matrix", project / "matrix.yaml", "--templates", project / "none", "render")
    assert run == Run(
        code=8, out="", err=f"dlc: {project / 'none'} is not a folder; check --templates\n"
    )

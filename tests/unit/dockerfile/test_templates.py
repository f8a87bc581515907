"""A team's own templates and files: before ours, file by file and block by block."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builder.build.contexts import prepare
from builder.build.plan import inputs
from builder.dockerfile.render import LOCK_NAMES, Change, Renderer, apply, changes
from builder.errors import RenderError
from builder.matrix.target import Target
from tests.conftest import GOLDEN, ROOT, Dlc

CPU = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
OURS = '{% extends "dlc/Dockerfile.j2" %}\n'
# What no block is about.
END = """
# Images that start from this one have the shell they expect.
SHELL ["/bin/sh", "-c"]
"""
BLOCKS = (
    "accelerator framework inference java keyring labels libraries programs python tools training "
    "wheels"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A team's folder: its matrix, and templates beside it."""
    shutil.copy(GOLDEN / "matrix.yaml", tmp_path)
    (tmp_path / "templates" / "files").mkdir(parents=True)
    return tmp_path


def write(project: Path, text: str, name: str = "Dockerfile.j2") -> Path:
    path = project / "templates" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def dockerfile(project: Path, target: Target) -> str:
    return Renderer(project / "templates").files(target)["Dockerfile"].decode()


def golden(target: Target) -> str:
    return (GOLDEN / target.folder / "Dockerfile").read_text("utf-8")


def test_a_block_goes_after_ours(project: Path, small: dict[str, Target]) -> None:
    write(
        project,
        OURS + "{% block libraries %}\n{{ super() }}\n# The team's own.\n"
        "RUN pip check # {{ target.transformers }}\n{% endblock %}\n",
    )
    for target in small.values():
        ours = golden(target)
        at = ours.rindex("/mnt/install.sh /opt/dlc/libraries.lock")
        at = ours.index("\n\n", at) + 1
        added = f"\n# The team's own.\nRUN pip check # {target.transformers}\n"
        assert dockerfile(project, target) == ours[:at] + added + ours[at:]


def test_a_block_goes_in_place_of_ours(project: Path, small: dict[str, Target]) -> None:
    write(project, OURS + '{% block labels %}\nLABEL team="{{ target.mode }}"\n{% endblock %}\n')
    for target in small.values():
        ours = golden(target)
        expected = ours[: ours.index("LABEL")] + f'LABEL team="{target.mode}"\n' + END
        assert dockerfile(project, target) == expected


def test_every_stage_is_a_block_and_only_where_it_is_needed(
    project: Path, small: dict[str, Target]
) -> None:
    names = BLOCKS.split()
    blocks = (
        f"{{% block {name} %}}\n# {name}\n{{{{ super() }}}}\n{{% endblock %}}\n" for name in names
    )
    write(project, OURS + "".join(blocks))
    found: dict[str, int] = {}
    for target in small.values():
        lines = dockerfile(project, target).splitlines()
        marks = [name for name in names if f"# {name}" in lines]
        assert ("accelerator" in marks) == (target.device != "cpu")
        assert ("keyring" in marks) == bool(target.accelerator_packages)
        assert ("java" in marks) == ("inference" in marks) == (target.mode == "inference")
        assert {"tools", "python", "framework", "libraries", "labels"} <= {*marks}
        # Without the marks, and the empty line after each, it is ours.
        kept = [line for line in lines if line.removeprefix("# ") not in names]
        assert [line for line in kept if line] == [
            line for line in golden(target).splitlines() if line
        ]
        found |= dict.fromkeys(marks, 1)
    assert sorted(found) == sorted(names)


def test_macros_and_stages_of_ours(project: Path, small: dict[str, Target]) -> None:
    """With our macros, within a template that extends ours or in a stage of the team's own."""
    write(
        project,
        OURS + '{% from "dlc/macros.j2" import apt_install, apt_mounts, use_site %}\n'
        "{% block python %}\n{{ super() }}\n"
        "RUN {{ apt_mounts(target.base.name) }} \\\n    {{ use_site() }}\n"
        '    {{ apt_install(["jq"]) }}\n'
        "{% endblock %}\n",
    )
    write(project, '{% include "dlc/stages/labels.j2" %}\nLABEL team=ours\n', "stages/labels.j2")
    text = dockerfile(project, small[CPU])
    assert "apt-get install --yes --no-install-recommends \\\n        jq \\\n" in text
    assert text.endswith(f"LABEL team=ours\n{END}")
    assert golden(small[CPU]).removesuffix(END).splitlines()[-1] in text


def test_the_folder_beside_the_matrix_is_taken(
    project: Path, small: dict[str, Target], dlc: Dlc
) -> None:
    write(project, OURS + "{% block labels %}\nLABEL a=b\n{% endblock %}\n")
    assert dlc("--matrix", project / "matrix.yaml", "render").code == 0
    for target in small.values():
        text = (project / "images" / target.folder / "Dockerfile").read_text("utf-8")
        assert text.endswith(f"\nLABEL a=b\n{END}")
    assert dlc("--matrix", project / "matrix.yaml", "render", "--check").code == 0
    other = project / "other"
    other.mkdir()
    run = dlc("--matrix", project / "matrix.yaml", "--templates", other, "render", "--check")
    assert run.code == 7


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            OURS + "{% block librarys %}{% endblock %}\n",
            2,
            "dlc/Dockerfile.j2 has no block named librarys; did you mean 'libraries'?",
        ),
        (
            OURS + "\n\nRUN pip check\n",
            4,
            "what is outside of every block is rendered nowhere; put it into a block: tools,",
        ),
        (OURS + "{{ target.name }}\n", 2, "what is outside of every block is rendered nowhere"),
        (
            OURS + '\n{% include "stages/labels.j2" %}\n',
            3,
            "what is outside of every block is rendered nowhere",
        ),
        (
            "\n" + '{% extends "Dockerfile.j2" %}\n',
            2,
            'Dockerfile.j2 extends itself; write {% extends "dlc/Dockerfile.j2" %}',
        ),
        (
            OURS + "{% block labels %}\n\n{{ target.nothing }}\n{% endblock %}\n",
            4,
            "'builder.matrix.target.Target object' has no attribute 'nothing'",
        ),
        (OURS + "{% block labels %}\n{{ supper() }}\n{% endblock %}\n", 3, "'supper' is undefined"),
        (OURS + "{% block labels %}\n{% if %}\n{% endblock %}\n", 3, "Expected an expression"),
        ('{% extends "dlc/Dokerfile.j2" %}\n', 1, "no template is named dlc/Dokerfile.j2"),
    ],
)
def test_a_mistake_has_a_place(
    text: str, line: int, message: str, project: Path, small: dict[str, Target]
) -> None:
    path = write(project, text)
    with pytest.raises(RenderError) as caught:
        dockerfile(project, small[CPU])
    assert str(caught.value).startswith(f"{path}:{line}: {message}")


def test_a_stage_that_includes_itself(project: Path, small: dict[str, Target]) -> None:
    path = write(project, '{% include "stages/labels.j2" %}\nLABEL a=b\n', "stages/labels.j2")
    with pytest.raises(RenderError) as caught:
        dockerfile(project, small[CPU])
    assert str(caught.value) == (
        f"{path}:1: a template includes or extends itself; ours of the same name is below dlc/"
    )


def test_a_template_in_another_encoding(project: Path, small: dict[str, Target]) -> None:
    path = write(project, "")
    path.write_bytes(b"# caf\xe9\n")
    with pytest.raises(RenderError, match=r"Dockerfile\.j2 is not UTF-8"):
        dockerfile(project, small[CPU])


COPIES = (
    OURS + "{% block labels %}\n{{ super() }}\nCOPY notes.txt certs ./[ab].cfg \\\n"
    '    # a comment\n    /opt/team/\nCOPY ["with space.txt", "/opt/team/"]\n'
    "ADD https://example.com/x /x\nCOPY --from=java /opt/java/release /opt/\n"
    "RUN --mount=type=bind,source=check.py,target=/mnt/check.py python /mnt/check.py\n"
    "{% endblock %}\n"
)
COPIED = {"notes.txt", "certs/a.pem", "certs/more/b.pem", "a.cfg", "with space.txt", "check.py"}


def fill(project: Path) -> None:
    """Files that are copied, and some that are not."""
    for name in (*COPIED, "c.cfg", "other.txt", "__pycache__/check.pyc", "framework.lock"):
        write(project, f"{name}\n", f"files/{name}")


def test_files_that_a_template_copies(project: Path, small: dict[str, Target]) -> None:
    write(project, COPIES)
    fill(project)
    target = small[CPU]
    found = Renderer(project / "templates").files(target)
    assert {*found} - {*Renderer().files(target)} == COPIED
    assert {name: found[name].decode() for name in COPIED} == {name: f"{name}\n" for name in COPIED}


@pytest.mark.parametrize("name", ["install.sh", "dlc_serving.py"])
def test_a_file_of_ours_can_be_replaced(name: str, project: Path, small: dict[str, Target]) -> None:
    write(project, "true\n", f"files/{name}")
    assert Renderer(project / "templates").files(small[CPU])[name] == b"true\n"


def test_a_file_that_is_not_there(project: Path, small: dict[str, Target]) -> None:
    write(project, COPIES)
    fill(project)
    (project / "templates" / "files" / "notes.txt").unlink()
    with pytest.raises(RenderError) as caught:
        dockerfile(project, small[CPU])
    assert str(caught.value) == (
        f"{project}/templates/files/notes.txt, which the Dockerfile of {CPU} copies, "
        "is in no template folder; add it"
    )


def test_files_come_and_go_with_what_copies_them(project: Path, small: dict[str, Target]) -> None:
    """Also in a folder of the context; what nothing rendered stays."""
    target, images = small[CPU], project / "images"
    path = write(project, COPIES)
    fill(project)
    folder = images / target.folder

    def render(*targets: Target) -> set[str]:
        renderer = Renderer(project / "templates")
        apply(changes(images, targets, renderer, prune=True))
        return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}

    assert render(target) >= COPIED
    for name in (*LOCK_NAMES, "mine.lock"):
        (folder / name).write_text("a lock\n")
    (folder / "certs" / "mine.txt").write_text("of another hand, where ours are\n")
    (folder / "mine.txt").write_text("of another hand\n")
    path.write_text(OURS, "utf-8")
    left = render(target)
    assert left == {*Renderer().files(target), *LOCK_NAMES, "mine.lock", "mine.txt"}

    path.write_text(COPIES, "utf-8")
    render(target)
    assert render() == {"mine.lock", "mine.txt"}
    assert not any(p.is_dir() for p in folder.iterdir())


def test_files_are_part_of_the_build_key(project: Path, targets: tuple[Target, ...]) -> None:
    target = next(each for each in targets if each.base.name == "debian12")
    write(project, COPIES)
    fill(project)

    def made_of() -> dict[str, str]:
        renderer = Renderer(project / "templates")
        return dict(inputs(target, ROOT / "images", renderer).digests)

    before = made_of()
    assert {*before} >= COPIED
    write(project, "changed\n", "files/certs/a.pem")
    after = made_of()
    assert [name for name in before if before[name] != after[name]] == ["certs/a.pem"]

    context = prepare(
        inputs(target, ROOT / "images", Renderer(project / "templates")),
        project / "contexts",
        ROOT / "images",
    )
    assert (context.folder / "certs" / "more" / "b.pem").read_text("utf-8") == "certs/more/b.pem\n"


# Links


@pytest.mark.parametrize("name", ["Dockerfile.j2", "files/secret.txt"])
def test_a_link_out_of_the_templates_is_not_read(
    name: str, project: Path, small: dict[str, Target], tmp_path: Path
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("a secret\n", "utf-8")
    write(project, OURS + "{% block labels %}\nCOPY secret.txt /\n{% endblock %}\n")
    path = project / "templates" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(outside)
    with pytest.raises(RenderError, match=r"is a link that leads out of its folder; put the"):
        Renderer(project / "templates").files(small[CPU])


def test_a_link_within_the_templates_is_a_file(project: Path, small: dict[str, Target]) -> None:
    write(project, OURS + "{% block labels %}\nCOPY a.txt /\n{% endblock %}\n")
    write(project, "text\n", "files/b.txt")
    (project / "templates/files/a.txt").symlink_to("b.txt")
    assert Renderer(project / "templates").files(small[CPU])["a.txt"] == b"text\n"


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_link_out_of_the_images_is_neither_read_nor_written(
    depth: int, project: Path, small: dict[str, Target], tmp_path: Path
) -> None:
    """A committed one, of a file or of a folder on the way to it."""
    outside = tmp_path / "outside"
    folder = project / "images" / small[CPU].folder
    place = [folder / "Dockerfile", folder, folder.parent][depth]
    place.parent.mkdir(parents=True)
    if depth:
        outside.mkdir()
    else:
        outside.write_text("a secret\n", "utf-8")
    place.symlink_to(outside)
    with pytest.raises(RenderError, match=r"leads out of .*; remove the link"):
        apply(changes(project / "images", [small[CPU]], Renderer(), prune=True))
    assert list(outside.iterdir()) == [] if depth else outside.read_text("utf-8") == "a secret\n"


def test_images_may_be_a_link_themselves(project: Path, small: dict[str, Target]) -> None:
    (project / "elsewhere").mkdir()
    images = project / "linked"
    images.symlink_to("elsewhere")
    apply(changes(images, [small[CPU]], Renderer(), prune=True))
    assert (project / "elsewhere" / small[CPU].folder / "Dockerfile").is_file()


# What only looks like a lock of ours


def test_a_team_s_own_lock_is_like_any_file(project: Path, small: dict[str, Target]) -> None:
    write(project, OURS + "{% block labels %}\nCOPY x.lock /opt/\n{% endblock %}\n")
    with pytest.raises(RenderError, match=r"files/x\.lock, which .* is in no template folder"):
        Renderer(project / "templates").files(small[CPU])
    write(project, "a lock of theirs\n", "files/x.lock")
    assert Renderer(project / "templates").files(small[CPU])["x.lock"] == b"a lock of theirs\n"


def test_all_locks_by_a_glob(project: Path, small: dict[str, Target]) -> None:
    write(project, OURS + "{% block labels %}\nCOPY *.lock /opt/\n{% endblock %}\n")
    write(project, "a lock of theirs\n", "files/x.lock")
    write(project, "not ours to replace\n", "files/framework.lock")
    found = Renderer(project / "templates").files(small[CPU])
    assert found["x.lock"] == b"a lock of theirs\n"
    assert "framework.lock" not in found


# Line ends


def test_scripts_with_other_line_ends_are_refused(project: Path, small: dict[str, Target]) -> None:
    """They would not start in an image; templates and all else are taken as they are."""
    write(project, (OURS + "{% block labels %}\nCOPY a.sh b.txt /\n{% endblock %}\n"))
    path = project / "templates/Dockerfile.j2"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    write(project, "x", "files/b.txt")
    for name in ("a.sh", "b.txt"):
        (project / "templates/files" / name).write_bytes(b"true\r\n")
    with pytest.raises(RenderError, match=r"a\.sh has lines that end with CRLF; write"):
        Renderer(project / "templates").files(small[CPU])
    (project / "templates/files/a.sh").write_bytes(b"true\n")
    found = Renderer(project / "templates").files(small[CPU])
    assert found["b.txt"] == b"true\r\n"
    assert b"\r" not in found["Dockerfile"]


def test_a_rendered_file_with_other_line_ends_is_told_in_a_line(tmp_path: Path) -> None:
    change = Change(path=tmp_path / "Dockerfile", before=b"a\r\nb\r\n", after=b"a\nb\n")
    assert change.diff().startswith(
        f"{tmp_path}/Dockerfile: its lines end with CRLF; write `* text"
    )
    assert change.diff().count("\n") == 1


# The templates of another commit

BREAKS_OUT = """\
{{ ''.__class__.__mro__[1].__subclasses__() }}
"""


def test_a_template_that_is_not_trusted_reaches_nothing(
    project: Path, small: dict[str, Target]
) -> None:
    write(project, OURS + "{% block labels %}\n" + BREAKS_OUT + "{% endblock %}\n")
    templates = project / "templates"
    # In this order: what is compiled for one is nothing for the other.
    assert "class" in Renderer(templates).files(small[CPU])["Dockerfile"].decode()
    with pytest.raises(RenderError, match=r"access to attribute '__class__'.* is unsafe"):
        Renderer(templates, trusted=False).files(small[CPU])
    assert "class" in Renderer(templates).files(small[CPU])["Dockerfile"].decode()


def test_our_templates_need_no_trust(small: dict[str, Target]) -> None:
    for target in small.values():
        assert Renderer(trusted=False).files(target) == Renderer().files(target)

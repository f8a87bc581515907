"""README and docs by what they show: commands that there are, output as it comes, sound links."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml

from builder.cli.main import cli
from tests.conftest import ROOT, Dlc

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Written by commands, from data of the day that they ran: tables, not samples.
WRITTEN = {"images.md", "proof.md", "size.md", "tasks.md", "contract.md", "pins.md"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    at: str
    language: str
    text: str

    @property
    def steps(self) -> Iterator[tuple[str, str]]:
        """Each command of a console block, with what is shown of its output.

        Where a block has prompts, all other lines are output; where it has none, all are commands.
        """
        prompted = "$ " in self.text
        command, output = "", ""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ ") or (not prompted and line):
                if command:
                    yield command, output
                command, output = line.removeprefix("$ "), ""
            else:
                output += line + "\n"
        if command:
            yield command, output


def blocks() -> list[Block]:
    fence = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in fence.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            lines = (each.removeprefix(match[1]) for each in match[3].splitlines())
            at = f"{page.relative_to(ROOT)}:{line}"
            found.append(Block(at=at, language=match[2], text="\n".join(lines)))
    return found


BLOCKS = blocks()
CONSOLE = [block for block in BLOCKS if block.language in {"console", "sh"}]


def named(block: Block) -> str:
    return block.at


def mentions() -> list[tuple[str, str]]:
    """Every command of ours that is named, in a sentence or in a block: where, and its words."""
    found = []
    for page in PAGES:
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
            for text in re.findall(r"`((?:dlc|make) [^`]+)`", line):
                found.append((f"{page.relative_to(ROOT)}:{number}", text))
    for block in CONSOLE:
        for command, _ in block.steps:
            for part in parts(command):
                if part[0] in {"dlc", "make"}:
                    found.append((block.at, shlex.join(part)))
    return found


def words(text: str) -> list[str]:
    """A command line's words; operators of the shell are words too, and comments are none."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    return list(lexer)


def parts(command: str) -> Iterator[list[str]]:
    """The commands of a line, and those whose output a shell puts into one."""
    part: list[str] = []
    for word in [*words(command), ";"]:
        if word.startswith("$("):
            yield from parts(word[2:-1])
        if set(word) <= set("&|;"):
            if part:
                yield [part[0].removeprefix(".venv/bin/"), *part[1:]]
            part = []
        else:
            part.append(word)


def misnamed(text: str) -> str | None:
    """What of a command line there is not: the command, an option, or a value of a closed list."""
    program, *arguments = words(text)
    last = arguments[-1]
    if program == "make":
        targets = set(
            re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        )
        lost = [word for word in arguments if "=" not in word and word not in targets]
        return f"no target of make: {', '.join(lost)}" if lost else None
    context = click.Context(cli, info_name="dlc")
    command: click.Command = cli
    try:
        while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
            name = arguments.pop(0)
            # `dlc ecr plan|apply` names two.
            both = [command.get_command(context, each) for each in name.split("|")]
            if None in both:
                return f"no command {name}"
            assert both[0] is not None
            command = both[0]
        context = click.Context(command, info_name="dlc", parent=context)
        given, _, order = command.make_parser(context).parse_args(arguments)
    except click.BadOptionUsage as error:
        # An option may be named without its value.
        return None if error.option_name == last else error.format_message()
    except click.ClickException as error:
        return error.format_message()
    for option in order:
        value = given.get(option.name or "")
        if isinstance(option.type, click.Choice) and isinstance(value, str):
            try:
                option.type.convert(value, option, context)
            except click.ClickException as error:
                return error.format_message()
    return None


def test_commands_are_there() -> None:
    wrong = [f"{at}: `{text}`: {why}" for at, text in mentions() if (why := misnamed(text))]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dlc biuld", "no command biuld"),
        ("dlc ecr paln", "no command paln"),
        ("dlc build --agian", "No such option"),
        ("dlc list --format yaml", "'yaml' is not one of"),
        ("make tset", "no target of make: tset"),
        ("dlc lock --upgrade", None),
        ("dlc lock --check '*a*'  # it asks no index", None),
    ],
)
def test_what_is_not_there_is_found(text: str, why: str | None) -> None:
    found = misnamed(text)
    assert found is None if why is None else why in str(found)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the commands of the docs find what they would in a checkout."""
    shutil.copy(ROOT / "matrix.yaml", tmp_path)
    (tmp_path / "images").symlink_to(ROOT / "images")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What needs neither engine, registry, index nor another commit.
RUNS = re.compile(
    r"(\.venv/bin/)?dlc (list|show|uri|sdk-config|schema|lock --check|render --check)\b"
)


def resembles(shown: str, printed: str) -> bool:
    """Whether output is as shown: `...` and `…` stand for anything within a line."""
    pattern = r"[^\n]*".join(map(re.escape, re.split(r"\.\.\.|…", shown.strip())))
    return re.fullmatch(pattern, printed.strip()) is not None


@pytest.mark.usefixtures("checkout")
def test_samples_are_as_printed(dlc: Dlc) -> None:
    ran = 0
    for block in CONSOLE:
        for command, shown in block.steps:
            if not RUNS.match(command):
                continue
            run = dlc(*words(command.removeprefix(".venv/bin/"))[1:])
            assert run.code == 0, f"{block.at}: {command}: {run.err}"
            assert not shown.strip() or resembles(shown, run.err + run.out), block.at
            ran += 1
    assert ran >= 2


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "python"], ids=named
)
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.at, "exec")


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "yaml"], ids=named
)
def test_yaml_loads(block: Block) -> None:
    assert yaml.safe_load(block.text)


def test_json_is_sound() -> None:
    """`...` stands for a value, for the rest of a number or of a list."""
    shown = [
        text
        for block in CONSOLE
        for _, output in block.steps
        for text in re.findall(r"^\{.*\}$", output, re.MULTILINE | re.DOTALL)
    ]
    assert shown
    for text in shown:
        whole = re.sub(r"([0-9])\.\.\.", r"\1", text)
        whole = re.sub(r",\s*\.\.\.", "", whole)
        json.loads(re.sub(r"(?<![\"\w])\.\.\.", "", whole))


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(text) for text in re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)}


def test_links_lead_somewhere() -> None:
    wrong = []
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            place, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            to = (page.parent / place).resolve() if place else page
            if not to.exists() or (anchor and to.suffix == ".md" and anchor not in anchors(to)):
                wrong.append(f"{page.relative_to(ROOT)}: {link}")
    assert wrong == []


def test_files_that_are_named_are_there() -> None:
    """Of this repository: a path in backticks that starts with a folder of it; a team has its own
    `templates/files`.
    """
    folders = "|".join(re.escape(path.name) for path in ROOT.iterdir() if path.is_dir())
    path = re.compile(rf"`((?:{folders})/[\w./*-]+)`")
    wrong = []
    for page in PAGES:
        for name in path.findall(page.read_text("utf-8")):
            made = name.startswith((".venv/", "images/REPOSITORY", "templates/files/"))
            if not made and not any(ROOT.glob(name.rstrip("/"))):
                wrong.append(f"{page.relative_to(ROOT)}: {name}")
    assert wrong == []

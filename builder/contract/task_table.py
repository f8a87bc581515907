"""The results of every task on every image that was asked: kept as JSON, summed up as a page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.contract.run import Result
from builder.matrix.tags import parse_tag
from builder.util import atomic

__all__ = ["Row", "TaskResult", "load", "results", "save", "table", "wrong"]

_INTRODUCTION = """\
# What every task answers

Written by `make tasks ROWS=SELECTOR`: each image is built, on stand-ins where
that is needed, and asked every task of the reference pages, with the pages' own request where they
give one. The models are tiny and random, and made by the image itself; what is checked is the form
of the answer: labels, scores, offsets, numbers of items, masks. Task by task, with each answer and
the reason for each refusal, the results are on the page *Tasks* of the [site](site.md) (`make
site`) and in [tasks.json](tasks.json). `dlc test TARGET --only tasks` asks one image and writes
nothing.

An answer has the right form. A refusal is an error with a status of 400 to 599 and a message that
names the reason, from a server that goes on serving. What an image can do follows from what is
installed in it, by the rules in `builder/contract/tasks.py`.

Transformers 4.42 removed its pipeline for `conversational`, and 5.3 those for `summarization`,
`translation_xx_to_yy`, `text2text-generation` and `question-answering`. There the image's own serve
them, on the same models (`runtime/dlc_pipelines.py`), with the same requests and answers.

"""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    """What became of a task: `outcome` is passed or failed; seconds to the first answer.

    `reason` is why it, or one way to ask it, is refused; `detail` what was answered.
    """

    task: str
    supported: bool
    outcome: str
    seconds: float
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """An image that was asked, what stood in for its real parts, its versions, and the day."""

    image: str
    stand_in: str
    versions: Mapping[str, str]
    date: str
    tasks: Sequence[TaskResult]


def results(found: Iterable[Result]) -> tuple[TaskResult, ...]:
    """The tasks among the contract's results."""
    return tuple(
        TaskResult(
            task=result.properties["task"],
            supported=result.properties["supported"] == "True",
            outcome=result.outcome,
            seconds=float(result.properties.get("seconds", 0)),
            reason=result.properties["reason"],
            detail=result.detail,
        )
        for result in found
        if "task" in result.properties
    )


def load(path: Path) -> dict[str, Row]:
    """The rows by the image's name; none if there is no file yet."""
    if not path.is_file():
        return {}
    return {
        row["image"]: Row(**{**row, "tasks": tuple(TaskResult(**task) for task in row["tasks"])})
        for row in json.loads(path.read_text("utf-8"))["rows"]
    }


def save(path: Path, rows: Iterable[Row]) -> None:
    """Write the rows; the file is replaced whole or not at all."""
    text = json.dumps({"rows": [asdict(row) for row in rows]}, indent=1, ensure_ascii=False)
    atomic.write(path, text + "\n")


def wrong(row: Row, tasks: Iterable[str]) -> list[str]:
    """What a row does not show of the tasks as it should, a line for each."""
    found = {result.task: result for result in row.tasks}
    problems = [f"{row.image}: {task} was not asked" for task in tasks if task not in found]
    for name, result in found.items():
        if result.outcome != "passed":
            problems.append(f"{row.image}: {name} {result.outcome}: {result.detail}")
        elif not result.supported and not result.reason:
            problems.append(f"{row.image}: {name} is refused without a reason")
    return problems


def table(rows: Iterable[Row]) -> str:
    """The page: a line for each image, with the tasks that it does not answer."""
    rows = list(rows)
    titles = Counter(map(_title, rows))
    lines = ["| image | toolkit | asked on | answers | refuses |", "|---|---|---|---|---|"]
    for row in rows:
        title = _title(row)
        if titles[title] > 1:
            title += f", Python {parse_tag(row.image.partition(':')[2]).python}"
        lines.append(f"| {title} | {' | '.join(_cells(row))} |")
    return _INTRODUCTION + "\n".join(lines) + "\n"


def _title(row: Row) -> str:
    return f"{row.versions['framework']}, Transformers {row.versions['transformers']}"


def _cells(row: Row) -> list[str]:
    answered = [each for each in row.tasks if each.supported and each.outcome == "passed"]
    refused = [f"`{each.task}`" for each in row.tasks if not each.supported]
    failed = [f"`{each.task}`" for each in row.tasks if each.outcome != "passed"]
    told = ", ".join(refused) or "-"
    return [
        row.versions["toolkit"],
        row.date + (", on a stand-in" if row.stand_in else ""),
        f"{len(answered)} of {len(row.tasks)}",
        f"{told}; **failed**: {', '.join(failed)}" if failed else told,
    ]

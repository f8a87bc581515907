"""`make contract`: the whole contract against images; writes docs/contract.json and contract.md."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from builder.cli.contract import tell
from builder.cli.main import run_command
from builder.contract.run import Result, run
from builder.engine.namespace import local_name
from builder.matrix.select import select
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.util.console import say
from tests.own_namespace import own_part, taking_turns
from tools.prove.bases import default_interpreters
from tools.prove.prove import Prover

__all__ = ["Row", "load", "serving", "summary", "table", "wrong"]

ROOT = Path(__file__).parents[2]
FAILED = "failed"

_INTRODUCTION = """\
# What images were held to

Written by `make contract ROWS=SELECTOR`: each image is built, on stand-ins where
that is needed, and held to its whole contract, which is `dlc test TARGET` ([layers.md](layers.md)).
What a training image trains is asked of the inference image of its release. A row has the tests
that there were on its date; for older rows some have come since.
A cell is how many tests of a part passed; what is skipped names its reason below, by a version of
what is installed. The tasks are summed up in [tasks.md](tasks.md).

"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What became of one image's contract: counts by part and outcome, and why tests were skipped.

    `key` is its build key; seconds are those of all its tests. `told` is what the jobs of a
    training image did, by test.
    """

    image: str
    stand_in: str
    key: str
    date: str
    seconds: float
    parts: Mapping[str, Mapping[str, int]]
    skipped: Sequence[str]
    told: Mapping[str, str]


def load(path: Path) -> dict[str, Row]:
    """The rows by image; none if there is no file yet."""
    if not path.is_file():
        return {}
    return {row["image"]: Row(**row) for row in json.loads(path.read_text("utf-8"))["rows"]}


def summary(target: Target, built: Target, key: str, results: Iterable[Result]) -> Row:
    """A row of the results of one image."""
    parts: dict[str, dict[str, int]] = {}
    results = list(results)
    for result in results:
        counts = parts.setdefault(result.test.partition("::")[0], {})
        counts[result.outcome] = counts.get(result.outcome, 0) + 1
    reasons = (f"{r.test}: {r.detail}" for r in results if r.outcome == "skipped")
    return Row(
        image=target.name,
        stand_in=built.stand_in,
        key=key,
        date=datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        seconds=round(sum(result.seconds for result in results)),
        parts=dict(sorted(parts.items())),
        skipped=sorted(reasons),
        told={
            r.test: r.detail
            for r in results
            if r.outcome == "passed" and r.detail and r.test.startswith("training_")
        },
    )


def wrong(row: Row) -> list[str]:
    """The parts of which tests failed."""
    return [part for part, counts in row.parts.items() if counts.get(FAILED)]


def serving(target: Target, targets: Sequence[Target]) -> Target | None:
    """The inference target that a training target's models are for, if its release has one.

    That of the same framework version and for the CPU, if there is a choice.
    """
    found = [
        each
        for each in targets
        if each.mode == "inference"
        and each.device in {"cpu", "gpu"}
        and each.framework == target.framework
        and each.transformers == target.transformers
    ]
    version = target.framework_version
    return min(found, key=lambda t: (t.framework_version != version, t.device), default=None)


def table(rows: Sequence[Row]) -> str:
    """The page: a table for each mode, what jobs did, and why tests were skipped."""
    lines: list[str] = []
    for mode in ("inference", "training"):
        chosen = [row for row in rows if f"-{mode}" in row.image.partition(":")[0]]
        if not chosen:
            continue
        parts = sorted({part for row in chosen for part in row.parts})
        lines += [f"## {mode.capitalize()} images", ""]
        lines.append(f"| image | {' | '.join(parts)} | seconds |")
        lines.append("|---" * (len(parts) + 2) + "|")
        for row in chosen:
            cells = [_cell(row.parts.get(part, {})) for part in parts]
            lines.append(f"| `{row.image}` | {' | '.join(cells)} | {row.seconds:.0f} |")
        lines.append("")
    lines += ["## What training jobs did", ""]
    for row in rows:
        if row.told:
            lines += [f"`{row.image}`:", ""]
            lines += [f"- {test}: {said}" for test, said in sorted(row.told.items())]
            lines.append("")
    lines += ["## What was skipped, and why", ""]
    for row in rows:
        on = f", with a stand-in for {row.stand_in}" if row.stand_in else ""
        lines += [f"`{row.image}`{on}, on {row.date}:", ""]
        lines += [f"- {reason}" for reason in row.skipped] or ["- nothing"]
        lines.append("")
    return _INTRODUCTION + "\n".join(lines).rstrip() + "\n"


def _cell(counts: Mapping[str, int]) -> str:
    """The tests that passed of those that ran."""
    ran = counts.get("passed", 0) + counts.get(FAILED, 0)
    return f"{counts.get('passed', 0)} of {ran}" if ran else "-"


@click.command()
@click.argument("selectors", nargs=-1, required=True, metavar="SELECTOR...")
def contract(selectors: tuple[str, ...]) -> None:
    """Build images, hold them to the contract, and remove them again."""
    targets = load_targets(ROOT / "matrix.yaml")
    docs = ROOT / "docs"
    bad = 0
    with own_part() as shared:
        prover = Prover(ROOT / "images", default_interpreters(), say, shared.engine)
        for target in select(targets, selectors):
            row = _row(target, targets, prover)
            bad += bool(wrong(row))
            with taking_turns(docs):
                rows = load(docs / "contract.json") | {target.name: row}
                known = [rows[each.name] for each in targets if each.name in rows]
                text = json.dumps({"rows": [asdict(each) for each in known]}, indent=1) + "\n"
                (docs / "contract.json").write_text(text, "utf-8")
                (docs / "contract.md").write_text(table(known), "utf-8")
    say(f"{bad} images break their contract")
    sys.exit(int(bool(bad)))


def _row(target: Target, targets: Sequence[Target], prover: Prover) -> Row:
    """What becomes of one image's contract."""
    with ExitStack() as stack:
        if target.mode == "training" and (twin := serving(target, targets)):
            stack.enter_context(prover.image(twin))
        built = stack.enter_context(prover.image(target))
        results = run(local_name(built.name), name=target.name, on_result=tell)
    for result in results:
        if result.outcome == FAILED:
            say(f"\n{result.test}\n{result.output}")
    return summary(target, built, prover.key(target), results)


if __name__ == "__main__":
    run_command(contract, "contract")

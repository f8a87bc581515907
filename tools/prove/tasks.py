"""`make tasks`: ask images every task, and write docs/tasks.json and docs/tasks.md."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import click

from builder.cli.contract import tell
from builder.cli.main import run_command
from builder.contract.run import run
from builder.contract.subject import examine
from builder.contract.task_table import Row, load, results, save, table, wrong
from builder.contract.tasks import TASKS, TOOLKIT
from builder.engine.connection import engine_client
from builder.engine.namespace import local_name
from builder.matrix.select import select
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.util.console import say
from tests.own_namespace import own_part, taking_turns
from tools.prove.bases import default_interpreters
from tools.prove.prove import Prover

ROOT = Path(__file__).parents[2]
NAMES = [task.name for task in TASKS]


@click.command()
@click.argument("selectors", nargs=-1, required=True, metavar="SELECTOR...")
def tasks(selectors: tuple[str, ...]) -> None:
    """Build inference images, ask them every task, and remove them again."""
    targets = load_targets(ROOT / "matrix.yaml")
    chosen = [target for target in select(targets, selectors) if target.mode == "inference"]
    rows: dict[str, Row] = {}
    docs = ROOT / "docs"
    with own_part() as shared:
        prover = Prover(ROOT / "images", default_interpreters(), say, shared.engine)
        for target in chosen:
            with prover.image(target) as built:
                row = _row(target, built)
            with taking_turns(docs):
                rows = load(docs / "tasks.json") | {target.name: row}
                known = [rows[target.name] for target in targets if target.name in rows]
                save(docs / "tasks.json", known)
                (docs / "tasks.md").write_text(table(known), "utf-8")
    bad = [line for target in chosen for line in wrong(rows[target.name], NAMES)]
    for line in bad:
        say(line)
    say(f"{len(chosen)} images asked, {len(bad)} tasks not as they should be")
    sys.exit(int(bool(bad)))


def _row(target: Target, built: Target) -> Row:
    with engine_client() as client:
        subject = examine(client, local_name(built.name), target.name)
    found = run(local_name(built.name), name=target.name, only="tasks", on_result=tell)
    label = {"pytorch": "PyTorch", "tensorflow": "TensorFlow"}[target.framework]
    return Row(
        image=target.name,
        stand_in=built.stand_in,
        versions={
            "framework": f"{label} {target.framework_version}",
            "transformers": subject.packages["transformers"],
            "toolkit": subject.packages[TOOLKIT],
        },
        date=datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        tasks=results(found),
    )


if __name__ == "__main__":
    run_command(tasks, "tasks")

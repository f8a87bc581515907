"""The contract of every image: it is what its tag says, it is whole, and it does its work once.

An inference image answers a text-classification with a tiny model of its own framework; a training
image fine-tunes one for a few steps on the CPU.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from builder.locks.lockfile import pinned
from builder.matrix.requirements import normalise
from builder.serve.programs import run_files, run_report
from builder.util.check import Check

if TYPE_CHECKING:
    import docker

    from builder.matrix.target import Target

__all__ = ["basics", "compare", "labels", "predicts", "trains"]

TRAINING_SECONDS = 900


def basics(
    client: docker.DockerClient, image: str, target: Target, requirements: Iterable[str]
) -> list[Check]:
    """Python, packages and labels of an image against its target and its locks' requirements.

    ContainerError if the image's Python does not even tell.
    """
    found = list(compare(run_report(client, image, "image_report.py"), target, requirements))
    return [*found, labels(client.images.get(image).labels, target)]


def compare(
    report: Mapping[str, Any], target: Target, requirements: Iterable[str]
) -> Iterator[Check]:
    """What image_report.py told, against the tag and the locks."""
    yield Check(
        name="python",
        passed=report["python"] == target.python,
        detail=f"{report['python']}, and the tag says {target.python}",
    )
    module = {"pytorch": "torch"}.get(target.framework, target.framework)
    wanted = {module: target.framework_version, "transformers": target.transformers}
    if target.datasets:
        wanted["datasets"] = target.datasets
    imported = {name: _public(report["imported"][name]) for name in wanted}
    yield Check(
        name="versions",
        passed=imported == wanted,
        detail=", ".join(f"{name} {version}" for name, version in imported.items()),
    )
    installed = {normalise(name): version for name, version in report["packages"].items()}
    locked = dict(map(_locked, requirements))
    wrong = {
        name: installed.get(name, "missing")
        for name, version in locked.items()
        if name not in installed or _differ(installed[name], version)
    }
    extra = sorted(installed.keys() - locked.keys())
    yield Check(
        name="locked packages",
        passed=not wrong and not extra,
        detail=f"{len(locked) - len(wrong)} of {len(locked)} as locked"
        + "".join(f"; {name} is {version}" for name, version in sorted(wrong.items()))
        + "".join(f"; {name} is in no lock" for name in extra),
    )
    complaints = [line for line in report["check"].splitlines() if not _excluded(line, target)]
    clean = ", ".join(("clean", *(f"without {name}" for name in target.excludes)))
    yield Check(name="pip check", passed=not complaints, detail="\n".join(complaints) or clean)


def _excluded(complaint: str, target: Target) -> bool:
    """Whether pip misses what the matrix leaves out on purpose."""
    found = re.search(r" requires (\S+), which is not installed", complaint)
    excluded = set(map(normalise, target.excludes))
    return found is not None and normalise(found[1]) in excluded


def labels(found: Mapping[str, str], target: Target) -> Check:
    """The image's labels against the target's."""
    wanted = target.labels()
    wrong = sorted(name for name, value in wanted.items() if found.get(name) != value)
    return Check(
        name="labels",
        passed=not wrong,
        detail=f"{len(wanted) - len(wrong)} of {len(wanted)} as they should be"
        + "".join(f"; {name} is {found.get(name)!r}" for name in wrong),
    )


def predicts(client: docker.DockerClient, image: str, say: Callable[[str], None]) -> Check:
    """An inference image's answer to one text-classification; ContainerError if there is none."""
    from builder.serve.run import smoke

    prediction = smoke(client, image, say=say)
    answer = prediction.answer
    right = (
        isinstance(answer, list)
        and len(answer) == 1
        and isinstance(answer[0], dict)
        and answer[0].get("label") in ("NEGATIVE", "POSITIVE")
        and 0.5 <= answer[0].get("score", 0) <= 1
    )
    shown = f"{answer[0]['label']} {answer[0]['score']:.2f}" if right else json.dumps(answer)
    return Check(
        name="answer",
        passed=right,
        detail=f"{shown} after {prediction.answer_seconds:.1f} s",
    )


def trains(client: docker.DockerClient, image: str) -> Check:
    """A training image's few steps of fine-tuning; ContainerError if they fail."""
    command = (
        "python /tmp/tiny_model.py /tmp/model && python /tmp/tiny_training.py /tmp/model /tmp/out"
    )
    output = run_files(
        client, image, ["tiny_model.py", "tiny_training.py"], command, TRAINING_SECONDS
    )
    report = json.loads(output.splitlines()[-1])
    saved = {"config.json"} < set(report["files"]) and any(
        name.endswith((".bin", ".safetensors", ".h5")) for name in report["files"]
    )
    losses = report["losses"]
    return Check(
        name="fine-tuning",
        passed=bool(report["changed"] and report["finite"] and losses and saved),
        detail=f"{report['steps']} steps, "
        + (f"loss {losses[0]:.3f} to {losses[-1]:.3f}" if losses else "no loss")
        + ("" if report["changed"] else "; the weights did not change")
        + ("" if saved else f"; saved only {', '.join(report['files']) or 'nothing'}"),
    )


def _public(version: str) -> str:
    """A version without its local part; why there is none stays whole."""
    return version.partition("+")[0] if version[:1].isdigit() else version


def _locked(entry: str) -> tuple[str, str]:
    """The name and version of a requirement; a direct wheel's is in the name of its file."""
    name, version = pinned(entry)
    if not version:
        file = unquote(re.split(r" @ \S*/", entry)[1])
        version = file.split("-")[1]
    return name, version


def _differ(installed: str, locked: str) -> bool:
    from packaging.version import Version

    return Version(installed) != Version(locked)

"""The jobs of continuous integration: which targets share one."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.build.ci_jobs import LIMIT, as_github, shards
from builder.build.plan import Inputs, framework_layer, inputs
from builder.dockerfile.render import LOCK_NAMES, Renderer
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.conftest import ROOT, Dlc

REAL = load_targets(ROOT / "matrix.yaml", name="matrix.yaml")
# No index that can be reached has what Neuron is made of, so its locks lack hashes.
HASHED = [target for target in REAL if not target.device.startswith("neuron")]
# More frameworks than a matrix of GitHub's may have jobs.
MANY = [
    dataclasses.replace(target, framework_version=f"{target.framework_version}.post{number}")
    for number in range(20)
    for target in REAL
]


TARGETS = st.lists(st.sampled_from(MANY), max_size=600, unique_by=lambda each: each.name)


@given(targets=TARGETS, at_most=st.integers(1, 400), by_framework=st.booleans())
def test_every_target_once(targets: list[Target], at_most: int, by_framework: bool) -> None:
    found = shards(targets, at_most=at_most, by_framework=by_framework)
    assert Counter(t.name for shard in found for t in shard.targets) == Counter(
        target.name for target in targets
    )
    assert all(shard.targets for shard in found)
    assert [shard.name for shard in found] == list(dict.fromkeys(shard.name for shard in found))
    assert shards(targets, at_most=at_most, by_framework=by_framework) == found
    groups = len({framework_layer(target) for target in targets}) if by_framework else len(targets)
    assert len(found) == min(groups, at_most, LIMIT)


@given(targets=TARGETS, at_most=st.integers(1, 400))
def test_no_group_is_split(targets: list[Target], at_most: int) -> None:
    found = shards(targets, at_most=at_most)
    where = Counter(
        layer for shard in found for layer in {framework_layer(t) for t in shard.targets}
    )
    assert set(where.values()) <= {1}


def test_jobs_have_about_as_many_targets() -> None:
    """No job has more than the mean by more than the largest group."""
    found = shards(REAL, at_most=4)
    loads = [len(shard.targets) for shard in found]
    largest = max(Counter(framework_layer(target) for target in REAL).values())
    assert len(loads) == 4
    assert loads == sorted(loads, reverse=True)
    assert max(loads) <= sum(loads) / 4 + largest
    assert re.fullmatch(r"\S+ and \d+ more", found[0].name)


def test_as_github_reads_it() -> None:
    found = shards(REAL[:3])
    assert as_github(found)["include"][0].keys() == {"name", "targets"}
    assert as_github([]) == {"include": []}


def test_one_framework_layer_is_one_layer() -> None:
    """What has the same name of a layer has the same steps up to it, and the same locks."""
    renderer, seen = Renderer(), dict[str, tuple[bytes, ...]]()
    for target in REAL:
        if target not in HASHED:
            continue
        made_of = inputs(target, ROOT / "images", renderer)
        assert seen.setdefault(framework_layer(target), _shared(made_of)) == _shared(made_of)
    assert len(set(map(str, seen.values()))) == len(seen)


def _shared(made_of: Inputs) -> tuple[bytes, ...]:
    text = made_of.files["Dockerfile"].decode()
    installed = "/mnt/install.sh /opt/dlc/framework.lock\n"
    upto = text[text.index("FROM ${BASE} AS python\n") : text.index(installed)]
    shared = [name for name in LOCK_NAMES if name != "libraries.lock"]
    return (
        upto.encode(),
        *(made_of.files[name] for name in [*shared, "compile.py", "fetch.sh", "install.sh"]),
    )


# The command


def test_the_command(dlc: Dlc) -> None:
    run = dlc("--matrix", ROOT / "matrix.yaml", "ci-matrix", "--shards", "5")
    assert run.code == 0
    jobs = json.loads(run.out)["include"]
    assert len(jobs) == 5
    named = [name for job in jobs for name in job["targets"].split()]
    assert sorted(named) == sorted(target.name for target in HASHED)
    left_out = [line for line in run.err.splitlines() if line.startswith("skipped: ")]
    assert len(left_out) == len(REAL) - len(HASHED)
    for line, target in zip(left_out, (t for t in REAL if t not in HASHED), strict=True):
        assert line.startswith(f"skipped: {target.name} cannot be built from hashes alone: ")
        assert line.endswith(f"; run `dlc lock {target.name}` where that source can be reached")
    assert run.err.endswith(f"{len(HASHED)} targets in 5 jobs, 0 up to date\n")


def test_one_job_a_target(dlc: Dlc) -> None:
    run = dlc("--matrix", ROOT / "matrix.yaml", "ci-matrix", "--group", "target", "*4.26.0*")
    jobs = json.loads(run.out)["include"]
    assert sorted(job["targets"] for job in jobs) == sorted(
        target.name for target in REAL if target.transformers == "4.26.0"
    )


def test_outside_of_github(dlc: Dlc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    run = dlc("--matrix", ROOT / "matrix.yaml", "ci-matrix", "--github", "*4.26.0*")
    assert run.code == 2
    assert "GITHUB_OUTPUT" in run.err

"""`dlc release`: what is built, tested, pushed and forgotten, in which order, and what is left."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builder.build.plan import Inputs, Planned
from builder.engine.namespace import local_name
from builder.errors import (
    BuildError,
    ContainerError,
    DlcError,
    Interrupted,
    PushError,
    RegistryError,
)
from builder.matrix.target import Target
from builder.release import pipeline
from builder.release.pipeline import Result, Wanted, release, wanted
from builder.release.record import Released
from tests.conftest import Dlc

REGISTRY, OTHER = "registry.example.com/team", "other.example.com"


@dataclass
class Steps:
    """Notes what is done; `fails` has what goes wrong, by the call that it is noted as."""

    fails: Mapping[str, BaseException] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def build(self, target: Target) -> None:
        self._do(f"build {target.name}")

    def test(self, target: Target) -> None:
        self._do(f"test {target.name}")

    def push(self, target: Target, registry: str) -> Released:
        self._do(f"push {target.name} {registry}")
        return released(target, registry)

    def forget(self, target: Target) -> None:
        self._do(f"forget {target.name}")

    def _do(self, call: str) -> None:
        self.calls.append(call)
        if call in self.fails:
            raise self.fails[call]


def released(target: Target, registry: str = REGISTRY) -> Released:
    return Released(
        image=f"{registry}/{target.repository}",
        tag=target.tag,
        tags=(target.tag,),
        digest="sha256:" + "1" * 64,
        size=7,
        key="k",
        profile="sagemaker",
    )


@pytest.fixture
def three(small: dict[str, Target]) -> tuple[Target, Target, Target]:
    first, second, third, *_ = small.values()
    return first, second, third


def of(targets: Sequence[Target], *registries: str) -> list[Wanted]:
    return [Wanted(target=target, registries=registries) for target in targets]


def all_of(target: Target, *registries: str) -> list[str]:
    name = target.name
    pushes = [f"push {name} {registry}" for registry in registries]
    return [f"build {name}", f"test {name}", *pushes, f"forget {name}"]


def test_each_goes_all_the_way_before_the_next(three: tuple[Target, ...]) -> None:
    steps = Steps()
    ticks = iter([0.0, 5.04, 10.0, 12.0, 20.0, 20.0])
    results = list(release(of(three, REGISTRY, OTHER), steps, clock=lambda: next(ticks)))
    assert steps.calls == [call for each in three for call in all_of(each, REGISTRY, OTHER)]
    assert [each.state for each in results] == ["pushed"] * 3
    assert [each.seconds for each in results] == [5.0, 2.0, 0.0]
    assert results[0].released == (released(three[0]), released(three[0], OTHER))
    pipeline.raise_if_failed(results)


def test_what_a_registry_has_is_left_out(three: tuple[Target, ...]) -> None:
    steps = Steps()
    mine = [*of(three[:1]), *of(three[1:2], OTHER)]
    results = list(release(mine, steps))
    assert steps.calls == all_of(three[1], OTHER)
    assert [each.state for each in results] == ["up to date", "pushed"]


@pytest.mark.parametrize(
    ("fails", "calls"),
    [("build", 1), ("test", 3)],
)
def test_one_that_fails_stops_no_other(fails: str, calls: int, three: tuple[Target, ...]) -> None:
    first, second, _ = three
    error = BuildError("a step failed", remedy="fix it")
    steps = Steps(fails={f"{fails} {first.name}": error})
    results = list(release(of(three[:2], REGISTRY), steps))
    assert steps.calls[:calls] == [*all_of(first)][:calls]
    assert steps.calls[calls:] == all_of(second, REGISTRY)
    assert [each.state for each in results] == ["failed", "pushed"]
    assert results[0].errors == ((fails, error),)
    with pytest.raises(PushError) as caught:
        pipeline.raise_if_failed(results)
    assert str(caught.value) == (
        f"1 target of 2 not pushed: {first.name}; run the same again: what is pushed is left out"
    )


def test_a_registry_that_refuses_keeps_it_from_no_other(three: tuple[Target, ...]) -> None:
    target = three[0]
    refused = PushError("no")
    steps = Steps(fails={f"push {target.name} {REGISTRY}": refused})
    [result] = release(of([target], REGISTRY, OTHER), steps)
    assert steps.calls == all_of(target, REGISTRY, OTHER)
    assert (result.state, result.released) == ("failed", (released(target, OTHER),))
    with pytest.raises(PushError) as caught:
        pipeline.raise_if_failed([result])
    assert caught.value is refused


@pytest.mark.parametrize("how", [KeyboardInterrupt(), Interrupted("stopped")])
@pytest.mark.parametrize("step", ["build", "test", "push"])
def test_what_is_interrupted_is_kept(
    step: str, how: BaseException, three: tuple[Target, ...]
) -> None:
    _, second, _ = three
    at = f"{step} {second.name}" + (f" {REGISTRY}" if step == "push" else "")
    steps = Steps(fails={at: how})
    results: list[Result] = []
    with pytest.raises(type(how)):
        results.extend(release(of(three, REGISTRY), steps))
    assert steps.calls[-1] == at
    assert f"forget {second.name}" not in steps.calls


def planned(target: Target, *reasons: str, blocked: bool = False) -> Planned:
    made_of = None if blocked else Inputs(target=target, files={}, digests={})
    return Planned(target=target, inputs=made_of, reasons=reasons, image=None, remedy="lock it")


def test_a_target_is_wanted_where_it_is_not(three: tuple[Target, ...]) -> None:
    first, second, third = three
    plans = {
        REGISTRY: [planned(first), planned(second), planned(third, "has no hash", blocked=True)],
        OTHER: [
            planned(first),
            planned(second, "there is no image"),
            planned(third, "has no hash", blocked=True),
        ],
    }
    found = wanted(three, plans)
    assert [each.registries for each in found] == [(), (OTHER,), (REGISTRY, OTHER)]
    assert [str(each.problem) for each in found] == [
        "None",
        "None",
        f"{third.name} has no hash; lock it",
    ]
    steps = Steps()
    results = list(release(found, steps))
    assert [each.state for each in results] == ["up to date", "pushed", "failed"]
    assert results[2].why == f"build: {third.name} has no hash; lock it"


def test_what_is_left_is_told(three: tuple[Target, ...]) -> None:
    first, second, third = three
    done = [Result(target=first, state="pushed", released=(released(first),))]
    failed = Result(
        target=second, state="failed", errors=(("build", BuildError("100 %\nno", remedy="see")),)
    )
    results = pipeline.with_rest([*done, failed], three)
    assert [each.state for each in results] == ["pushed", "failed", "left"]
    assert list(pipeline.github_errors(results)) == [
        f"::error::not pushed: {second.name}: build: 100 %25%0Ano; see",
        f"::error::not pushed: {third.name}",
    ]
    assert results[0].as_json() == {
        "image": first.name,
        "state": "pushed",
        "seconds": 0.0,
        "pushed": [
            {
                "image": f"{REGISTRY}/{first.repository}",
                "tag": first.tag,
                "tags": (first.tag,),
                "digest": "sha256:" + "1" * 64,
                "size": 7,
                "key": "k",
                "profile": "sagemaker",
            }
        ],
        "errors": [],
    }


# The command


@dataclass
class Machine:
    """An engine and a registry that do as they are told; all that is asked of them is noted."""

    fails: dict[str, DlcError] = field(default_factory=dict)
    interrupt: str = ""
    has: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def plan(self, targets: Sequence[Target]) -> list[Planned]:
        return [
            planned(each, *([] if each.name in self.has else ["there is no image"]))
            for each in targets
        ]

    def done(self, step: str) -> Callable[..., None]:
        def do(target: Target) -> None:
            call = f"{step} {target.name}"
            self.calls.append(call)
            if call == self.interrupt:
                raise KeyboardInterrupt
            if call in self.fails:
                raise self.fails[call]

        return do

    def push(self, target: Target, registry: str) -> Released:
        self.done("push")(target)
        self.has.add(target.name)
        return released(target, registry)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr("builder.build.comparison.Comparison.plan", found.plan)
    where = "builder.release.steps.Here"
    for step in ("build", "test", "forget"):
        monkeypatch.setattr(f"{where}.{step}", staticmethod(found.done(step)))
    monkeypatch.setattr(f"{where}.push", found.push)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return found


GOLDEN = Path(__file__).parents[2] / "golden" / "matrix.yaml"


def test_a_second_run_goes_on(
    dlc: Dlc, machine: Machine, three: tuple[Target, ...], tmp_path: Path
) -> None:
    first, second, _ = three
    names = [first.name, second.name]
    command = [
        *("--matrix", GOLDEN, "release", *names),
        *("--registry", REGISTRY, "--releases", tmp_path / "releases"),
    ]
    machine.fails[f"build {first.name}"] = BuildError("a step failed")
    told = dlc(*command)
    assert told.code == 14
    assert told.err.splitlines()[-1].startswith(
        f"dlc: 1 target of 2 not pushed: {first.name}; run the same again"
    )
    assert f"{first.name}: failed: build: a step failed\n" in told.err
    head, one, two = told.out.splitlines()
    assert head.split() == ["image", "state", "seconds", "where"]
    assert one.split()[:2] == [first.name, "failed"]
    assert two.split()[1] == "pushed"
    assert two.endswith(f"{REGISTRY}/{second.name}@sha256:{'1' * 64}")

    machine.fails.clear()
    machine.calls.clear()
    told = dlc(*command, "--format", "json")
    assert told.code == 0, told.err
    assert machine.calls == [f"{step} {first.name}" for step in ("build", "test", "push", "forget")]
    assert [each["state"] for each in json.loads(told.out)] == ["pushed", "up to date"]


def test_an_interruption_tells_what_is_left(
    dlc: Dlc,
    machine: Machine,
    three: tuple[Target, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    machine.interrupt = f"push {three[1].name}"
    names = [each.name for each in three]
    told = dlc(
        *("--matrix", GOLDEN, "release", *names, "--registry", REGISTRY),
        *("--releases", tmp_path / "releases", "--format", "json"),
    )
    assert told.code == 130
    assert [each["state"] for each in json.loads(told.out)] == ["pushed", "left", "left"]
    for each in three[1:]:
        assert f"::error::not pushed: {each.name}\n" in told.err
    assert f"forget {three[1].name}" not in machine.calls


def test_one_target_says_what_is_wrong_with_it(
    dlc: Dlc, machine: Machine, three: tuple[Target, ...], tmp_path: Path
) -> None:
    machine.fails[f"test {three[0].name}"] = ContainerError("it does not answer")
    where = ("--registry", REGISTRY, "--releases", tmp_path / "releases")
    told = dlc("--matrix", GOLDEN, "release", three[0].name, *where)
    assert (told.code, told.err.splitlines()[-1]) == (13, "dlc: it does not answer")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--registry", "https://x/y", "--all"], 2, "without https://"),
        (["--registry", "", "--all"], 2, "it is empty"),
        (["--all"], 2, "Missing option '--registry'"),
        (["--registry", REGISTRY], 2, "release all"),
        (["--registry", REGISTRY, "--all", "--test", "some"], 2, "'some' is not one of"),
        (["--registry", REGISTRY, "--all", "--releases", "file/below"], 14, "file/below"),
    ],
)
def test_what_is_refused_before_anything_is_done(
    arguments: list[str],
    code: int,
    message: str,
    dlc: Dlc,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    told = dlc("--matrix", GOLDEN, "release", *arguments)
    assert (told.code, told.out) == (code, ""), told.err
    assert message in told.err
    assert machine.calls == []


def test_a_registry_that_does_not_answer_builds_nothing(
    dlc: Dlc,
    machine: Machine,
    three: tuple[Target, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def silent(*_: object) -> list[Planned]:
        raise RegistryError("it does not answer")

    monkeypatch.setattr("builder.build.comparison.Comparison.plan", silent)
    where = ("--registry", REGISTRY, "--releases", tmp_path / "releases")
    told = dlc("--matrix", GOLDEN, "release", three[0].name, *where)
    assert (told.code, told.out, machine.calls) == (15, "", [])


@pytest.mark.parametrize(
    ("check", "asked"),
    [("smoke", ["inference"]), (None, []), ("contract", ["training", "inference"])],
)
def test_images_are_tested_as_told(
    check: str | None,
    asked: list[str],
    dlc: Dlc,
    small: dict[str, Target],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An inference image by one request, or any by its contract; the image is the engine's own."""
    training = next(each for each in small.values() if each.mode == "training")
    inference = next(each for each in small.values() if each.mode == "inference")
    of = {local_name(each.name): each.mode for each in (training, inference)}
    modes: list[str] = []
    monkeypatch.setattr(
        "builder.build.comparison.Comparison.plan",
        lambda _, targets: [planned(each, "there is no image") for each in targets],
    )
    where = "builder.release.steps"
    monkeypatch.setattr(f"{where}.Here.build", lambda *_: None)
    monkeypatch.setattr(
        f"{where}.Here.push", lambda _, target, registry: released(target, registry)
    )
    monkeypatch.setattr(f"{where}.engine_client", lambda: nullcontext(None))
    monkeypatch.setattr(f"{where}.find_image", lambda _, target: local_name(target.name))
    monkeypatch.setattr(f"{where}.smoke", lambda _, image, say: modes.append(of[image]))  # noqa: ARG005

    def contract(image: str, *, name: str) -> list[object]:
        assert local_name(name) == image
        modes.append(of[image])
        return []

    monkeypatch.setattr("builder.contract.run.run", contract)
    told = dlc(
        *("--matrix", GOLDEN, "release", training.name, inference.name, "--registry", REGISTRY),
        *("--releases", tmp_path / "releases", *(("--test", check) if check else ())),
    )
    assert (told.code, modes) == (0, asked), told.err

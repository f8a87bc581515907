"""A real fine-tuning: its metrics, its checkpoints, and its model where models are served."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import docker
import pytest

from builder.contract.subject import Subject
from builder.contract.training_data import QUESTIONS, last, metrics, serving_image, table
from builder.contract.training_job import ML, Job, Run, Train, program
from builder.engine.namespace import prefix
from builder.serve.run import run

Record = Callable[[str, object], None]

pytestmark = pytest.mark.training

STEPS = 60
# What the last evaluation found, by its name in the expressions.
EVALUATED = {"eval_accuracy", "validation:accuracy"}


def job(tiny: Mapping[str, bytes], **hyperparameters: object) -> Job:
    """A fine-tuning of the tiny model."""
    return Job(
        code={"train.py": program("training_text.py")},
        channels={"train": {"data.csv": table(4)}, "test": {"data.csv": table(1)}, "model": tiny},
        hyperparameters={"steps": STEPS, **hyperparameters},
    )


def answers(
    client: docker.DockerClient, image: str, files: Mapping[str, bytes], folder: Path
) -> list[tuple[str, float]]:
    """What an inference image says to the questions with a model: label and score of each."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    environment = {"HF_TASK": "text-classification"}
    with run(client, image, model=folder, environment=environment) as server:
        server.wait_ready(300)
        response = server.invoke(json.dumps({"inputs": list(QUESTIONS)}).encode())
        assert response.status == 200, response.body
        found: list[Any] = json.loads(response.body)
        return [(answer["label"], float(answer["score"])) for answer in found]


def test_trained_here_predicted_there(
    train: Train,
    client: docker.DockerClient,
    subject: Subject,
    tiny: Mapping[str, bytes],
    tmp_path: Path,
    record_property: Record,
) -> None:
    """A model learns two words, and the inference image of the same release knows them then."""
    run = train(job(tiny)).done()
    report = run.report()
    assert report["first"] == 1
    assert report["last"] == STEPS
    # Single steps are noisy: the model is tiny and has dropout.
    first, last = mean(report["losses"][:10]), mean(report["losses"][-10:])
    assert last < first
    assert report["accuracy"] == 1.0
    model = run.files(f"{ML}/model")
    assert "config.json" in model
    # Transformers 5 saves all that a tokenizer is in one file.
    assert {"vocab.txt", "tokenizer.json"} & set(model)
    learnt = f"mean loss {first:.2f} to {last:.2f}"
    record_property("detail", learnt)
    image = serving_image(client, subject)
    if not image:
        wanted = f"huggingface-{subject.repository.framework}-inference image of Transformers"
        pytest.skip(f"{learnt}; no {wanted} {subject.tag.transformers} is on the engine")
    before = answers(client, image, tiny, tmp_path / "before")
    after = answers(client, image, model, tmp_path / "after")
    shown = ", ".join(
        f"{question!r} {_shown(then)} then {_shown(now)}"
        for question, then, now in zip(QUESTIONS, before, after, strict=True)
    )
    # The name of a run's own part of the engine says nothing to others.
    record_property("detail", f"{learnt}; {image.removeprefix(prefix())} answers {shown}")
    assert [label for label, _ in after] == ["POSITIVE", "NEGATIVE"], shown
    assert all(score > 0.8 for _, score in after), shown
    assert before != after


def _shown(answer: tuple[str, float]) -> str:
    return f"{answer[0]} {answer[1]:.2f}"


def test_metrics(
    train: Train, subject: Subject, tiny: Mapping[str, bytes], record_property: Record
) -> None:
    """The lines of a job's log from which SageMaker reads metrics, with what they tell."""
    run = train(job(tiny, steps=12)).done()
    log, accuracy = run.log(), run.report()["accuracy"]
    for wanted in metrics(subject):
        found = {name: last(pattern, log) for name, pattern in wanted.items()}
        missing = [name for name, value in found.items() if value is None]
        assert not missing, f"{', '.join(missing)} not in\n{log}"
        reported = next(value for name, value in found.items() if name in EVALUATED)
        assert reported == pytest.approx(accuracy, abs=1e-3)
    record_property("detail", ", ".join(f"{name} {value:g}" for name, value in found.items()))


def test_checkpoint_and_resume(
    train: Train, tiny: Mapping[str, bytes], record_property: Record
) -> None:
    """A job that is stopped in mid-run is taken up by another container, as on spot instances."""
    steps, every = 20, 4
    first = train(job(tiny, steps=steps, save_steps=every, pause=0.5))
    first.wait_for(rf"saved step {every}\n")
    code = first.stop()
    assert code not in {0, 137}, f"exit code {code}"
    saved = first.files(f"{ML}/checkpoints")
    reached = max(int(number) for number in re.findall(r"saved step (\d+)", first.log()))
    assert every <= reached < steps
    assert saved
    second = _resumed(train, tiny, saved, steps=steps, save_steps=every).done()
    report = second.report()
    began = report["first"] - 1
    record_property("detail", f"stopped with {code} after step {reached}, went on after {began}")
    assert began >= every, "it began anew"
    assert began % every == 0
    assert report["last"] == steps
    assert "config.json" in second.files(f"{ML}/model")


def _resumed(
    train: Train, tiny: Mapping[str, bytes], saved: Mapping[str, bytes], **how: object
) -> Run:
    again = job(tiny, **how)
    files = {f"{ML}/checkpoints/{name}": content for name, content in saved.items()}
    return train(
        Job(
            code=again.code,
            channels=again.channels,
            hyperparameters=again.hyperparameters,
            files=files,
        )
    )

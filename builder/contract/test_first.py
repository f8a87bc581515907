"""The image does its work once."""

from __future__ import annotations

from collections.abc import Callable

import docker
import pytest

from builder.contract.basics import predicts, trains
from builder.contract.subject import Subject

Record = Callable[[str, object], None]


@pytest.mark.inference
def test_answers(client: docker.DockerClient, subject: Subject, record_property: Record) -> None:
    """A text-classification of a tiny model of its own framework."""
    check = predicts(client, subject.image, lambda _: None)
    record_property("detail", check.detail)
    assert check.passed, check.detail


@pytest.mark.training
def test_trains(client: docker.DockerClient, subject: Subject, record_property: Record) -> None:
    """A few steps of fine-tuning on the CPU."""
    check = trains(client, subject.image)
    record_property("detail", check.detail)
    assert check.passed, check.detail

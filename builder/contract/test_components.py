"""The optional parts of a training image: Open MPI, Horovod and others."""

from __future__ import annotations

from collections.abc import Callable

import docker
import pytest

from builder.contract.components import checks
from builder.contract.subject import Subject

Record = Callable[[str, object], None]

pytestmark = pytest.mark.training


def test_components_are_there(
    client: docker.DockerClient, subject: Subject, record_property: Record
) -> None:
    """Each that the label names: of its version, and it runs or is imported."""
    if not subject.components:
        pytest.skip("the image's label names no components")
    found = checks(client, subject)
    record_property("detail", ", ".join(f"{check.name} {check.detail}" for check in found))
    wrong = [f"{check.name}: {check.detail}" for check in found if not check.passed]
    assert not wrong, "\n".join(wrong)

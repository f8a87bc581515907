"""Why a container ended as it should not, told where it matters: first the disk and the memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import docker.errors
import pytest
from docker.models.containers import Container

from builder.engine.containers import failed, refused
from builder.errors import ContainerError
from builder.serve.model_archive import make_tiny_model

FULL = "Traceback (most recent call last):\nOSError: [Errno 28] No space left on device"


@dataclass(kw_only=True)
class Ended:
    """A container that has ended; `written` is its log, None where the engine has kept none."""

    written: str | None
    state: Mapping[str, Any] = field(default_factory=dict)

    @property
    def attrs(self) -> Mapping[str, Any]:
        return {"State": {"ExitCode": 1, "OOMKilled": False, **self.state}}

    def reload(self) -> None:
        pass

    def logs(self, **_: object) -> bytes:
        if self.written is None:
            raise docker.errors.APIError("no log")
        return self.written.encode()


@pytest.mark.parametrize(
    ("ended", "reason", "remedy"),
    [
        (Ended(written=FULL), "the disk is full", "dlc engine prune"),
        (Ended(written="mkdir: Disk quota exceeded"), "the disk is full", "dlc engine prune"),
        (Ended(written="", state={"OOMKilled": True}), "the memory ran out", "more memory"),
        (Ended(written="one\nValueError: two"), "ValueError: two", "fix what its log says:\none"),
        (Ended(written=""), "it ended with exit code 1 and wrote nothing", "disk space"),
        (Ended(written=None), "it ended with exit code 1 and wrote nothing", "disk space"),
    ],
)
def test_reasons(ended: Ended, reason: str, remedy: str) -> None:
    error = failed("x could not do it", cast(Container, ended))
    assert error.message == f"x could not do it: {reason}"
    assert error.remedy is not None
    assert remedy in error.remedy


def test_an_engine_without_disk_space() -> None:
    """Whatever was tried: another remedy would not help."""
    with pytest.raises(ContainerError) as caught, refused("no container", "build the image first"):
        raise docker.errors.APIError("write /var/lib/x: no space left on device")
    assert caught.value.remedy is not None
    assert caught.value.remedy.startswith("free disk space")


def test_a_tiny_model_that_the_disk_has_no_room_for() -> None:
    """It is not the model that is wrong."""

    class Full(Ended):
        def put_archive(self, *_: object) -> None: ...

        def start(self) -> None: ...

        def wait(self, **_: object) -> Mapping[str, int]:
            return {"StatusCode": 1}

        def remove(self, **_: object) -> None: ...

    containers = SimpleNamespace(create=lambda *_, **__: Full(written=FULL))
    api = SimpleNamespace(containers=lambda **_: [])
    images = SimpleNamespace(get=lambda _: SimpleNamespace(id="sha256:1", attrs={}))
    engine = SimpleNamespace(api=api, containers=containers, images=images)
    client = cast(docker.DockerClient, engine)
    with pytest.raises(ContainerError) as caught:
        make_tiny_model(client, "an-image")
    assert caught.value.message == "an-image could not make a tiny model: the disk is full"

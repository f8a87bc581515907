"""Which packages an image has by its own account: dpkg's list, and the locks in it."""

from __future__ import annotations

import io
import re
import tarfile
from contextlib import closing
from typing import TYPE_CHECKING

from builder.errors import PushError
from builder.release import sbom

if TYPE_CHECKING:
    from docker.models.containers import Container

    from builder.engine.connection import Engine
    from builder.release.compare import Local

__all__ = ["packages_of"]

_DPKG, _LOCKS, _RELEASE = "/var/lib/dpkg/status", "/opt/dlc", "/etc/os-release"


def packages_of(engine: Engine, local: Local) -> tuple[list[sbom.Package], str]:
    """What an image says that it has, and which distribution it is.

    PushError if it says nothing, docker's errors if the engine fails.
    """
    from builder.engine.containers import created

    with (
        closing(engine.client(timeout=300)) as client,
        created(client, local.id, command=["unused"]) as container,
    ):
        status = "\n".join(_texts(container, _DPKG))
        locks = _texts(container, _LOCKS)
        release = "\n".join(_texts(container, _RELEASE))
    packages = sbom.of_dpkg(status)
    for text in locks:
        packages += sbom.of_lock(text)
    if not packages:
        raise PushError(
            f"{local.target.name} does not say which packages it has",
            remedy=f"build it again: dlc build {local.target.name}",
        )
    named = re.search(r'^ID="?([a-z]+)', release, re.MULTILINE)
    return packages, named[1] if named else "debian"


def _texts(container: Container, path: str) -> list[str]:
    """The files at or below a path in a container; none if there is no such path."""
    import docker.errors

    try:
        parts, told = container.get_archive(path)
    except docker.errors.NotFound:
        return []
    content = b"".join(parts)
    if target := (told or {}).get("linkTarget"):
        return _texts(container, str(target))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        found = [tar.extractfile(member) for member in tar.getmembers() if member.isfile()]
        return [file.read().decode("utf-8", "replace") for file in found if file is not None]

"""A sandbox as a container, for who may not make namespaces but may use the engine of this machine.

Its image is empty: the system's programs and libraries come as mounts, read-only.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import ContainerError, EngineError

if TYPE_CHECKING:
    import docker

__all__ = ["NoContainerError", "run_in_container"]

# Says that all was set up, before the program says anything.
_BEGIN = 'echo inside >&2; exec "$@"'


class NoContainerError(Exception):
    """There is no engine on this machine, or it refuses; the text says why."""


def run_in_container(
    command: Sequence[str], given: Path, system: Sequence[str], *, seconds: int, most: int
) -> tuple[int, bytes, bytes]:
    """Run a command that sees `given` as /given and the folders `system`: its code, both outputs.

    NoContainerError if none can be had, or it takes more than the `seconds`; of what the command
    says, `most` bytes are kept.
    """
    import docker.errors
    import requests
    from docker.types import LogConfig, Mount

    from builder.engine.connection import find
    from builder.engine.containers import created

    try:
        engine = find()
        if engine is None or not engine.host.startswith("unix://"):
            raise NoContainerError("no Docker Engine of this machine runs")
        folders = [path for path in map(Path, system) if path.is_dir() and not path.is_symlink()]
        mounts = [Mount(str(path), str(path), type="bind", read_only=True) for path in folders]
        mounts.append(Mount("/given", str(given), type="bind", read_only=True))
        with contextlib.closing(engine.client()) as client:
            image = _empty_image(client, system)
            try:
                with created(
                    client,
                    image,
                    command=["/bin/sh", "-c", _BEGIN, "sandbox", *command],
                    user="65534:65534",
                    network_mode="none",
                    read_only=True,
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges"],
                    pids_limit=2048,
                    tmpfs={"/tmp": "exec,nosuid,nodev,size=4g,mode=1777"},  # noqa: S108
                    mounts=mounts,
                    log_config=LogConfig(
                        type=LogConfig.types.JSON, config={"max-size": str(2 * most)}
                    ),
                ) as container:
                    container.start()
                    code = int(container.wait(timeout=seconds)["StatusCode"])
                    out = container.logs(stdout=True, stderr=False)
                    return code, out[:most], container.logs(stdout=False, stderr=True)[:most]
            finally:
                client.images.remove(image, force=True)
    except (EngineError, ContainerError, docker.errors.DockerException) as error:
        raise NoContainerError(str(error)) from error
    except requests.RequestException as error:
        raise NoContainerError(f"the engine did not answer within {seconds} seconds") from error


def _empty_image(client: docker.DockerClient, system: Sequence[str]) -> str:
    """An image of nothing but the links of the system; its id, and no name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in map(Path, system):
            if path.is_symlink():
                link = tarfile.TarInfo(str(path).lstrip("/"))
                link.type, link.linkname = tarfile.SYMTYPE, str(path.readlink())
                archive.addfile(link)
        cache = Path("/etc/ld.so.cache")
        if cache.is_file():
            archive.add(cache, "etc/ld.so.cache")
    answer = client.api.import_image_from_data(buffer.getvalue())
    return str(json.loads(answer.strip().splitlines()[-1])["status"])

"""What mirrors need in tests: a server that builds can reach, and that nothing of it stays."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import docker
import pytest

__all__ = ["gateway", "nothing_stays", "serving"]


def gateway(client: docker.DockerClient) -> str:
    """The address of this machine on the engine's bridge, which builds can reach."""
    [settings] = client.networks.get("bridge").attrs["IPAM"]["Config"]
    # The engine takes the first address of the network itself, unless told otherwise.
    return settings.get("Gateway") or str(next(ip_network(settings["Subnet"]).hosts()))


@contextmanager
def serving(
    client: docker.DockerClient, handler: Callable[..., BaseHTTPRequestHandler]
) -> Iterator[str]:
    """A server on the engine's bridge; its host and port as builds see them."""
    address = gateway(client)
    try:
        server = ThreadingHTTPServer((address, 0), handler)
    except OSError as error:
        pytest.skip(f"the engine's bridge is not on this machine: {error}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"{address}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def nothing_stays(
    client: docker.DockerClient, name: str, secrets: list[bytes], folder: Path
) -> None:
    """No layer, no history and no label of the image holds any of the texts.

    `folder` gets the image while it is searched.
    """
    saved = folder / "image.tar"
    with saved.open("wb") as file:
        for chunk in client.images.get(name).save():
            file.write(chunk)
    members = 0
    with tarfile.open(saved) as image:
        for part in image:
            stream: Any = image.extractfile(part)
            if stream is None:
                continue
            with closing(stream):
                # Engines differ in how they name layers; nothing else in an image is an archive.
                layered = tarfile.is_tarfile(stream)
                stream.seek(0)
                if not layered:
                    data = stream.read()
                    assert not any(text in data for text in secrets), part.name
                    continue
                with tarfile.open(fileobj=stream) as layer:
                    for entry in layer:
                        content = layer.extractfile(entry) if entry.isfile() else None
                        data = content.read() if content else b""
                        assert not any(text in data for text in secrets), entry.name
                        assert not entry.name.startswith("media/"), entry.name
                        members += 1
    saved.unlink()
    assert members > 1000

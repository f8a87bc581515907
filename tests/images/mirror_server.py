"""What mirrors need in tests: a server that builds can reach, and that nothing of it stays."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network

import docker
import pytest

from tests.images.layer_files import Entry, contains, look_at_layers

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
    client: docker.DockerClient, names: Sequence[str], secrets: Sequence[bytes]
) -> None:
    """No layer, no history and no label of the images holds any of the texts."""
    for name in names:
        image = client.images.get(name)
        said = json.dumps([image.attrs, image.history()]).encode()
        assert not any(text in said for text in secrets), name
    files = 0

    def strays(entry: Entry) -> Iterator[str]:
        nonlocal files
        files += bool(entry.file)
        if entry.name.startswith("media/") or (entry.file and contains(entry.file, secrets)):
            yield entry.name

    found = look_at_layers(client, names, strays)
    assert [told for layers in found for layer in layers for told in layer] == []
    assert files > 1000

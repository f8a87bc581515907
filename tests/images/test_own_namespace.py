"""What one run of the tests has on an engine goes with it, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from builder.engine.namespace import NAMESPACE_LABEL
from tests.own_namespace import left_of, namespace

pytestmark = pytest.mark.images

ROOT = Path(__file__).parents[2]
# A run that makes one of each, and an image without a name, and is then stopped.
RUN = """
import sys, time
from contextlib import closing
from builder.engine.namespace import labels, local_name
from tests.own_namespace import own_part

with own_part() as shared, closing(shared.engine.client()) as client:
    [(label, name)] = labels().items()
    change = f"LABEL {label}={name}"
    for repository in (local_name("a"), local_name("b"), None):
        more = {"repository": repository, "tag": "1"} if repository else {}
        client.api.import_image_from_data(bytes(1024), changes=[change], **more)
    client.containers.create(local_name("a:1"), ["none"])
    client.networks.create(name, labels=labels())
    print(name, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped(client: docker.DockerClient, how: signal.Signals) -> None:
    """The next run removes what one that was killed has left."""
    program = [sys.executable, "-c", RUN]
    with subprocess.Popen(
        program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        name = process.stdout.readline().strip()
        assert name, process.communicate()[1]
        made = {kind: len(ids) for kind, ids in left_of(client, name).items()}
        assert made == {"containers": 1, "networks": 1, "images": 3}
        process.send_signal(how)
        process.communicate(timeout=120)
    if how == signal.SIGKILL:
        assert any(left_of(client, name).values())
        with namespace(client):
            pass
    assert not any(left_of(client, name).values())


def test_what_others_have_named_stays(client: docker.DockerClient, own_namespace: str) -> None:
    """An image of somebody else loses the name that it has in the namespace, and no other."""
    other = f"{own_namespace}-other"
    client.api.import_image_from_data(
        bytes(1024), repository=f"{other}/a", tag="1", changes=[f"LABEL {NAMESPACE_LABEL}={other}"]
    )
    try:
        with namespace(client) as name:
            client.images.get(f"{other}/a:1").tag(f"{name}/a", "1")
        assert client.images.get(f"{other}/a:1").tags == [f"{other}/a:1"]
    finally:
        client.images.remove(f"{other}/a:1")

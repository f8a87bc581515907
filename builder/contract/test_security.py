"""No request runs code, opens a file or calls out, and the management interface is not there."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from builder.contract import hostile
from builder.contract.conftest import Serve
from builder.contract.protocol import HANDLER, JSON, MEDIA_IN, NPY, echo_model, error, post
from builder.contract.samples import png_header
from builder.contract.subject import Subject
from builder.serve.server import Server

if TYPE_CHECKING:
    import docker

pytestmark = pytest.mark.inference

Record = Callable[[str, object], None]

GOOD = {"inputs": "I love this movie."}
CANARY = "/tmp/canary"  # noqa: S108 - a path of the container


# A pickle that runs a command where it is read, written by hand: nothing here can load it.
PICKLE = f"cos\nsystem\n(S'touch {CANARY}'\ntR.".encode()


@pytest.fixture(scope="module")
def echo(
    client: docker.DockerClient, subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that answers with what reached the model."""
    with ExitStack() as stack:
        model = echo_model(tmp_path_factory.mktemp("echo"))
        yield Serve(client, subject.image, stack)(model=model)


def test_pickled_array(server: Server, echo: Server) -> None:
    """An array of Python objects is refused, whoever would get it, and runs nothing."""
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + PICKLE
    for asked in (server, echo):
        assert "Python objects" in error(post(asked, body, kind=NPY), 400, HANDLER)
        error(post(asked, PICKLE, kind=NPY), 400, HANDLER)
        assert asked.container.exec_run(["test", "-e", CANARY]).exit_code == 1


# Prints the users of Java and of the workers.
USERS = """
import json, os
users = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) == os.getpid():  # whose command line has the words below
        continue
    try:
        with open("/proc/%s/cmdline" % pid) as file:
            command = file.read()
        if "ModelServer" in command or "model_service_worker" in command:
            users.append(os.stat("/proc/" + pid).st_uid)
    except OSError:
        pass
print(json.dumps(sorted(set(users))))
"""


def users(server: Server) -> list[int]:
    """The user ids that the model server and its workers run as."""
    output = server.container.exec_run(["python", "-c", USERS]).output
    assert isinstance(output, bytes)
    found: list[int] = json.loads(output)
    assert found
    return found


def test_not_root(server: Server) -> None:
    """Neither the model server nor a worker is root."""
    assert 0 not in users(server)


def test_hostile_parameters(server: Server) -> None:
    """Parameters that no pipeline documents are refused by name."""
    assert hostile.ask(server, "text-classification", GOOD["inputs"]) == []


def test_listener_hears(echo: Server) -> None:
    """The listener that proves that nothing called out would have heard a call."""
    hostile.listen(echo)
    assert not hostile.called(echo)
    ask = f"import socket; socket.create_connection(('127.0.0.1', {hostile.PORT})).recv(1)"
    assert echo.container.exec_run(["python", "-c", ask]).exit_code == 0
    assert hostile.called(echo)


def test_no_management(server: Server) -> None:
    """Nothing at the public port lists, loads, scales, unloads or describes."""
    hostile.listen(server)
    load = json.dumps({"model_name": "evil", "url": hostile.URL + ".mar"}).encode()
    for method, path, body in [
        ("GET", "/models", None),
        ("GET", "/models/model", None),
        ("POST", "/models", load),
        ("POST", f"/models?model_name=evil&url={hostile.URL}.mar", None),
        ("POST", "/models?model_name=evil&url=/etc", None),
        ("PUT", "/models/model?min_worker=0", None),
        ("DELETE", "/models/model", None),
        ("OPTIONS", "/", None),
        ("OPTIONS", "/models", None),
    ]:
        answer = server.ask(method, path, body=body, headers={"Content-Type": JSON} if body else {})
        assert 400 <= answer.status < 500, (method, path, answer)
    assert post(server, GOOD).status == 200
    assert not hostile.called(server)


def test_large_picture(echo: Server, subject: Subject, record_property: Record) -> None:
    """A picture is looked at before its pixels are: too many are 413, with the limit."""
    if not MEDIA_IN.holds(subject):
        record_property("detail", MEDIA_IN.before)
        return
    answer = post(echo, png_header(13_300, 13_300), kind="image/png")
    message = error(answer, 413, HANDLER)
    assert "50000000" in message
    assert "DLC_MAX_PIXELS" in message


def test_deep_json(server: Server) -> None:
    """JSON of a depth that no client needs is refused with the limit."""
    assert "DLC_MAX_JSON_DEPTH" in error(post(server, b"[" * 100_000), 400, HANDLER)


def test_half_a_character(server: Server) -> None:
    """A lone surrogate anywhere is an answer or a refusal, and the worker lives."""
    for body in (rb'{"inputs": "\ud83d"}', rb'{"inputs": "x", "parameters": {"\ud83d": 1}}'):
        assert b"Worker died" not in post(server, body).body
    assert post(server, GOOD).status == 200

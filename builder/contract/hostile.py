"""Requests that would load, open or fetch what they name, or take more than their share.

Each is refused before a pipeline sees it. A listener in the container tells whether anything was
called: the addresses in these requests are its own, on the container's loopback.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from builder.serve.server import Response, Server

__all__ = ["ask", "called", "listen"]

PORT = 9876
URL = f"http://127.0.0.1:{PORT}/file"
CALLED = "/tmp/called"  # noqa: S108 - a path of the container

# Writes the file, once a listener is there, and again for each connection; on Python 3.6 as well.
LISTENER = f"""
import socket
server = socket.socket()
server.bind(("127.0.0.1", {PORT}))
server.listen(128)
open("{CALLED}.listening", "w").close()
while True:
    server.accept()[0].close()
    open("{CALLED}", "w").close()
"""

IMAGES = {
    "image-classification",
    "image-segmentation",
    "image-to-text",
    "object-detection",
    "visual-question-answering",
    "document-question-answering",
    "zero-shot-image-classification",
    "zero-shot-object-detection",
    "depth-estimation",
    "mask-generation",
}
SOUND = {"audio-classification", "automatic-speech-recognition", "zero-shot-audio-classification"}

PARAMETERS: dict[str, Any] = {
    "assistant_model": "/opt/ml/model",
    "batch_size": 64,
    "config": "/opt/ml/model",
    "custom_generate": "/opt/ml/model",
    "device": 0,
    "generate_kwargs": {"custom_generate": "/opt/ml/model", "trust_remote_code": True},
    "max_new_tokens": 10**9,
    "model_kwargs": {"trust_remote_code": True},
    "num_workers": 12,
    "stopping_criteria": [],
    "hypothesis_template": "{:>4000000000}",
    "tokenizer_encode_kwargs": {"chat_template": "{{ 1 }}"},
    "trust_remote_code": True,
}
NAMES = (URL, "file:///etc/hostname", "/etc/hostname", "../../etc/hostname", "concat:/etc/hostname")

DASH = f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"
 profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="audio/mp4">
<Representation id="0" bandwidth="1"><BaseURL>{URL}</BaseURL></Representation></AdaptationSet>
</Period></MPD>"""
PLAYLISTS = (
    DASH,
    f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{URL}\n#EXT-X-ENDLIST\n",
    f"ffconcat version 1.0\nfile '{URL}'\n",
    f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {PORT} RTP/AVP 0\n",
)
ID3 = b"ID3\x04\0\0\0\0\0\0"  # a tag that ffmpeg skips before it looks what the rest is


def ask(server: Server, task: str, inputs: object) -> list[str]:
    """Send all that a task may be sent; what was not refused with 400 and a sentence."""
    listen(server)
    faults = []
    for name, value in PARAMETERS.items():
        asked = {"inputs": inputs or "x", "parameters": {name: value}}
        answer = server.invoke(json.dumps(asked).encode())
        if answer.status != 400 or f"{name}" not in _message(answer):
            faults.append(f"parameter {name}: {answer.status} {answer.body[:200]!r}")
    for what, body, kind in _media(task):
        answer = server.invoke(body, content_type=kind)
        text = _message(answer)
        if answer.status != 400 or "No such file" in text or "hostname" in text:
            faults.append(f"{what}: {answer.status} {answer.body[:200]!r}")
    if called(server):
        faults.append(f"something asked {URL}")
    return faults


def _media(task: str) -> Iterator[tuple[str, bytes, str]]:
    if task in IMAGES | SOUND:
        for name in NAMES:
            shapes: list[object] = [name, [name], {"image": name, "question": "?"}]
            shapes += [{"raw": name, "sampling_rate": 16_000}, {"url": name}, {"path": name}]
            for shape in shapes:
                yield f"inputs {shape}", json.dumps({"inputs": shape}).encode(), "application/json"
    if task in SOUND:
        for playlist in PLAYLISTS:
            for body in (playlist.encode(), ID3 + playlist.encode()):
                yield f"playlist {playlist[:9]!r}", body, "audio/x-audio"
                text = json.dumps({"inputs": base64.b64encode(body).decode()}).encode()
                yield f"playlist {playlist[:9]!r} in JSON", text, "application/json"


def listen(server: Server) -> None:
    """Start the listener, unless it is there."""
    run = server.container.exec_run
    if run(["test", "-e", f"{CALLED}.listening"]).exit_code == 0:
        return
    run(["python", "-c", LISTENER], detach=True)
    wait = f"until test -e {CALLED}.listening; do sleep 0.1; done"
    assert run(["timeout", "60", "sh", "-c", wait]).exit_code == 0


def called(server: Server) -> bool:
    """Whether anything asked the listener."""
    return bool(server.container.exec_run(["test", "-e", CALLED]).exit_code == 0)


def _message(answer: Response) -> str:
    try:
        return str(json.loads(answer.body)["message"])
    except (ValueError, KeyError, TypeError):
        return ""

"""A program in the place of runtime/dockerd-entrypoint.py: answers as a stack on a GPU does.

`serve` listens where it is told to and has a child with a worker's command line; `ready` says
whether it is there. FAKE_FAILS: it does not start.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOM = Path(os.environ.get("TEMP", "."), "model-server")
PORT = ROOM / "management-port"
WORKER = str(ROOM.parent / "mms" / "model_service_worker.py")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(200, {"workers": [{"status": "READY", "gpu": True}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if isinstance(body["inputs"], list):
            self.answer(500, {"message": "CUDA out of memory"})
        elif body["inputs"] == "compile":
            self.answer(200, {"difference": 0.0, "finite": True, "made_by": "Triton"})
        elif os.environ["HF_TASK"] == "text-generation":
            self.answer(200, {"device": "cuda:0", "bytes": 1, "text": [{"generated_text": "x"}]})
        else:
            self.answer(200, [{"label": "A", "score": 0.5}])

    def answer(self, code: int, body: object) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base class
        pass


def serve() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    code = "import signal; signal.pause()"
    worker = subprocess.Popen([sys.executable, "-c", code, WORKER])
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    inference = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    management = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    for each in (inference, management):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    ROOM.mkdir(exist_ok=True)
    PORT.with_suffix(".new").write_text(str(management.server_port), "utf-8")
    PORT.with_suffix(".new").rename(PORT)
    signal.sigwait({signal.SIGTERM})
    PORT.unlink()
    worker.kill()
    worker.wait()


if __name__ == "__main__":
    if sys.argv[1] == "ready":
        sys.exit(not PORT.exists())
    if os.environ.get("FAKE_FAILS"):
        sys.exit("what went wrong")
    serve()

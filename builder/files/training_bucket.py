"""Stand in for S3: objects are the files below /srv/bucket, by bucket and key, on port 80.

Runs inside a training image, on Python 3.6 and later. It can do no more than what the training
toolkit asks of S3: whether an object is there, and the object.
"""

import hashlib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path("/srv/bucket")


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of an object, whole or a range of it."""

    def do_HEAD(self) -> None:
        """Whether there is such an object, and its size."""
        self._answer(whole=False)

    def do_GET(self) -> None:
        """The object."""
        self._answer(whole=True)

    def _answer(self, whole: bool) -> None:
        path = ROOT / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"{}"'.format(hashlib.md5(content).hexdigest()))  # noqa: S324, UP032
        self.send_header("Last-Modified", self.date_time_string())
        self.end_headers()
        if whole:
            self.wfile.write(content)


if __name__ == "__main__":
    server = HTTPServer(("", 80), Handler)
    print("ready", flush=True)  # noqa: T201
    server.serve_forever()

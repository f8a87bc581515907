"""OpenSSH's server on the loopback, unpacked and not installed, which leads to an engine."""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.engine import apt

__all__ = ["HOST", "ssh_server", "unpacked_server"]

HOST = "engine-box"
# It wants a user and a folder, as an installed package makes them; only it sees these.
_START = """\
set -e
mount --bind {folder}/passwd /etc/passwd
mkdir -p {folder}/run
mount --rbind /run {folder}/run
mount --types tmpfs tmpfs /run
mkdir /run/sshd
exec env LD_LIBRARY_PATH={libraries} {sshd} -i -e -f {folder}/sshd_config
"""
_SERVER = """\
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
SetEnv PATH={folder}/there:/usr/bin:/bin
"""
_CLIENT = """\
Host {host}
  HostName 127.0.0.1
  Port {port}
  User root
  IdentityFile {folder}/user
  IdentitiesOnly yes
  BatchMode yes
  UserKnownHostsFile {folder}/known
  StrictHostKeyChecking yes
"""
# What the Docker command line does: it passes the connection on.
_DOCKER = """\
#!{python}
import socket, sys, threading
assert sys.argv[1:] == ["system", "dial-stdio"], sys.argv
engine = socket.socket(socket.AF_UNIX)
engine.connect({socket!r})
def back():
    while data := engine.recv(65536):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
thread = threading.Thread(target=back)
thread.start()
while data := sys.stdin.buffer.raw.read(65536):
    engine.sendall(data)
engine.shutdown(socket.SHUT_WR)
thread.join()
"""


def unpacked_server(folder: Path) -> Path:
    """The server's program. Raises InstallError where it cannot be had."""
    apt.unpack("openssh-server", "libwrap0", into=folder)
    return folder / "usr/sbin/sshd"


@contextmanager
def ssh_server(sshd: Path, folder: Path, socket: str) -> Iterator[str]:
    """Lead who logs in to an engine's socket; a PATH whose `ssh` finds HOST and has its key."""
    for name in ("host", "user"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True)
    users = Path("/etc/passwd").read_text("utf-8")
    sandbox = "sshd:x:65500:65534::/run/sshd:/usr/sbin/nologin\n"
    (folder / "passwd").write_text(users if "\nsshd:" in users else users + sandbox, "utf-8")
    (folder / "sshd_config").write_text(_SERVER.format(folder=folder), "utf-8")
    if socket.startswith(("/run/", "/var/run/")):
        socket = f"{folder}/run/{socket.partition('run/')[2]}"
    _program(folder / "there/docker", _DOCKER.format(python=sys.executable, socket=socket))
    libraries = sshd.parents[2] / "usr/lib/x86_64-linux-gnu"
    start = _START.format(folder=folder, libraries=libraries, sshd=sshd)
    with _Listener(start, folder / "sshd.log") as listener:
        threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
        port = listener.server_address[1]
        key = (folder / "host.pub").read_text("utf-8")
        (folder / "known").write_text(f"[127.0.0.1]:{port} {key}", "utf-8")
        settings = _CLIENT.format(host=HOST, port=port, folder=folder)
        (folder / "ssh_config").write_text(settings, "utf-8")
        _program(folder / "here/ssh", f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/ssh_config "$@"\n')
        try:
            yield f"{folder}/here:{os.environ['PATH']}"
        finally:
            listener.shutdown()


class _Listener(socketserver.ThreadingTCPServer):
    """Takes connections on a free port, and starts a server for each."""

    daemon_threads = True

    def __init__(self, start: str, log: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.start, self.log = start, log


class _Connection(socketserver.BaseRequestHandler):
    server: _Listener

    def handle(self) -> None:
        with self.server.log.open("ab") as log:
            subprocess.run(
                ["unshare", "--mount", "sh", "-c", self.server.start],
                stdin=self.request,
                stdout=self.request,
                stderr=log,
                check=False,
            )


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)

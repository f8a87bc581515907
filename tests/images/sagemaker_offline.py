"""Run a script that uses the SageMaker SDK where it can reach this machine only.

    python sagemaker_offline.py REFUSED SCRIPT [ARGUMENT ...]

Every address beyond loopback that the script's process wants to reach is refused, and written to
the file REFUSED; the ports of its containers are published on loopback only.
"""

from __future__ import annotations

import ipaddress
import re
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(refused: Path, script: str, *arguments: str) -> None:
    refused.touch()

    def guard(event: str, details: tuple[Any, ...]) -> None:
        host = wanted(event, details)
        if host and not is_loopback(host):
            with refused.open("a") as file:
                print(host, file=file)
            raise ConnectionRefusedError(f"{host} is not on this machine")
        if event == "subprocess.Popen" and "up" in details[1]:
            publish_on_loopback(details[1])

    sys.addaudithook(guard)
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).parent)  # as `python SCRIPT` has it
    runpy.run_path(script, run_name="__main__")


def wanted(event: str, details: tuple[Any, ...]) -> str:
    """The host that a call of Python's socket module is about, or nothing."""
    if event in {"socket.getaddrinfo", "socket.gethostbyname"} and details[0]:
        return details[0].decode() if isinstance(details[0], bytes) else str(details[0])
    if event in {"socket.connect", "socket.sendto"} and isinstance(details[1], tuple):
        return str(details[1][0])
    return ""


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def publish_on_loopback(command: Sequence[str]) -> None:
    """Local mode publishes its port on every address of the machine, and has no setting for it."""
    [file] = [Path(word) for word in command if word.endswith("docker-compose.yaml")]
    before = file.read_text("utf-8")
    if "command: train" in before:  # a training job publishes none
        return
    after = re.sub(r"^( *- )(\d+:8080)$", r"\g<1>127.0.0.1:\2", before, flags=re.MULTILINE)
    if after == before:
        raise ValueError(f"no port to publish on loopback in {file}:\n{before}")
    file.write_text(after, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])

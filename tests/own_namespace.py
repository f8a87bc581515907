"""What tests, proofs and benches have of an engine for themselves, and that nothing of it stays.

Several may run at once on one engine. Each has a namespace, and removes what was made in it, also
when it fails or is stopped; what one that was killed left is removed by the next. If the engine was
started for them, the last one to end trims its build cache and stops it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import docker
import docker.errors
import requests

from builder.engine import connection as engines
from builder.engine import private
from builder.engine.bases import LABEL_HOW
from builder.engine.namespace import NAMESPACE, NAMESPACE_LABEL
from builder.engine.usage import prune
from builder.matrix.target import STAND_IN
from builder.util.console import say
from builder.util.state import state_directory

__all__ = [
    "left_of",
    "namespace",
    "own_part",
    "remove_all",
    "shared_engine",
    "stoppable",
    "taking_turns",
]

# Engines refuse to remove an image while another starts from it, so the removal goes in rounds.
_ROUNDS = 5


def stoppable() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does, so that it cleans up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


@contextmanager
def own_part() -> Iterator[Shared]:
    """An engine, with a namespace for this process, which may be stopped by a signal."""
    stoppable()
    with (
        shared_engine() as shared,
        closing(shared.engine.client(timeout=600)) as client,
        namespace(client),
    ):
        yield shared


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """One process at a time changes the records in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


_KEPT = 10 * 10**9  # bytes, as `dlc engine prune` keeps


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """An engine, and the file that all who use it here have locked; `note` is what they share."""

    engine: engines.Engine
    users: IO[str]
    note: Path

    def trim(self) -> None:
        """Remove from the build cache what came since the first of its users here, if alone.

        Layers of images that are there stay, and so do packages that were downloaded: the next run
        has the same ones.
        """
        if not _alone(self.users):
            return
        since = json.loads(self.note.read_text("utf-8"))["since"]
        with closing(self.engine.client(timeout=600)) as client:
            while True:
                ours = [
                    record["ID"]
                    for record in client.df()["BuildCache"] or ()
                    if record["CreatedAt"] > since and record["Type"] == "regular"
                    if not record["Shared"] and not record["InUse"]
                ]
                # Those that others were built on are free once those are gone.
                if not sum(_prune(client, each) for each in ours):
                    break
        fcntl.flock(self.users, fcntl.LOCK_SH)

    def leave(self) -> None:
        """The last one to leave trims and stops the engine, if it was started for one of them.

        A private engine that was there may be asked for the same again: its build cache is kept, up
        to what `dlc engine prune` keeps. Any other is for its owner to trim. Stand-in bases are of
        no namespace, so that a proof can go on where one was stopped.
        """
        if not _alone(self.users):
            return
        with closing(self.engine.client(timeout=600)) as client:
            for base in client.api.images(filters={"label": f"{LABEL_HOW}={STAND_IN}"}):
                with suppress(docker.errors.APIError):
                    client.api.remove_image(base["Id"], force=True)
        started = json.loads(self.note.read_text("utf-8")).get("process")
        if started and started == private.running():
            self.trim()
            private.stop(say=say)
        elif self.engine.private:
            prune(self.engine, keep_storage=_KEPT)
        self.note.unlink()


@contextmanager
def shared_engine() -> Iterator[Shared]:
    """The engine that is there, or a private one, which the last of its users here stops."""
    home = state_directory()
    home.mkdir(parents=True, exist_ok=True)
    note = home / "tests.json"
    with (home / "tests.lock").open("a") as users:
        if _alone(users):
            note.unlink(missing_ok=True)  # of one that was killed
        fcntl.flock(users, fcntl.LOCK_SH)
        with (home / "tests.note.lock").open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # one after the other reads the note and writes it
            found = engines.find()
            running = private.up(say=say)
            told = json.loads(note.read_text("utf-8")) if note.is_file() else {}
            if found is None:
                told["process"] = private.running()
            with closing(running.client()) as client:
                told.setdefault("since", client.info()["SystemTime"])
            note.write_text(json.dumps(told), "utf-8")
        shared = Shared(engine=running, users=users, note=note)
        try:
            yield shared
        finally:
            shared.leave()


def _alone(users: IO[str]) -> bool:
    """Whether nobody else has the file locked; then it is locked for this process alone."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _prune(client: docker.DockerClient, record: str) -> int:
    """Remove a record of the build cache; how many were removed."""
    filters: Any = {"id": record}  # the SDK's types know but two of the filters
    return len(client.api.prune_builds(all=True, filters=filters)["CachesDeleted"] or ())


@contextmanager
def namespace(client: docker.DockerClient) -> Iterator[str]:
    """A new namespace, for this process and those it starts; all that is in it is removed.

    So is what is left of runs that were killed.
    """
    folder = Path(tempfile.gettempdir(), f"dlc-runs-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    where = client.info()["ID"]
    for path in folder.iterdir():
        with suppress(OSError), path.open("r") as file:
            if _alone(file) and file.read() == where:
                remove_all(client, path.name)
                path.unlink()
    name = f"dlc-run-{uuid.uuid4().hex[:8]}"
    path = folder / name
    before = os.environ.get(NAMESPACE)
    with path.open("x") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(where)
        file.flush()
        os.environ[NAMESPACE] = name
        try:
            yield name
        finally:
            if before is None:
                del os.environ[NAMESPACE]
            else:
                os.environ[NAMESPACE] = before
            remove_all(client, name)
            path.unlink(missing_ok=True)


def left_of(client: docker.DockerClient, name: str) -> dict[str, list[str]]:
    """The ids of what the engine has of a namespace, by kind."""
    filters = {"label": f"{NAMESPACE_LABEL}={name}"}
    images = {image["Id"] for image in client.api.images(filters=filters)}
    images |= {image["Id"] for image in client.api.images() if _names(image, name)}
    return {
        "containers": [each["Id"] for each in client.api.containers(all=True, filters=filters)],
        "networks": [each["Id"] for each in client.api.networks(filters=filters)],
        "images": sorted(images),
    }


def remove_all(client: docker.DockerClient, name: str) -> None:
    """Remove all that an engine has of a namespace; what others named stays under their names."""
    refused = (docker.errors.APIError, requests.RequestException)
    for _ in range(_ROUNDS):
        left = left_of(client, name)
        if not any(left.values()):
            return
        for container in left["containers"]:
            with suppress(*refused):
                client.api.remove_container(container, force=True, v=True)
        for network in left["networks"]:
            with suppress(*refused):
                client.api.remove_network(network)
        for image in client.api.images():
            if image["Id"] in left["images"]:
                labelled = (image["Labels"] or {}).get(NAMESPACE_LABEL) == name
                for reference in [image["Id"]] if labelled else _names(image, name):
                    with suppress(*refused):
                        client.api.remove_image(reference, force=True)


def _names(image: dict[str, Any], namespace: str) -> list[str]:
    return [each for each in image["RepoTags"] or () if each.startswith(f"{namespace}/")]

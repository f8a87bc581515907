"""Bases: pulled from a registry by digest, or bootstrapped from the distribution's archive."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from builder.engine import apt
from builder.engine.failures import is_limited, limit_remedy
from builder.engine.foreign import load_tree
from builder.engine.mmdebstrap import mmdebstrap, remove
from builder.errors import BaseImageError
from builder.matrix.platforms import DEFAULT, PLATFORMS
from builder.util.state import locked, state_directory

if TYPE_CHECKING:
    import docker

    from builder.engine.connection import Engine

__all__ = ["BaseImage", "BaseSource", "ensure", "existing"]

Say = Callable[[str], None]
# A stand-in is made by tests, where neither of the others can be had.
How = Literal["pulled", "bootstrapped", "stand-in"]

# A pull that sends no word for this long hangs; the engine reports progress far more often.
SILENCE_SECONDS = 60.0
# What the engine may take to swallow a tree after its last byte.
IMPORT_SECONDS = 600
_CREATED = "2020-01-01T00:00:00Z"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

LABEL_NAME = "dlc.base.name"
LABEL_HOW = "dlc.base.how"
LABEL_SUITE = "dlc.base.suite"


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseSource:
    """Where a base comes from: `image` is a registry reference that ends in `@sha256:...`.

    `bootstrap` is the suite of the Debian archive with the same content, None if there is none.
    """

    name: str
    image: str
    bootstrap: str | None = None
    platform: str = DEFAULT

    @property
    def local_name(self) -> str:
        """Its name, with the platform where that is not the default one."""
        return "-".join(filter(None, (self.name, PLATFORMS[self.platform].suffix)))

    @property
    def digest(self) -> str:
        """The pinned digest, `sha256:...`. Raises BaseImageError where none is pinned."""
        match = re.search(r"@(sha256:[0-9a-f]{64})$", self.image)
        if not match:
            raise BaseImageError(
                f"the base {self.name} is not pinned: {self.image}",
                remedy="end its image in @sha256: and the digest",
            )
        return match[1]

    @property
    def repository(self) -> str:
        """The image without tag and digest: `debian`, `registry:5000/debian`."""
        return re.sub(r":[^:/]+$", "", self.image.partition("@")[0])

    @property
    def reference(self) -> str:
        """The local tag to build FROM; the same for a pulled and a bootstrapped base."""
        suffix = PLATFORMS[self.platform].suffix
        digits = self.digest.removeprefix("sha256:")[:12]
        return "-".join(filter(None, (f"dlc-base/{self.name}:{digits}", suffix)))


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseImage:
    """A base that the engine has, under the tag `reference`."""

    name: str
    reference: str
    id: str
    how: How


def ensure(engine: Engine, source: BaseSource, *, say: Say) -> BaseImage:
    """Return the base; pulls or bootstraps it when the engine has it not yet.

    Raises BaseImageError that tells why neither way worked.
    """
    with closing(engine.client(timeout=IMPORT_SECONDS)) as client:
        if base := existing(client, source):
            return base
        with locked(f"base-{source.local_name}", say=say):
            if base := existing(client, source):  # another dlc was faster
                return base
            _get(client, source, say=say)
            if base := existing(client, source):
                return base
    raise BaseImageError(
        f"the engine lost the base {source.reference}", remedy="run the command again"
    )


def existing(client: docker.DockerClient, source: BaseSource) -> BaseImage | None:
    """Return the base if our tag is there and the image tells where it came from."""
    import docker  # takes a sixth of a second

    try:
        image = client.images.get(source.reference)
    except docker.errors.ImageNotFound:
        return None
    if source.platform != DEFAULT and (
        image.attrs.get("Architecture") != PLATFORMS[source.platform].architecture
    ):
        return None
    how: How
    if (label := image.labels.get(LABEL_HOW)) in ("bootstrapped", "stand-in"):
        how = label
    elif any(d.endswith(f"@{source.digest}") for d in image.attrs.get("RepoDigests") or ()):
        how = "pulled"
    else:
        return None
    return BaseImage(name=source.name, reference=source.reference, id=str(image.id), how=how)


def _get(client: docker.DockerClient, source: BaseSource, *, say: Say) -> None:
    said = "" if source.platform == DEFAULT else f" for {source.platform}"
    say(f"pulling {source.image}{said}")
    failed = _pull(client, source)
    if not failed:
        return
    message = f"no base {source.local_name}: pulling {source.image} failed ({failed})"
    if not source.bootstrap:
        mirror = "connect the engine to its registry, or to a mirror of it"
        raise BaseImageError(
            f"{message}, and it cannot be bootstrapped",
            remedy=limit_remedy(_host(source.image)) if is_limited(failed) else mirror,
        )
    say(f"{failed}; bootstrapping {source.local_name} with mmdebstrap instead, half a minute")
    if failed := _bootstrap(client, source, source.bootstrap, say=say):
        raise BaseImageError(
            f"{message}; bootstrapping {source.bootstrap} failed ({failed})",
            remedy="connect the engine to the registry, or run as root on Debian or Ubuntu "
            "with mmdebstrap and its archive in reach",
        )


def _host(image: str) -> str:
    """The registry of an image, as Docker reads names."""
    host, slash, _ = image.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else "docker.io"


def _pull(client: docker.DockerClient, source: BaseSource) -> str:
    """Pull by digest and tag; return why that failed, nothing if it worked."""
    import docker  # takes a sixth of a second

    pinned = f"{source.repository}@{source.digest}"
    name, _, tag = source.reference.partition(":")
    words: queue.Queue[str | None] = queue.Queue()

    def pull() -> None:
        try:
            # `tag` takes a digest too, and then means exactly that one image.
            for event in client.api.pull(
                source.repository,
                tag=source.digest,
                stream=True,
                decode=True,
                platform=None if source.platform == DEFAULT else source.platform,
            ):
                words.put(event.get("error", ""))
        except Exception as error:  # whatever it is, it is why there is no image
            words.put(getattr(error, "explanation", None) or str(error))
        words.put(None)

    # The SDK pulls without any limit of time; a thread left behind ends with the process.
    threading.Thread(target=pull, daemon=True).start()
    try:
        while (word := words.get(timeout=SILENCE_SECONDS)) is not None:
            if word:
                return word.strip()
        client.images.get(pinned).tag(name, tag=tag)
    except queue.Empty:
        return f"no response from the registry for {SILENCE_SECONDS:g} seconds"
    except docker.errors.DockerException as error:
        return str(error)
    return ""


def _bootstrap(client: docker.DockerClient, source: BaseSource, suite: str, *, say: Say) -> str:
    """Bootstrap, import and tag; return why that failed, nothing if it worked."""
    import docker  # takes a sixth of a second
    import requests

    if os.geteuid() != 0:
        return "only root can"
    scratch = state_directory() / f"bootstrap-{source.local_name}"
    try:
        if not shutil.which("mmdebstrap"):
            apt.install("mmdebstrap", "debian-archive-keyring", say=say)
        remove(scratch)  # left by a run that was killed; the lock makes it ours
        scratch.mkdir(parents=True)
        with tempfile.TemporaryFile() as log:
            return _import(client, source, suite, scratch=scratch, log=log)
    except apt.InstallError as error:
        return str(error)
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        return f"the import broke off: {error}"
    finally:
        remove(scratch)


def _import(
    client: docker.DockerClient,
    source: BaseSource,
    suite: str,
    *,
    scratch: Path,
    log: IO[bytes],
) -> str:
    """Stream a new tree into the engine; the tag comes last, once all of it went well."""
    name, _, tag = source.reference.partition(":")
    labels = {LABEL_NAME: source.name, LABEL_HOW: "bootstrapped", LABEL_SUITE: suite}
    with mmdebstrap(suite, source.platform, scratch=scratch, log=log) as child:
        assert child.stdout is not None  # noqa: S101 - asked for there
        if source.platform == DEFAULT:
            marked = " ".join(f"{label}={value}" for label, value in labels.items())
            changes = ['CMD ["bash"]', f"ENV PATH={_PATH}", f"LABEL {marked}"]
            answer = client.api.import_image_from_stream(child.stdout, changes=changes)
            # One JSON object in each line; the last one has the image's id or what went wrong.
            last = json.loads(answer.strip().splitlines()[-1])
            image = last.get("status", "") or last.get("error", answer)
        else:
            image = load_tree(
                client,
                child.stdout,
                source.platform,
                config={"Cmd": ["bash"], "Env": [f"PATH={_PATH}"], "Labels": labels},
                created=_CREATED,
                scratch=scratch,
            )
    if child.returncode == 0 and image.startswith("sha256:"):
        client.images.get(image).tag(name, tag=tag)
        return ""
    if image.startswith("sha256:"):  # of a tree that broke off
        client.images.remove(image)
    if child.returncode == 0:
        return f"the engine rejected the root file system: {image}"
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    complaints = [line for line in lines if line.startswith("E:")] or lines or ["no word"]
    return f"mmdebstrap: {complaints[0].removeprefix('E:').strip()}"

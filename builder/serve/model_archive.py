"""Models for a container: checked, archived, and a tiny one made where none is given."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from builder.engine.containers import created, failed, refused, start
from builder.engine.unpacked import content_id
from builder.errors import ContainerError, WriteError
from builder.util import atomic
from builder.util.package import PACKAGE
from builder.util.state import state_directory

if TYPE_CHECKING:
    import docker

__all__ = [
    "TAR_END",
    "archive",
    "check_model",
    "make_tiny_model",
    "pack",
    "tar_header",
    "tiny_files",
]

TINY_MODEL = PACKAGE / "files" / "tiny_model.py"
TINY_MODEL_SECONDS = 600
MODELS_KEPT = 50  # of some hundred kilobytes each

TAR_END = bytes(2 * tarfile.BLOCKSIZE)


def check_model(model: Path) -> None:
    """ContainerError: the model is neither a directory with files nor a tar archive."""
    if not model.exists():
        wrong = "there is no such model"
    elif model.is_dir():
        wrong = "" if any(model.iterdir()) else "the model directory is empty"
    else:
        wrong = "" if tarfile.is_tarfile(model) else "the model is not a tar archive"
    if wrong:
        remedy = "give a directory with the model's files in it, or a model.tar.gz of them"
        raise ContainerError(f"{model}: {wrong}", remedy=remedy)


def make_tiny_model(client: docker.DockerClient, image: str) -> bytes:
    """A tar of a directory `model`, made by tiny_model.py in a container of the image.

    Everybody may read its files: the server leaves root where another user can serve them. Images
    of the same layers and variables make the same model: one of them is asked, once.
    ContainerError: there is no such image, or the script failed.
    """
    with refused(f"no container of {image} can be made", "build or pull the image first"):
        found = client.images.get(image)
    variables = (found.attrs.get("Config") or {}).get("Env") or ()
    identity = (content_id(found.attrs, *variables) or str(found.id)).rpartition(":")[2]
    program = hashlib.sha256(TINY_MODEL.read_bytes()).hexdigest()[:16]
    kept = state_directory() / "tiny-models" / f"{identity}-{program}.tar"
    with suppress(OSError):
        return kept.read_bytes()
    made = _made_by(client, image)
    with suppress(WriteError):  # to serve needs no state that can be written
        atomic.write(kept, made, folders=True)
        _keep_newest(kept.parent)
    return made


def _made_by(client: docker.DockerClient, image: str) -> bytes:
    made = "/tmp/model"  # noqa: S108 a path of the container
    with created(
        client,
        image,
        # Not through the image's entrypoint: the official images' never ends.
        entrypoint=["python", "-c", TINY_MODEL.read_text(encoding="utf-8"), made],
        network_mode="none",
    ) as container:
        start(container, image)
        if container.wait(timeout=TINY_MODEL_SECONDS)["StatusCode"] != 0:
            raise failed(f"{image} could not make a tiny model", container)
        return _for_all(b"".join(container.get_archive(made)[0]))


def _keep_newest(folder: Path) -> None:
    """Images come and go: the models of the oldest go with them."""
    times: list[tuple[float, Path]] = []
    for path in folder.glob("*.tar"):
        with suppress(FileNotFoundError):  # another run removed it
            times.append((path.stat().st_mtime, path))
    for _, path in sorted(times)[:-MODELS_KEPT]:
        path.unlink(missing_ok=True)


def _for_all(tar: bytes) -> bytes:
    """A tar whose files everybody may read, whoever wrote them: safetensors are their writer's."""
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(tar)) as theirs,
        tarfile.open(fileobj=made, mode="w") as ours,
    ):
        for member in theirs:
            member.mode |= 0o755 if member.isdir() else 0o444
            ours.addfile(member, theirs.extractfile(member) if member.isfile() else None)
    return made.getvalue()


def tiny_files(client: docker.DockerClient, image: str) -> dict[str, bytes]:
    """The files of an image's tiny model, by name; ContainerError as of make_tiny_model."""
    with tarfile.open(fileobj=io.BytesIO(make_tiny_model(client, image))) as tar:
        members = [(member.name.rpartition("/")[2], tar.extractfile(member)) for member in tar]
        return {name: file.read() for name, file in members if file}


def archive(directory: Path) -> Iterator[bytes]:
    """A tar of a directory's content, piece by piece: a model may be larger than the memory.

    Links are followed, as the Hub's cache is made of them; everybody may read every file.
    """
    for folder, folders, files in os.walk(directory, followlinks=True):
        for path in (Path(folder) / name for name in sorted(folders + files)):
            name = path.relative_to(directory).as_posix()
            if path.is_dir():
                yield tar_header(name)
            else:
                size = path.stat().st_size
                yield tar_header(name, size)
                with path.open("rb") as file:
                    while piece := file.read(1 << 20):
                        yield piece
                yield bytes(-size % tarfile.BLOCKSIZE)
    yield TAR_END


def tar_header(name: str, size: int | None = None) -> bytes:
    """The header of a file of a size in bytes, or of a directory."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE if size is None else tarfile.REGTYPE
    member.mode = 0o755 if size is None else 0o644
    member.size = size or 0
    return member.tobuf()


def pack(files: Mapping[str, bytes]) -> bytes:
    """A tar of files, by their paths; whoever unpacks it makes the folders."""
    return b"".join(map(_packed, files, files.values())) + TAR_END


def _packed(path: str, content: bytes) -> bytes:
    header = tar_header(path.lstrip("/"), len(content))
    return header + content + bytes(-len(content) % tarfile.BLOCKSIZE)

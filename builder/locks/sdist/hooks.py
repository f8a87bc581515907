"""Asks a source distribution's own build backend what the package needs (PEP 517).

It runs where nothing of anybody's can be reached: see sandbox.py. Its one argument is JSON:
the archive, the backend, its path and the names of what is installed; the answer, on standard
output, is what the backend wants to have installed as well, else the package's metadata.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the hooks; whatever they print goes to standard error."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = json.loads(sys.argv[1])
    folder = unpacked(Path(asked["archive"]), Path("/tmp/source"))  # noqa: S108 - of the sandbox
    os.chdir(folder)
    sys.path[:0] = [str(folder / path) for path in asked["path"]]
    name, _, attributes = str(asked["backend"]).partition(":")
    backend: Any = importlib.import_module(name)
    for attribute in attributes.split(".") if attributes else ():
        backend = getattr(backend, attribute)
    wanted = apart(lambda: more(backend))
    if {normal(text) for text in wanted} <= {*map(normal, asked["installed"])}:
        result = {"metadata": apart(lambda: metadata(backend))}
    else:
        result = {"requires": wanted}
    answer.write(json.dumps(result))


def apart(hook: Any) -> Any:
    """What a hook returns, run in a process of its own: setup.py is not made to run twice."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with os.fdopen(write, "w", encoding="utf-8") as file:
            file.write(json.dumps(hook()))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    if not text:
        sys.exit("the build backend failed")
    return json.loads(text)


def unpacked(archive: Path, into: Path) -> Path:
    """The one folder of a source distribution."""
    # Python's older patch releases know no filter, and here is nothing to be harmed.
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    shutil.unpack_archive(archive, into, **safe)  # type: ignore[arg-type]
    [folder] = into.iterdir()
    return folder


def more(backend: Any) -> list[str]:
    """What the backend wants besides what pyproject.toml names."""
    hook = getattr(backend, "get_requires_for_build_wheel", None)
    return list(hook(None)) if hook else []


def metadata(backend: Any) -> str:
    """The metadata as text: prepared, or from a wheel where a backend can do no less."""
    out = Path("/tmp/out")  # noqa: S108 - of the sandbox
    out.mkdir()
    hook = getattr(backend, "prepare_metadata_for_build_wheel", None)
    if hook:
        return Path(out, hook(str(out), None), "METADATA").read_text("utf-8")
    with zipfile.ZipFile(out / backend.build_wheel(str(out), None, None)) as wheel:
        [name] = (n for n in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        return wheel.read(name).decode("utf-8")


def normal(requirement: str) -> str:
    """The normalised name of a requirement."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement.strip())[0]).lower()


if __name__ == "__main__":
    main()

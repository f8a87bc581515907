"""Tell which shared libraries a framework wants, and where the loader would find each.

`python library_report.py [--root FOLDER] [SONAME...]` prints one JSON object. What the framework
opens by name is in none of its tables, so those SONAMEs are told to this program. FOLDER is where
files named like an accelerator's are looked for, else `/`.

Runs inside an image, with its own Python (3.6 and later); needs no network.
"""

import importlib.util
import json
import os
import re
import struct
import sys
from pathlib import Path
from typing import BinaryIO, Iterator, NamedTuple  # noqa: UP035 - for 3.6

# The shared objects of the frameworks themselves, by module.
OBJECTS = {
    "torch": ("lib/*.so*", "_C*.so"),
    "tensorflow": ("libtensorflow*.so*", "python/_pywrap_tensorflow_internal.so"),
}
# What modules load themselves, whichever file wants it then.
PRELOADED = ("torch/lib", "nvidia/*/lib")
# The first that is there opens TensorFlow's libraries, so its RUNPATH counts.
OPENERS = ("libtensorflow_framework.so", "_pywrap_tensorflow_internal.so")
DEFAULTS = (
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
)
ACCELERATOR = re.compile(
    r"lib(cud|cublas|cufft|curand|cusolver|cusparse|nv|nccl|torch_cuda|c10_cuda|nrt|neuron)"
    r".*\.(so|a)(\.|$)"
)
CACHE = Path("/etc/ld.so.cache")
CACHE_MAGIC = b"glibc-ld.so.cache1.1"
DYNAMIC, LOAD = 2, 1
NEEDED, STRINGS, STRINGS_SIZE, RPATH, RUNPATH = 1, 5, 10, 15, 29


class Elf(NamedTuple):
    """What a shared object's dynamic table says."""

    machine: int
    needed: "tuple[str, ...]"
    rpath: "tuple[str, ...]"
    runpath: "tuple[str, ...]"


def read(path: Path) -> "Elf | None":
    """A file's dynamic table; None if it is no 64-bit ELF file, or none that can be read."""
    try:
        with path.open("rb") as file:
            return parse(file)
    except (OSError, KeyError, ValueError, OverflowError, MemoryError, struct.error):
        return None


def parse(file: BinaryIO) -> "Elf | None":
    """The dynamic table of an open file; any of `read`'s exceptions if it is broken."""
    head = file.read(64)
    if head[:6] != b"\x7fELF\x02\x01":
        return None
    (machine,) = struct.unpack_from("<H", head, 18)
    (start,) = struct.unpack_from("<Q", head, 32)
    size, number = struct.unpack_from("<HH", head, 54)
    segments = []
    for index in range(number):
        file.seek(start + index * size)
        segments.append(struct.unpack("<IIQQQQ", file.read(40)))
    entries = []
    for kind, _, offset, _, _, length in segments:
        if kind == DYNAMIC:
            file.seek(offset)
            entries = list(struct.iter_unpack("<QQ", file.read(length // 16 * 16)))
    values = dict(reversed(entries))
    strings = b""
    for kind, _, offset, address, _, length in segments:
        inside = values.get(STRINGS, 0) - address
        if kind == LOAD and 0 <= inside < length:
            file.seek(offset + inside)
            strings = file.read(values[STRINGS_SIZE])

    def texts(wanted: int) -> Iterator[str]:
        for tag, value in entries:
            if tag == wanted:
                yield strings[value : strings.index(b"\0", value)].decode("utf-8", "replace")

    def folders(wanted: int) -> "tuple[str, ...]":
        return tuple(folder for text in texts(wanted) for folder in text.split(":") if folder)

    return Elf(machine, tuple(texts(NEEDED)), folders(RPATH), folders(RUNPATH))


def cached(path: Path = CACHE) -> "dict[str, list[str]]":
    """The linker's cache, which alone decides what of /etc/ld.so.conf is found: paths by SONAME."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    begin = data.find(CACHE_MAGIC)  # older glibc puts the older format before it
    found: dict[str, list[str]] = {}
    if begin < 0:
        return found
    (number,) = struct.unpack_from("<I", data, begin + 20)
    for index in range(number):
        _, name, value, _, capability = struct.unpack_from("<iIIIQ", data, begin + 48 + index * 24)
        if capability == 0:  # others are variants of one of these for some processors
            soname, place = (
                data[begin + at : data.index(b"\0", begin + at)].decode("utf-8", "replace")
                for at in (name, value)
            )
            found.setdefault(soname, []).append(place)
    return found


class Loader:
    """Finds libraries as the dynamic loader does, by this process's environment."""

    def __init__(self, packages: "list[Path]") -> None:
        own = read(Path(sys.executable).resolve())
        self._machine = own.machine if own else 0
        self._cache = cached()
        path = os.environ.get("LD_LIBRARY_PATH", "").replace(";", ":")
        self._environment = [folder for folder in path.split(":") if folder]
        self._preloaded = [
            str(folder)
            for package in packages
            for pattern in PRELOADED
            for folder in sorted(package.glob(pattern))
        ]

    def places(self, soname: str, wanting: "Path | None") -> "list[str]":
        """Each file of a library that is looked at for one that wants it, the loader's first."""
        elf = read(wanting) if wanting else None
        origin = str(wanting.parent) if wanting else ""
        rpath, runpath = (elf.rpath, elf.runpath) if elf else ((), ())
        folders = [
            *(() if runpath else rpath),
            *self._environment,
            *runpath,
            *(str(Path(place).parent) for place in self._cache.get(soname, ())),
            *DEFAULTS,
            *([origin] if origin else []),
            *self._preloaded,
        ]
        found: dict[Path, str] = {}
        for folder in folders:
            text = folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
            path = Path(text).resolve() / soname
            library = read(path)
            if library and library.machine == self._machine:
                found.setdefault(path.resolve(), str(path))
        return list(found.values())


def objects() -> "dict[str, list[Path]]":
    """The frameworks' own shared objects, by module; none of a module that is not installed."""
    found = {}
    for module, patterns in OBJECTS.items():
        spec = importlib.util.find_spec(module)
        places = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
        paths = {p for place in places for pattern in patterns for p in place.glob(pattern)}
        found[module] = sorted(path for path in paths if read(path))
    return found


def libraries(own: "list[Path]", opened: "list[str]") -> "list[dict[str, object]]":
    """What the objects, and what they load, want; and what is opened by name."""
    loader = Loader([Path(entry) for entry in sys.path if entry])
    wanted: dict[str, list[str]] = {}
    found: dict[str, dict[Path, str]] = {}  # by real paths: a link is no second file
    waiting: list[Path] = []

    def want(soname: str, by: str, wanting: "Path | None") -> None:
        wanted.setdefault(soname, []).append(by)
        places = loader.places(soname, wanting)
        known = found.setdefault(soname, {})
        for place in places:
            known.setdefault(Path(place).resolve(), place)
        waiting.extend(Path(place) for place in places[:1])

    openers = [path for name in OPENERS for path in own if path.name.startswith(name)]
    for soname in opened:
        want(soname, "dlopen", openers[0] if openers else None)
    waiting += own
    seen = set()
    while waiting:
        path = waiting.pop()
        elf = read(path)
        if elf and path.resolve() not in seen:
            seen.add(path.resolve())
            for soname in elf.needed:
                want(soname, str(path), path)
    return [
        {"soname": soname, "wanted_by": sorted(by), "found": list(found[soname].values())}
        for soname, by in sorted(wanted.items())
    ]


def accelerators(root: str) -> "list[str]":
    """Files and links below a folder that are named like an accelerator's library."""
    found = []
    for folder, folders, files in os.walk(root):
        if folder == "/":
            folders[:] = sorted(set(folders) - {"dev", "proc", "sys"})
        found += [str(Path(folder) / name) for name in files if ACCELERATOR.match(name)]
    return sorted(found)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    root = arguments.pop(1) if arguments[:1] == ["--root"] else "/"
    frameworks = objects()
    own = sorted({path for paths in frameworks.values() for path in paths})
    report = {
        "objects": {module: [str(p) for p in paths] for module, paths in frameworks.items()},
        "libraries": libraries(own, [name for name in arguments if name != "--root"]),
        "accelerator": accelerators(root),
    }
    json.dump(report, sys.stdout)

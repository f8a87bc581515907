"""Tell what fills an image: `python - < size_report.py` prints one JSON object, sizes in bytes.

Runs inside an image, with its own Python (3.6 and later); needs no network.

    packages  Python packages by name: [what their own list of files declares, what they take]
    system    the distribution's packages by name: what they declare (Installed-Size)
    java      what is in JAVA_HOME
    rest      what belongs to none of these, by folder
"""

import csv
import json
import os
import re
import sys
import sysconfig
from collections import Counter
from pathlib import Path

SKIPPED = ("/proc", "/sys", "/dev")
DPKG = Path("/var/lib/dpkg")
DEPTH = 3  # of the folders that the rest is told by


def size(path: str) -> int:
    """Bytes of a file itself, not of what it links to; nothing if it is gone."""
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def compiled(path: str) -> str:
    """Where this interpreter keeps the bytecode of a module."""
    folder, name = os.path.split(path)
    tag = sys.implementation.cache_tag
    return os.path.join(folder, "__pycache__", "{}.{}.pyc".format(name[: -len(".py")], tag))


def packages(owned: "set[str]") -> "dict[str, list[int]]":
    """Python packages, by the RECORD of each (PEP 376); their files are added to `owned`."""
    found = {}
    site = sysconfig.get_paths()["purelib"]
    for folder in sorted(Path(site).glob("*.dist-info")):
        record = folder / "RECORD"
        if not record.is_file():
            continue
        declared = actual = 0
        with record.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                path = os.path.normpath(os.path.join(site, row[0]))
                files = [path, compiled(path)] if path.endswith(".py") else [path]
                recorded = int(row[2] or 0) if len(row) > 2 else 0
                # torch 1.9.1 declares 2.2 GB more for a library than it has.
                declared += min(recorded, size(path)) if os.path.lexists(path) else recorded
                actual += sum(size(each) for each in files if each not in owned)
                owned.update(files)
        found[folder.name.split("-")[0]] = [declared, actual]
    return found


def system(owned: "set[str]") -> "dict[str, int]":
    """The distribution's packages; their files are added to `owned`."""
    real: "dict[str, str]" = {}
    for listing in DPKG.glob("info/*.list"):
        for path in listing.read_text("utf-8", "replace").splitlines():
            folder, name = os.path.split(path)
            if folder not in real:
                real[folder] = os.path.realpath(folder)  # /bin may be a link to /usr/bin
            owned.add(os.path.join(real[folder], name))
    status = DPKG / "status"
    text = status.read_text("utf-8", "replace") if status.is_file() else ""
    found = {}
    for entry in text.split("\n\n"):
        package = re.search(r"^Package: (\S+)", entry, re.M)
        kib = re.search(r"^Installed-Size: (\d+)", entry, re.M)
        if package and kib and re.search(r"^Status: \S+ \S+ installed", entry, re.M):
            found[package[1]] = int(kib[1]) * 1024
    return found


def walk(owned: "set[str]", java: str) -> "tuple[int, dict[str, int]]":
    """What is in JAVA_HOME, and what nobody owns."""
    in_java, seen = 0, set()
    rest: "Counter[str]" = Counter()
    for folder, folders, files in os.walk("/"):
        folders[:] = [f for f in folders if os.path.join(folder, f) not in SKIPPED]
        for name in files:
            path = os.path.join(folder, name)
            if path in owned:
                continue
            try:
                found = os.lstat(path)
            except OSError:
                continue
            if found.st_ino in seen and found.st_nlink > 1:
                continue
            seen.add(found.st_ino)
            if java and path.startswith(java + "/"):
                in_java += found.st_size
            else:
                rest["/".join(folder.split("/")[: DEPTH + 1]) or "/"] += found.st_size
    return in_java, rest


if __name__ == "__main__":
    theirs: "set[str]" = set()
    report = {"packages": packages(theirs), "system": system(theirs)}
    home = os.environ.get("JAVA_HOME", "")
    report["java"], others = walk(theirs, os.path.realpath(home) if home else "")
    report["rest"] = dict(others)
    json.dump(report, sys.stdout)

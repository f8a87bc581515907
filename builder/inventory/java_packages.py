"""Java: archives, the archives in them, the libraries merged into them, and runtimes.

An archive that was merged of many ("shaded") has lost their names. What is left of each: Maven's
properties, Netty's versions, the version of a module, Apache's list of dependencies, and classes.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from builder.inventory.class_file import module_version
from builder.inventory.model import Package

__all__ = ["archive", "is_archive", "runtime"]

_DEPTH = 4  # of archives in archives
_LARGEST = 512 << 20  # of what is unpacked in memory
_NAMED = re.compile(r"(?P<name>.+?)-(?P<version>\d[\w.]*(?:-[\w.]+)*)\.[a-z]+$")
_NETTY = "META-INF/io.netty.versions.properties"
_DEPENDENCIES = "META-INF/DEPENDENCIES"
_DEPENDENCY = re.compile(r" ([\w.-]+):([\w.-]+):jar:(\S+)")
# The modules and the classes that tell a library.
_MODULES = {
    "com.google.gson": "com.google.code.gson:gson",
    "org.apache.logging.log4j": "org.apache.logging.log4j:log4j-api",
    "org.apache.logging.log4j.core": "org.apache.logging.log4j:log4j-core",
}
_CLASSES = {
    "com.google.code.gson:gson": "com/google/gson/Gson.class",
    "com.lmax:disruptor": "com/lmax/disruptor/RingBuffer.class",
    "commons-cli:commons-cli": "org/apache/commons/cli/CommandLine.class",
    "org.apache.logging.log4j:log4j-api": "org/apache/logging/log4j/LogManager.class",
    "org.apache.logging.log4j:log4j-core": "org/apache/logging/log4j/core/Logger.class",
    "org.apache.logging.log4j:log4j-slf4j-impl": "org/apache/logging/slf4j/Log4jLogger.class",
    "org.slf4j:slf4j-api": "org/slf4j/Logger.class",
}
# Of one release with another of their group, so that one version is that of all.
_TOGETHER = "org.apache.logging.log4j:"


def is_archive(path: str) -> bool:
    """Whether a file is an archive of Java's."""
    return path.endswith((".jar", ".war", ".ear", ".nar"))


def archive(path: str, content: bytes, within: str = "", depth: int = 0) -> list[Package]:
    """An archive, and what is in it; nothing if it is none that can be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = [each for each in file.infolist() if not each.is_dir()]
            if sum(each.file_size for each in members) > _LARGEST:
                return [_itself(path, "", within)]
            return list(_packages(path, file, members, within, depth))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError):
        return [_itself(path, "", within)]


def runtime(path: str, content: bytes) -> list[Package]:
    """The Java runtime of a file `release`; nothing if it is another's."""
    found = re.search(r'^JAVA_VERSION="([^"]+)"', content.decode("utf-8", "replace"), re.MULTILINE)
    if found is None:
        return []
    home = str(PurePosixPath(path).parent)
    return [
        Package(kind="runtime", name="openjdk", version=found[1], path=home, evidence="release")
    ]


def _packages(
    path: str,
    file: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    within: str,
    depth: int,
) -> Iterator[Package]:
    own = _itself(path, _read(file, "META-INF/MANIFEST.MF", members), within)
    inside = f"{within}!{path}" if within else path
    found = dict(_versions(file, members))
    # Maven's properties of the archive itself come with it, under its own name.
    mine = [name for name in found if name.rpartition(":")[2] == own.name]
    for name in mine:
        version, evidence = found.pop(name)
        own = _java(name, version or own.version, own.path, own.within, evidence)
    yield own
    for name, (version, evidence) in sorted(found.items()):
        yield _java(name, version, path, inside, evidence)
    for member in members:
        if is_archive(member.filename) and depth < _DEPTH:
            yield from archive(member.filename, file.read(member), inside, depth + 1)


def _versions(file: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> dict[str, tuple[str, str]]:
    """The libraries merged into an archive: their versions, and what says so."""
    found: dict[str, tuple[str, str]] = {}
    declared: dict[str, str] = {}
    for member in members:
        for name, version, evidence in _identified(file, member):
            found.setdefault(name, (version, evidence))
        if member.filename == _DEPENDENCIES:
            text = file.read(member).decode("utf-8", "replace")
            declared |= {f"{g}:{a}": v for g, a, v in _DEPENDENCY.findall(text)}
    together = next(
        (version for name, (version, _) in found.items() if name.startswith(_TOGETHER)), ""
    )
    names = {member.filename for member in members}
    for name, witness in _CLASSES.items():
        if witness not in names or name in found:
            continue
        if together and name.startswith(_TOGETHER):
            found[name] = (together, "classes; the version is that of its group")
        elif name in declared:
            found[name] = (declared[name], "classes; the version is what a dependent declares")
        else:
            found[name] = ("", "classes")
    return found


def _identified(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[tuple[str, str, str]]:
    """The libraries that a member of an archive names, with version and evidence."""
    name = member.filename
    if name.startswith("META-INF/maven/") and name.endswith("/pom.properties"):
        properties = _properties(file.read(member))
        if artifact := properties.get("artifactId"):
            which = f"{properties.get('groupId', '')}:{artifact}".lstrip(":")
            yield which, properties.get("version", ""), "pom.properties"
    elif name == _NETTY:
        for key, value in _properties(file.read(member)).items():
            if key.endswith(".version"):
                yield f"io.netty:{key.removesuffix('.version')}", value, "netty"
    elif name.rpartition("/")[2] == "module-info.class":
        module, version = module_version(file.read(member))
        if module in _MODULES and version:
            yield _MODULES[module], version, "module-info"


def _itself(path: str, manifest: bytes | str, within: str) -> Package:
    """An archive by its manifest, else by its name."""
    text = manifest.decode("utf-8", "replace") if isinstance(manifest, bytes) else manifest
    headers = dict(re.findall(r"^([\w-]+): *(.*?)\r?$", text, re.MULTILINE))
    file = PurePosixPath(path).name
    named = _NAMED.match(file)
    version = (
        headers.get("Implementation-Version")
        or headers.get("Bundle-Version")
        or headers.get("Specification-Version")
        or (named["version"] if named else "")
    )
    name = named["name"] if named else PurePosixPath(path).stem
    return _java(name, version, path, within, "manifest" if text else "file name")


def _java(name: str, version: str, path: str, within: str, evidence: str) -> Package:
    return Package(
        kind="java", name=name, version=version, path=path, within=within, evidence=evidence
    )


def _read(file: zipfile.ZipFile, name: str, members: list[zipfile.ZipInfo]) -> bytes:
    return next((file.read(each) for each in members if each.filename == name), b"")


def _properties(content: bytes) -> dict[str, str]:
    text = content.decode("utf-8", "replace")
    return dict(re.findall(r"^([\w.-]+)\s*=\s*(.*?)\s*$", text, re.MULTILINE))

"""Mirrors: a site's own addresses for registries, archives, repositories and indexes.

They are said in a file of their own, never in the matrix, and reach a build as one secret: a script
that every step which downloads reads first. Nothing of it is in a Dockerfile, a layer or a label.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from builder.matrix.keys import Key, Struct
from builder.matrix.parts import distribution
from builder.matrix.schema import MapOf, Section, Shape, TextOf
from builder.matrix.values import BASE
from builder.matrix.yaml_nodes import Report, Text
from builder.matrix.yaml_reader import load
from builder.util.text import did_you_mean

__all__ = ["NO_MIRRORS", "PACKAGE_SOURCES", "Archive", "Mirrors", "find", "read", "script"]

# NVIDIA's and Neuron's repositories of distribution packages, and the standalone builds of Python,
# as the Dockerfiles name them.
PACKAGE_SOURCES = ("CUDA_PACKAGES", "NEURON_PACKAGES", "PYTHON_BUILDS")

_ADDRESS = TextOf(
    what="an address without a slash at its end",
    like="https://mirror.example/path",
    pattern=r"https?://\S*[^/\s]",
)
_REGISTRY = TextOf(
    what="a registry",
    like="registry.example/hub",
    pattern=r"[A-Za-z0-9][\w.-]*(?::\d+)?(?:/[a-z0-9._/-]*[a-z0-9])?",
)


def _struct(what: str, *required: str, **shapes: Shape) -> Struct:
    keys = {
        name: Key(shape=shape, meaning=shape.what, required=name in required)
        for name, shape in shapes.items()
    }
    return Struct(what=what, keys=keys)


_MIRRORS = _struct(
    "the mirrors",
    registries=MapOf(
        TextOf(what="a registry's host", like="docker.io", pattern=r"[\w.:-]+"),
        _REGISTRY,
        "registries",
    ),
    archives=MapOf(
        BASE,
        _struct("an archive", main=_ADDRESS, security=_ADDRESS, snapshot=_ADDRESS),
        "archives",
    ),
    sources=MapOf(
        TextOf(what="the name of a source", like="PYTORCH_WHEELS", pattern=r"[A-Z0-9_]+"),
        _ADDRESS,
        "sources",
    ),
    keys=_struct(
        "the keys",
        CUDA_PACKAGES=TextOf(
            what="the SHA-256 of a keyring package",
            like="cf5ca985... (64 hexadecimal digits)",
            pattern="[0-9a-f]{64}",
        ),
        NEURON_PACKAGES=TextOf(
            what="a key's fingerprint",
            like="00FA2C10... (40 hexadecimal digits)",
            pattern="[0-9A-F]{40}",
        ),
    ),
    index=_ADDRESS,
    netrc=TextOf(what="a file", like="~/.netrc"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A distribution's archive, where its security updates are, and what it had on former days.

    What is empty is as the base has it.
    """

    main: str
    security: str
    snapshot: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mirrors:
    """What stands in for what: registries by host, archives by base, sources by name.

    `keys` are what tells a site's own key, where it signs a repository of packages itself: for CUDA
    the SHA-256 of its keyring package, for Neuron the key's fingerprint;
    `index` is the package index; `credentials` is the text of a netrc file, for all of them.
    """

    registries: Mapping[str, str] = field(default_factory=dict)
    archives: Mapping[str, Archive] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    index: str = ""
    credentials: str = ""

    def archive(self, base: str) -> Archive | None:
        """The archive of a base, or of the distribution that its name begins with."""
        return self.archives.get(base) or self.archives.get(distribution(base))

    def image(self, reference: str) -> str:
        """Where an image is to be pulled from.

        >>> Mirrors(registries={"docker.io": "mirror.example/hub"}).image("ubuntu:20.04")
        'mirror.example/hub/library/ubuntu:20.04'
        """
        host, slash, rest = reference.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            host, rest = "docker.io", reference if slash else f"library/{reference}"
        mirror = self.registries.get(host)
        return f"{mirror}/{rest}" if mirror else reference


NO_MIRRORS = Mirrors()


def find(beside: Path) -> Path | None:
    """The file that DLC_MIRRORS names, else mirrors.yaml in the folder `beside`; None without."""
    if named := os.environ.get("DLC_MIRRORS"):
        return Path(named).expanduser()
    path = beside / "mirrors.yaml"
    return path if path.is_file() else None


def read(path: Path, *, bases: Iterable[str], sources: Iterable[str]) -> Mirrors:
    """Read a file of mirrors; MatrixError with all its mistakes.

    `bases` and `sources` are the names that the matrix knows.
    """
    report = Report()
    document = load(path, report, what="mirrors")
    sections = (_MIRRORS.read(document, report) if document else None) or {}
    names = list(bases)
    names = list(dict.fromkeys([*names, *map(distribution, names)]))
    for section, known in (("archives", names), ("sources", list(sources))):
        for name in sections.get(section, Section()).named:
            if name not in known:
                report.add(name.at, f"the matrix has no {name!r}", did_you_mean(name, known))
    for name, each in sections.get("archives", {}).items():
        if "main" not in each and set(each) != {"snapshot"}:
            report.add(name.at, f"{name} has no `main`", "only `snapshot` can stand alone")
    credentials = _credentials(sections.get("netrc"), report)
    report.raise_if_any()
    return Mirrors(
        registries=sections.get("registries", {}),
        archives={
            name: Archive(
                main=each.get("main", ""),
                security=each.get("security", each.get("main", "")),
                snapshot=each.get("snapshot", ""),
            )
            for name, each in sections.get("archives", {}).items()
        },
        sources=sections.get("sources", {}),
        keys=sections.get("keys", {}),
        index=sections.get("index", ""),
        credentials=credentials,
    )


def script(mirrors: Mirrors, certificates: str = "") -> str:
    """What a step that downloads reads first, as /media/site: sh, and empty without mirrors.

    It sets the variables that pip, uv and the Dockerfiles read, and turns apt to the archive of the
    distribution that it finds itself on, trusting the `certificates` (PEM).
    """
    if mirrors == NO_MIRRORS:
        return ""
    lines = ["# This site's mirrors, for one build."]
    keys = {name.replace("_PACKAGES", "_KEY"): key for name, key in mirrors.keys.items()}
    variables = {**mirrors.sources, **keys}
    if mirrors.index:
        variables |= {"UV_DEFAULT_INDEX": mirrors.index, "PIP_INDEX_URL": mirrors.index}
        parts = urlsplit(mirrors.index)
        if parts.scheme == "http":  # pip wants to be told; what it gets is checked by hash anyway
            variables["PIP_TRUSTED_HOST"] = parts.netloc.rpartition("@")[2]
    if mirrors.credentials:
        variables["NETRC"] = "/media/netrc"
        lines.append(f"printf %s {shlex.quote(mirrors.credentials)} > /media/netrc")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    if certificates:
        lines.append(f"printf %s {shlex.quote(certificates)} > /media/ca.pem")
    lines += [". /etc/os-release", 'case "$ID$VERSION_ID" in']
    for base, archive in sorted(mirrors.archives.items()):
        main, security = shlex.quote(archive.main), shlex.quote(archive.security)
        # Those who have none get the script that they had.
        snapshot = f" snapshot={shlex.quote(archive.snapshot)}" if archive.snapshot else ""
        lines.append(f"    {distribution(base)}) main={main} security={security}{snapshot} ;;")
    lines += ["    *) main= ;;", "esac", _APT.rstrip()]
    return "\n".join(lines) + "\n"


# apt's own configuration and lists stay as they are: these are read besides, or instead.
_APT = """\
export APT_CONFIG=/media/apt.conf
{
    [ ! -f /media/netrc ] || echo 'Dir::Etc::netrc "/media/netrc";'
    [ ! -f /media/ca.pem ] || echo 'Acquire::https::CaInfo "/media/ca.pem";'
} > /media/apt.conf
if [ -n "$main" ]; then
    parts=main
    [ "$ID" != ubuntu ] || parts="main universe"
    for suite in "$VERSION_CODENAME" "$VERSION_CODENAME-updates"; do
        echo "deb $main $suite $parts"
    done > /media/sources.list
    echo "deb $security $VERSION_CODENAME-security $parts" >> /media/sources.list
    export APT_PARTS=/media/parts
    mkdir -p "$APT_PARTS"
    {
        echo 'Dir::Etc::SourceList "/media/sources.list";'
        echo 'Dir::Etc::SourceParts "/media/parts";'
    } >> /media/apt.conf
fi
"""


def _credentials(named: Text | None, report: Report) -> str:
    """The text of the netrc file that the mirrors name; reported if it cannot be read."""
    if named is None:
        return ""
    try:
        path = Path(named).expanduser()
        if path.exists() and not path.is_file():  # a pipe may never end
            raise IsADirectoryError(None, "it is no file")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        report.add(named.at, f"{named} cannot be read: {why}", "fix or remove `netrc`")
        return ""

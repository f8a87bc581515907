"""A framework version that the matrix does not have yet, as lines for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from packaging.version import Version

from builder.errors import ArgumentError, LockError
from builder.locks.direct import address
from builder.locks.lockfile import pinned
from builder.locks.uv.compile import Question, compile_requirements
from builder.matrix.format import FrameworkVersion
from builder.matrix.mirrors import NO_MIRRORS, Mirrors
from builder.matrix.tags import python_tag
from builder.util.text import system_words

__all__ = ["FrameworkLines", "NewFramework", "framework_lines", "given_wheels"]

_SOURCE = "PYTORCH_WHEELS"
_KERAS_3 = Version("2.16")  # from this TensorFlow on Keras 2 is a package of its own
_CUDA = re.compile(r"(nvidia|cuda)-|triton$")
_RUNTIME = re.compile(r"nvidia-cuda-runtime(-cu\d+)?$|cuda-toolkit$")
# More than PyTorch's own index has of all its versions; in bytes.
_PAGE_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True, slots=True)
class NewFramework:
    """What is known of it: its builds are `cpu` and accelerators; `like` is the one to follow.

    A build `gpu` is for whatever CUDA the package index's own wheel of PyTorch is for.
    `wheels` are hashes by address, `folders` those of a wheelhouse, `sources` where wheels are;
    `mirrors` are a site's.
    """

    framework: str
    version: str
    date: str
    python: str
    base: str
    builds: Sequence[str]
    like: FrameworkVersion
    wheels: Mapping[str, str]
    folders: Sequence[Path]
    sources: Mapping[str, str]
    mirrors: Mirrors = NO_MIRRORS

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.framework} {self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameworkLines:
    """Its lines in the matrix, in three parts, and its accelerator, as a line, if it has one."""

    head: Sequence[str]
    constraints: Sequence[str]
    builds: Sequence[str]
    accelerator: tuple[str, str] | None = None

    def bounded(self, *bounds: str) -> FrameworkLines:
        """With constraints more."""
        found = (*self.constraints, *bounds)
        return replace(self, constraints=tuple(dict.fromkeys(found)))

    def all(self) -> list[str]:
        """As they stand below the version."""
        lines = [*self.head]
        if self.constraints:
            lines += ["constraints:", *(f"  - {text}" for text in self.constraints)]
        return [*lines, "builds:", *(f"  {line}" for line in self.builds)]


def framework_lines(new: NewFramework) -> FrameworkLines:
    """Its lines in the matrix; LockError where something of it is not known and not to be asked."""
    lines, accelerator = [], None
    if new.framework == "tensorflow":
        builds = list(_tensorflow(new))
    else:
        shared, cuda = _requirements(new)
        carried = _carried(cuda)
        if "gpu" in new.builds and not carried:
            raise LockError(
                f"the package index's wheel of {new.label} is for no CUDA that it names",
                remedy="name one: --accelerator",
            )
        new = replace(new, builds=[carried if each == "gpu" else each for each in new.builds])
        builds = list(_pytorch(new, cuda))
        if "  wheels:" in builds:  # which say for themselves what they need, but are not read
            lines = ["requires:", *(f"  - {text}" for text in shared)]
        if carried in new.builds:
            accelerator = carried, _accelerator(carried, cuda)
    gpu = [f"gpu: {name}" for name in new.builds if name != "cpu"]
    return FrameworkLines(
        head=[f"locked: {new.date}", f"python: {new.python}", f"base: {new.base}", *gpu, *lines],
        constraints=new.like.constraints,
        builds=builds,
        accelerator=accelerator,
    )


def given_wheels(texts: Iterable[str], sources: Mapping[str, str]) -> dict[str, str]:
    """Wheels given as URL=SHA256, by their address in the matrix; ArgumentError if one is not."""
    found = {}
    for text in texts:
        url, _, sha256 = text.rpartition("=")
        for name, where in sources.items():
            if url.startswith(f"{where}/"):
                url = f"${{{name}}}{url.removeprefix(where)}"
        if not re.fullmatch(r"\$\{\w+\}/\S+\.whl", url) or not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ArgumentError(
                f"{text!r} is not the address of a wheel and its SHA-256",
                remedy=f"write ${{{_SOURCE}}}/cpu/NAME.whl=SHA256, or begin with its address",
            )
        found[url] = sha256
    return found


def _tensorflow(new: NewFramework) -> Iterator[str]:
    version = Version(new.version)
    for name in new.builds:
        if version < _KERAS_3:
            package = "tensorflow-cpu" if name == "cpu" else "tensorflow"
            yield f"{name}: {{requires: [{package}=={version}]}}"
            continue
        # Transformers' models are of Keras 2, which asks for `tensorflow` by this name.
        package = f"tensorflow=={version}"
        if name != "cpu":
            package = f'"tensorflow[and-cuda]=={version}"'
        keras = f"tf-keras~={version.major}.{version.minor}.0"
        yield f"{name}: {{requires: [{package}, {keras}]}}"


def _pytorch(new: NewFramework, cuda: Mapping[str, str]) -> Iterator[str]:
    for name in new.builds:
        wheel = _at_hand(new, name)
        if name != "cpu":
            _check_cuda(new, name, cuda)
            if wheel is None:  # the package index has the same build, and the hash of it
                yield f"{name}: {{requires: [torch=={new.version}]}}"
                continue
        url, sha256 = wheel or _indexed(new, name)
        yield f"{name}:"
        if name != "cpu":
            yield "  requires:"
            yield from (f"    - {package}=={version}" for package, version in cuda.items())
        yield "  wheels:"
        yield f"    - url: {url}"
        yield f"      sha256: {sha256}"


def _requirements(new: NewFramework) -> tuple[list[str], dict[str, str]]:
    """What the index's wheel asks for itself: for every build, and of CUDA, at its versions.

    A version is named only where the newest of the day would not do.
    """
    asked = Question(
        requirements=(f"torch=={new.version}",),
        constraints=tuple(new.like.constraints),
        python=new.python,
        date=new.date,
        annotate=True,
    )
    entries = compile_requirements(asked, new.label, new.mirrors)
    direct = {
        name: pinned(entry)[1]
        for name, entry in entries.items()
        if re.search(r"^ +#(?: via)? +torch$", entry, re.MULTILINE)
    }
    cuda = {name: version for name, version in direct.items() if _CUDA.match(name)}
    names = [name for name in direct if name not in cuda]
    free = Question(
        requirements=tuple(names),
        constraints=asked.constraints,
        python=new.python,
        date=new.date,
        no_deps=True,
    )
    answer = compile_requirements(free, new.label, new.mirrors)
    newest = {name: pinned(entry)[1] for name, entry in answer.items()}
    shared = [name if newest[name] == direct[name] else f"{name}=={direct[name]}" for name in names]
    return shared, cuda


def _carried(cuda: Mapping[str, str]) -> str:
    """The accelerator that the index's own wheel is for, by what it needs; empty if none."""
    runtime = next((version for each, version in cuda.items() if _RUNTIME.match(each)), "")
    return "cu" + "".join(runtime.split(".")[:2]) if runtime else ""


def _accelerator(name: str, cuda: Mapping[str, str]) -> str:
    """What the matrix says of a CUDA that it does not have; docs/layers.md has the rule.

    >>> _accelerator("cu132", {"cuda-toolkit": "13.2.1"})
    '{device: gpu, version: 13.2.1, driver_cuda: 13.0}'
    """
    major, minor = name[2:-1], name[-1]
    driver = "" if minor == "0" else f", driver_cuda: {major}.0"
    version = cuda.get("cuda-toolkit", f"{major}.{minor}.0")
    return f"{{device: gpu, version: {version}{driver}}}"


def _check_cuda(new: NewFramework, name: str, cuda: Mapping[str, str]) -> None:
    """LockError unless the index's wheel, which was asked, is for the same CUDA."""
    carried = _carried(cuda)
    if carried != name:
        raise LockError(
            f"what the wheel of {new.label} for {name} needs cannot be asked: the package "
            f"index's own is for {carried or 'no CUDA that it names'}",
            remedy=f"name another --accelerator, or write it below `builds` by hand: {_BY_HAND}",
        )


_BY_HAND = "docs/new_releases.md says how"


def _pattern(new: NewFramework, name: str) -> re.Pattern[str]:
    """The filename of PyTorch's own wheel of a build."""
    tag = python_tag(new.python).replace("py", "cp")
    return re.compile(
        rf"torch-{re.escape(new.version)}\+{name}-{tag}-{tag}-\w*linux\w*_x86_64\.whl"
    )


def _at_hand(new: NewFramework, name: str) -> tuple[str, str] | None:
    """The address and SHA-256 of PyTorch's own wheel: as given, or of the wheelhouse."""
    pattern = _pattern(new, name)
    for url, sha256 in new.wheels.items():
        if pattern.fullmatch(unquote(url.rsplit("/", 1)[1])):
            return url, sha256
    for folder in new.folders:
        for path in sorted(folder.glob("torch-*.whl")):
            if pattern.fullmatch(path.name):
                with path.open("rb") as file:
                    digest = hashlib.sha256()
                    while block := file.read(1 << 20):
                        digest.update(block)
                return _url(name, path.name), digest.hexdigest()
    return None


def _indexed(new: NewFramework, name: str) -> tuple[str, str]:
    """The address and SHA-256 of PyTorch's own wheel, as its index has them."""
    pattern, page = _pattern(new, name), _index_page(new, name)
    for link in re.finditer(r'href="([^"#]*)#sha256=([0-9a-f]{64})"', page):
        filename = unquote(link[1]).rsplit("/", 1)[-1]
        if pattern.fullmatch(filename):
            return _url(name, filename), link[2]
    raise LockError(
        f"{_SOURCE} has no wheel of {new.label} for {name} and Python {new.python}",
        remedy="name another --python, --accelerator or --device",
    )


def _url(name: str, filename: str) -> str:
    return f"${{{_SOURCE}}}/{name}/{quote(filename)}"


def _index_page(new: NewFramework, name: str) -> str:
    from builder.util.http import Session, download
    from builder.util.scratch import scratch

    where = address(f"${{{_SOURCE}}}/{name}/torch/", new.sources)
    try:
        with (
            Session(credentials=new.mirrors.credentials, retries=2) as session,
            scratch("page") as folder,
        ):
            page = folder / "page"
            download(session, where, page, most=_PAGE_BYTES)
            return page.read_text("utf-8", errors="replace")
    except OSError as error:
        raise LockError(
            f"{_SOURCE} could not be reached for the hash of {new.label} for {name} "
            f"({system_words(error) or error})",
            remedy=f"give it: --wheel '${{{_SOURCE}}}/{name}/NAME.whl=SHA256'",
        ) from error

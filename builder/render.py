"""Targets to files: a Dockerfile and what it copies, byte for byte the same every time.

images/<repository>/<tag>/ holds what is rendered here and the locks of builder.locks. Nothing else
belongs there; rendering removes folders of targets that the matrix no longer has, but never a
file that this project does not write.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.components import KINDS, locked, wheels
from builder.errors import RenderError
from builder.matrix import Component
from builder.matrix_check import fill
from builder.matrix_shape import COMPONENTS
from builder.target import Target

if TYPE_CHECKING:
    import jinja2

__all__ = ["HEADER", "LOCK_NAMES", "Change", "Renderer", "apply", "changes", "default_templates"]

HEADER = "Rendered from matrix.yaml by `dlc render`: change that or the templates, not this file."
LOCK_NAMES = ("build.lock", "framework.lock", "libraries.lock", "tools.lock")

_COPIED = ("dockerd-entrypoint.py", "install.sh")
# Before this Transformers, which leaves downloads to huggingface_hub 0.9, they do not follow the
# redirects that the Hub answers with today.
_FOLLOWS_REDIRECTS = "4.22"
_MENDS = "follow_redirects.py"
# From this Transformers on the last toolkit does not import.
_BREAKS_TOOLKIT = "5"
_MENDS_TOOLKIT = "transformers_5.py"
# A wheel that brings the program; only its name is to be put on PATH.
_FFMPEG_WHEEL = "imageio-ffmpeg"
# What installs components that are Python packages, and what makes hosts ready for MPI.
_INSTALLS, _STARTS_MPI = "component.sh", "dlc_mpi.py"
_COPIED_TO_SERVE = ("dlc_ready.py", "dlc_serving.py")
# All that is in a folder because of a component.
_OF_COMPONENTS = (_INSTALLS, _STARTS_MPI, *(f"{kind}.lock" for kind in COMPONENTS))
_FRAMEWORK_TITLES = {"pytorch": "PyTorch", "tensorflow": "TensorFlow"}
# Repositories by NVIDIA's and Ubuntu's names for a base.
_CUDA_REPOSITORY = "https://developer.download.nvidia.com/compute/cuda/repos"
_NEURON_REPOSITORY = "https://apt.repos.neuron.amazonaws.com"
_ACCELERATOR_KINDS = {"gpu": "cuda", "neuron": "neuron", "neuronx": "neuron"}
_SUITES = {
    "ubuntu18.04": "bionic",
    "ubuntu20.04": "focal",
    "ubuntu22.04": "jammy",
    "debian12": "bookworm",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A file that is not as it would be rendered; None stands for a file that is not there."""

    path: Path
    before: bytes | None
    after: bytes | None

    def diff(self) -> str:
        """The change as a unified diff."""
        before, after = (
            (text or b"").decode("utf-8", "replace").splitlines(keepends=True)
            for text in (self.before, self.after)
        )
        lines = difflib.unified_diff(
            before,
            after,
            fromfile="/dev/null" if self.before is None else f"{self.path} (committed)",
            tofile="/dev/null" if self.after is None else f"{self.path} (rendered)",
        )
        end = "\n\\ No newline at end of file\n"
        return "".join(line if line.endswith("\n") else line + end for line in lines)


def default_templates() -> Path:
    """The templates of this project: in the wheel beside the package, in a checkout above it."""
    package = Path(__file__).parent
    packed = package / "templates"
    return packed if packed.is_dir() else package.parent / "templates"


class Renderer:
    """Renders targets with the templates of one or more folders; the first that has one wins."""

    def __init__(self, templates: Path | None = None) -> None:
        self.folders = [folder for folder in (templates, default_templates()) if folder]
        if templates is not None and not templates.is_dir():
            raise RenderError(f"{templates} is not a folder", remedy="check --templates")

    def files(self, target: Target) -> dict[str, bytes]:
        """What a target's folder holds besides its locks: file name to content."""
        found = {"Dockerfile": self._dockerfile(target).encode()}
        serving = _COPIED_TO_SERVE if target.mode == "inference" else ()
        mending = [_MENDS] if _is_mended(target) else []
        mending += [_MENDS_TOOLKIT] if _is_toolkit_mended(target) else []
        installing = (_INSTALLS,) if locked(target.components) else ()
        starting = (_STARTS_MPI,) if _has(target, "openmpi") else ()
        for name in (*_COPIED, *serving, *mending, *installing, *starting):
            path = next(
                (f / "files" / name for f in self.folders if (f / "files" / name).is_file()), None
            )
            if path is None:
                raise RenderError(f"files/{name} is in no template folder", remedy="add it")
            found[name] = path.read_bytes()
        return found

    @cached_property
    def _environment(self) -> jinja2.Environment:
        import jinja2  # 60 ms that `dlc list` need not pay

        return jinja2.Environment(
            loader=jinja2.FileSystemLoader(self.folders),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # noqa: S701 - Dockerfiles, not HTML
        )

    def _dockerfile(self, target: Target) -> str:
        import jinja2

        try:
            return self._environment.get_template("Dockerfile.j2").render(_context(target))
        except jinja2.TemplateSyntaxError as error:
            raise RenderError(
                f"{error.filename or error.name}:{error.lineno}: {error.message}",
                remedy="mend the template",
            ) from error
        except jinja2.TemplateNotFound as error:
            raise RenderError(
                f"{_template_line(error)}no template is named {error.name}",
                remedy="mend the template, or add that one",
            ) from error
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise RenderError(
                f"{_template_line(error)}{error} (rendering {target.name})",
                remedy="mend the template",
            ) from error


def _context(target: Target) -> Mapping[str, Any]:
    accelerator = target.accelerator
    components = [_component(target, each) for each in target.components]
    sources = {wheel.source: target.sources[wheel.source] for wheel in target.build.wheels}
    if target.build.indexes:
        indexes = (target.sources[source.value] for source in target.build.indexes)
        sources["UV_INDEX"] = " ".join(indexes)
    return {
        "target": target,
        "mended": _is_mended(target),
        "toolkit_mended": _is_toolkit_mended(target),
        "ffmpeg_wheel": _FFMPEG_WHEEL in target.library_requirements,
        "header": HEADER,
        "accelerator_kind": _ACCELERATOR_KINDS.get(target.device, ""),
        "cuda_series": ".".join(accelerator.version.split(".")[:2]) if accelerator else "",
        # What the image really has: cu102 is CUDA 10.2, whatever its tag says.
        "cuda_carried": re.sub(r"cu(\d+)(\d)", r"\1.\2", target.build.carries),
        "cuda_repository": _CUDA_REPOSITORY,
        "cuda_folder": f"{target.base.name.replace('.', '')}/x86_64",
        "neuron_repository": _NEURON_REPOSITORY,
        "suite": _SUITES.get(target.base.name, ""),
        "python_packages": list(target.base.pythons.get(target.python, ())),
        "wheel_sources": sorted(sources.items()),
        "components": components,
        "python_components": [each for each in components if each["locked"]],
        "developing": any(each["develop"] for each in components),
        "mpi": _has(target, "openmpi"),
        "framework_title": _FRAMEWORK_TITLES[target.framework],
    }


def _component(target: Target, component: Component) -> Mapping[str, Any]:
    """What the templates of a component are told of it."""
    kind = KINDS[component.kind]
    source, name, path = "", "", ""
    if component.source:
        name, path = component.source.value[2:].split("}/", 1)
        source = target.sources[name]
    compilers = [fill(text.value, {"python": target.python}) for text in component.compilers]
    accelerator = target.accelerator
    return {
        "kind": component.kind,
        "version": component.version,
        "variable": name,
        "source": source,
        "path": path,
        "file": path.rpartition("/")[2],
        "sha256": component.sha256 or "",
        "locked": component in locked(target.components),
        "compilers": compilers,
        "develop": [t.value for t in accelerator.develop] if kind.develops and accelerator else [],
        "system": [text.value for text in component.system],
        "wheel_sources": sorted(
            {wheel.source: target.sources[wheel.source] for wheel in wheels([component])}.items()
        ),
    }


def _has(target: Target, kind: str) -> bool:
    return any(component.kind == kind for component in target.components)


def _is_mended(target: Target) -> bool:
    from packaging.version import Version

    return Version(target.transformers) < Version(_FOLLOWS_REDIRECTS)


def _is_toolkit_mended(target: Target) -> bool:
    from packaging.version import Version

    newer = Version(target.transformers) >= Version(_BREAKS_TOOLKIT)
    return target.mode == "inference" and newer


def _template_line(error: Exception) -> str:
    """`file:line: ` of the innermost template in an error's traceback."""
    where, frame = "", error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename.endswith(".j2"):
            where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}: "
        frame = frame.tb_next
    return where


def changes(
    images: Path, targets: Iterable[Target], renderer: Renderer, *, prune: bool
) -> Iterator[Change]:
    """What rendering would change below `images`; with `prune`, also what it would remove."""
    folders = set()
    for target in targets:
        folder = images / target.folder
        folders.add(folder)
        rendered = renderer.files(target)
        for name, content in sorted(rendered.items()):
            path = folder / name
            before = path.read_bytes() if path.is_file() else None
            if before != content:
                yield Change(path=path, before=before, after=content)
        kept = {*rendered, *(f"{component.kind}.lock" for component in locked(target.components))}
        yield from _removed(folder, {*_OF_COMPONENTS} - kept)
    if prune:
        for dockerfile in sorted(images.glob("*/*/Dockerfile")):
            if dockerfile.parent not in folders and _is_ours(dockerfile):
                ours = (
                    "Dockerfile",
                    *_COPIED,
                    *_COPIED_TO_SERVE,
                    _MENDS,
                    _MENDS_TOOLKIT,
                    *LOCK_NAMES,
                )
                yield from _removed(dockerfile.parent, (*ours, *_OF_COMPONENTS))


def _removed(folder: Path, names: Iterable[str]) -> Iterator[Change]:
    """The removal of those files that are in a folder."""
    for path in (folder / name for name in names):
        if path.is_file():
            yield Change(path=path, before=path.read_bytes(), after=None)


def _is_ours(dockerfile: Path) -> bool:
    return dockerfile.is_file() and HEADER.encode() in dockerfile.read_bytes()


def apply(found: Iterable[Change]) -> None:
    """Write changes; each file is replaced whole or not at all."""
    for change in found:
        if change.after is None:
            change.path.unlink()
            for folder in (change.path.parent, change.path.parent.parent):
                if not any(folder.iterdir()):
                    folder.rmdir()
            continue
        change.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = change.path.with_name(f".{change.path.name}.new")
        temporary.write_bytes(change.after)
        temporary.chmod(0o755 if change.path.suffix == ".sh" else 0o644)
        temporary.replace(change.path)

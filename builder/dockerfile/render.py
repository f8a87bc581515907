"""Targets to files: a Dockerfile and what it copies, byte for byte the same every time.

images/<repository>/<tag>/ holds what is rendered here and the locks of builder.locks. Nothing else
belongs there; rendering removes what is there of targets that the matrix no longer has, but never a
file that the Dockerfile there does not copy.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from builder.dockerfile.build_context import copied, files, is_copied
from builder.dockerfile.committed import Committed, is_linked, subfolders
from builder.dockerfile.context import HEADER, template_context
from builder.errors import RenderError
from builder.matrix.target import Target
from builder.matrix.values import COMPONENTS
from builder.util import atomic
from builder.util.links import LINE_ENDS, leads_out
from builder.util.package import PACKAGE

if TYPE_CHECKING:
    import jinja2

__all__ = [
    "LOCK_NAMES",
    "Change",
    "Renderer",
    "apply",
    "changes",
    "default_runtime",
    "default_templates",
]

LOCK_NAMES = ("build.lock", "framework.lock", "libraries.lock", "tools.lock")

# What is beside a Dockerfile and comes from elsewhere than the templates' folders.
_LOCKS = (*LOCK_NAMES, "system.lock", *(f"{kind}.lock" for kind in COMPONENTS))
_RESERVED = ("Dockerfile", *_LOCKS)

# What the context has besides rendered files, so that no template folder needs to have it.
_WHEELHOUSE = "wheelhouse*"
_WHEELHOUSE_FOLDER = "wheelhouse/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A file that is not as it would be rendered; None stands for a file that is not there."""

    path: Path
    before: bytes | None
    after: bytes | None
    below: int = 2  # folders that go with the last file in them

    @property
    def file(self) -> atomic.File:
        """What is to be written, with the mode that images copy it with."""
        mode = None if self.after is None else 0o755 if self.path.suffix == ".sh" else 0o644
        return atomic.File(path=self.path, content=self.after, mode=mode, below=self.below)

    def diff(self) -> str:
        """The change as a unified diff."""
        if self.before and self.before.replace(b"\r\n", b"\n") == self.after:
            return f"{self.path}: its lines end with CRLF; {LINE_ENDS}\n"
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
    return _ours("templates")


def default_runtime() -> Path:
    """The programs that ship in images; where the templates are."""
    return _ours("runtime")


def _ours(name: str) -> Path:
    packed = PACKAGE / name
    return packed if packed.is_dir() else PACKAGE.parent / name


class Renderer:
    """Renders targets with a team's own templates, if there are any, before ours.

    Those that are not `trusted`, as they are another commit's, run nothing.
    """

    def __init__(
        self, templates: Path | None = None, runtime: Path | None = None, *, trusted: bool = True
    ) -> None:
        ours = default_templates()
        if templates is not None and not templates.is_dir():
            raise RenderError(f"{templates} is not a folder", remedy="check --templates")
        self._own = templates if templates and templates.resolve() != ours.resolve() else None
        self._ours = ours
        self._trusted = trusted
        self._runtime = runtime or default_runtime()
        self._contents: dict[str, bytes] = {}
        self._taken: dict[tuple[str, ...], dict[str, bytes]] = {}  # most targets take the same

    def files(self, target: Target) -> dict[str, bytes]:
        """What a target's folder holds besides its locks: file name to content."""
        return self.rendered(target)[0]

    def rendered(self, target: Target) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """The same, and what the Dockerfile takes from its context."""
        dockerfile = self._text("Dockerfile.j2", target)
        sources = copied(dockerfile)
        if sources not in self._taken:
            self._taken[sources] = self._take(sources, target)
        return {"Dockerfile": dockerfile.encode(), **self._taken[sources]}, sources

    def resolver(self, target: Target) -> str:
        """The Dockerfile that asks apt for a target's packages, with its accelerator's."""
        return self._text("resolve.j2", target)

    def _take(self, sources: tuple[str, ...], target: Target) -> dict[str, bytes]:
        """The files of our folders that a Dockerfile takes by names, folders or globs."""
        found: dict[str, bytes] = {}
        for source in sources:
            if source == _WHEELHOUSE:
                continue
            own = [name for name in self._files if is_copied(name, (source,))]
            if not own and "$" not in source and not _is_reserved(source):
                raise RenderError(
                    f"{self._files_of}/{source}, which the Dockerfile of {target.name} copies, "
                    "is in no template folder",
                    remedy="add it",
                )
            for name in own:
                if name not in self._contents:
                    self._contents[name] = self._content(self._files[name])
                found[name] = self._contents[name]
        return found

    def _content(self, path: Path) -> bytes:
        folders = (self._own, self._ours, self._runtime)
        if not any(folder and not leads_out(path, folder) for folder in folders):
            raise RenderError(
                f"{path} is a link that leads out of its folder", remedy="put the file there"
            )
        content = path.read_bytes()
        if path.suffix in {".sh", ".py"} and b"\r\n" in content:
            raise RenderError(f"{path} has lines that end with CRLF", remedy=LINE_ENDS)
        return content

    @property
    def _files_of(self) -> Path:
        return (self._own or self._ours) / "files"

    @cached_property
    def _files(self) -> dict[str, Path]:
        found = files([each for each in (self._own, self._ours) if each], self._runtime)
        return {name: path for name, path in found.items() if name not in _RESERVED}

    @cached_property
    def _environment(self) -> jinja2.Environment:
        # 60 ms of Jinja that `dlc list` need not pay.
        from builder.dockerfile.loader import environment

        return environment(self._own, self._ours, trusted=self._trusted)

    def _text(self, template: str, target: Target) -> str:
        import jinja2

        from builder.dockerfile.includes import variables

        try:
            found = variables(template_context(target), target)
            return self._environment.get_template(template).render(found)
        except jinja2.TemplateSyntaxError as error:
            raise RenderError(
                f"{error.filename or error.name}:{error.lineno}: {error.message}",
                remedy="fix the template",
            ) from error
        except jinja2.TemplateNotFound as error:
            raise RenderError(
                f"{_template_line(error)}no template is named {error.name}",
                remedy="fix the template, or add that one",
            ) from error
        except RecursionError as error:
            raise RenderError(
                f"{_template_line(error)}a template includes or extends itself",
                remedy="ours of the same name is below dlc/",
            ) from error
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise RenderError(
                f"{_template_line(error)}{error} (rendering {target.name})",
                remedy="fix the template",
            ) from error


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
        folder = f"{images}/{target.folder}"
        folders.add(target.folder)
        there = Committed.of(folder)
        if there.has_links or is_linked(target.folder, images):
            _check_place(Path(folder, "Dockerfile"), images)
        rendered, sources = renderer.rendered(target)
        # Before the Dockerfile is replaced, which says what was copied until now.
        yield from _removed(there, kept=_locks_in(sources).union(rendered))
        for name, content in sorted(rendered.items()):
            if there.has_links:
                _check_place(Path(folder, name), images)
            if there.has(name, content):
                continue
            before = there.read(name)
            if before != content:
                yield Change(path=Path(folder, name), before=before, after=content)
    if prune:
        for folder in sorted(subfolders(images) - folders, key=lambda each: each.split("/")):
            yield from _removed(Committed.of(f"{images}/{folder}"), kept=frozenset())


@lru_cache(maxsize=256)
def _locks_in(sources: tuple[str, ...]) -> frozenset[str]:
    """The locks that stay beside a Dockerfile which takes this from its context."""
    return frozenset({*LOCK_NAMES, *(name for name in _LOCKS if is_copied(name, sources))})


def _removed(there: Committed, kept: frozenset[str]) -> Iterator[Change]:
    """What a Dockerfile of ours, as it was rendered before, copied, and what is not kept of it."""
    others = [each for each in there.names - kept if not each.startswith(_WHEELHOUSE_FOLDER)]
    dockerfile = there.read("Dockerfile") if others else None
    if dockerfile is None or HEADER.encode() not in dockerfile:
        return
    sources = copied(dockerfile.decode("utf-8", "replace"))
    sources = tuple(each for each in sources if each != _WHEELHOUSE)
    for name in sorted(others, key=lambda name: (-name.count("/"), name.split("/"))):
        if name == "Dockerfile" or is_copied(name, sources):
            path = Path(there.folder, name)
            yield Change(path=path, before=there.read(name), after=None, below=name.count("/") + 2)


def _is_reserved(source: str) -> bool:
    """Whether a name or glob of a Dockerfile takes what is no file of the templates' folders."""
    return any(is_copied(name, (source,)) for name in _RESERVED)


def _check_place(path: Path, images: Path) -> None:
    """RenderError for a file that would be read and written elsewhere than below `images`."""
    if leads_out(path, images):
        raise RenderError(
            f"{path} is a link, or in a folder that is one, and leads out of {images}",
            remedy="remove the link",
        )


def apply(found: Iterable[Change]) -> None:
    """Write changes, all or none."""
    atomic.write_all(each.file for each in found)

"""An addition, locked and rendered: what is written at once, and what of it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.authoring.add import Addition
from builder.dockerfile.render import Change, Renderer, changes
from builder.locks import lockfile
from builder.locks.lockfile import Lock
from builder.locks.resolve import Resolver
from builder.matrix.target import Target
from builder.util.text import counted

__all__ = ["Draft", "draft"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """All that an addition changes; nothing of it is written yet."""

    addition: Addition
    images: Path
    locks: tuple[tuple[Target, tuple[Lock, ...]], ...]
    rendered: tuple[Change, ...]

    def shown(self) -> Iterator[Change]:
        """What people look at: the matrix, the Dockerfiles and locks, not what these copy."""
        edit = self.addition.edit
        yield Change(path=edit.path, before=edit.before, after=edit.after)
        for target, locks in self.locks:
            folder = self.images / target.folder
            yield from (each for each in self.rendered if each.path == folder / "Dockerfile")
            for file in lockfile.files(folder, locks):
                yield Change(path=file.path, before=None, after=file.content)

    def write(self) -> None:
        """Write matrix, locks and what is rendered; WriteError, and nothing is, if that fails."""
        files = [
            file
            for target, locks in self.locks
            for file in lockfile.files(self.images / target.folder, locks)
        ]
        self.addition.edit.save([*files, *(each.file for each in self.rendered)])


def draft(
    addition: Addition,
    images: Path,
    *,
    resolver: Resolver,
    renderer: Renderer,
    say: Callable[[str], None],
) -> Draft:
    """Lock and render the targets of an addition; LockError if one of them cannot be locked."""
    made = []
    for target in addition.targets:
        made.append((target, resolver.lock(target)))
        count = counted(sum(len(each.entries) for each in made[-1][1]), "requirement")
        say(f"{target.name}: {count} locked")
    rendered = changes(images, addition.targets, renderer, prune=False)
    return Draft(addition=addition, images=images, locks=tuple(made), rendered=tuple(rendered))

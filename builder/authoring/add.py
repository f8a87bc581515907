"""A new release, or more of one, as the text of a matrix, and the targets that it brings.

What nobody names is as in the last entry of the same mode, on the same framework version if there
is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from builder.authoring.framework import FrameworkLines, NewFramework, framework_lines
from builder.authoring.outdated import PACKAGES, newest
from builder.authoring.pythons import alike, marked
from builder.authoring.request import ReleaseRequest, refuse_missing, without_wheels
from builder.errors import LockError
from builder.locks.bounds import bounds
from builder.matrix.edit import MatrixText, flow
from builder.matrix.format import Entry, FrameworkVersion, Matrix, Release
from builder.matrix.requirements import for_python
from builder.matrix.rewrite import Edit, Original
from builder.matrix.target import Target

__all__ = ["Addition", "addition"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """The matrix as it would be, and the targets that it has more."""

    edit: Edit
    targets: tuple[Target, ...]


def addition(path: Path, wanted: ReleaseRequest) -> Addition:
    """What adding would make of a matrix; nothing is written.

    MatrixError if the result would be unsound or bring nothing, LockError if what is wanted is not
    on the index or cannot be asked.
    """
    original = Original(path)
    adding = _Adding(original.matrix, wanted, original.text)
    if adding.framework is not None:
        # What the matrix itself does not take is told before the index is asked.
        original.edited(adding.text(datasets=wanted.datasets or "0.0.0"))
    edit = original.edited(adding.asked())
    known = {target.name for target in original.targets}

    def new(edit: Edit) -> tuple[Target, ...]:
        return tuple(target for target in edit.targets if target.name not in known)

    if adding.framework is None:
        edit = original.edited(adding.bounded(new(edit)))
    if not new(edit):
        raise LockError(
            f"{path} has Transformers {wanted.transformers} with that already",
            remedy="name another version, mode or device",
        )
    return Addition(edit=edit, targets=new(edit))


class _Adding:
    """One addition to one matrix."""

    def __init__(self, matrix: Matrix, wanted: ReleaseRequest, text: MatrixText) -> None:
        self._matrix, self._wanted, self._text = matrix, wanted, text
        known = matrix.versions(wanted.framework)
        if not known:
            raise LockError(
                f"the matrix has no {wanted.framework} entry to take defaults from",
                remedy="write the first version by hand",
            )
        self._newest = max(known, key=Version)
        self._version = wanted.version or self._newest
        self.framework = known.get(self._version)
        self._release: Release | None = next(
            (r for r in matrix.releases if r.transformers == wanted.transformers), None
        )
        # What the index was asked for.
        self._datasets = wanted.datasets or ""
        self._limited: list[str] = []
        self._lines: FrameworkLines | None = None

    def asked(self) -> MatrixText:
        """The text with everything added, after the index was asked for what nobody named."""
        wanted = self._wanted
        # First: what follows would only say that something cannot be locked.
        refuse_missing(self._named(), self._pythons(), self._date, self._wanted.mirrors)
        if self.framework is None:
            self._lines = framework_lines(self._new_framework())
        else:
            self._limited = self._unfit(self.framework)
        if self._release is None and not self._datasets:
            self._datasets = newest(
                "datasets",
                python=self._pythons()[0],
                date=self._date,
                mirrors=self._wanted.mirrors,
                beside=f"transformers=={wanted.transformers}",
            )
        return self.text(datasets=self._datasets, framework=self._lines)

    def bounded(self, targets: Sequence[Target]) -> MatrixText:
        """What was asked, with what the libraries need of a framework version that is new."""
        assert self._lines is not None  # noqa: S101
        found: dict[str, list[str]] = {}
        for target in targets:
            own = found.setdefault(target.python, [])
            bounded = replace(target, constraints=(*target.constraints, *own))
            known = for_python(self._known_constraints(), target.python)
            own += bounds(bounded, known, self._wanted.mirrors)
        return self.text(datasets=self._datasets, framework=self._lines.bounded(*marked(found)))

    def text(self, *, datasets: str, framework: FrameworkLines | None = None) -> MatrixText:
        """The text with everything added; `framework` are lines of a version that is new."""
        wanted, text = self._wanted, self._text
        for limited in self._limited:
            marker = f"python_version < '{wanted.python}'"
            text = text.limit_constraint(wanted.framework, self._version, limited, marker)
        if framework is not None:
            text = text.add_framework(wanted.framework, self._version, framework.all())
            accelerator = framework.accelerator
            if accelerator and accelerator[0] not in self._matrix.accelerators:
                text = text.add_accelerator(*accelerator)
        if self._release is not None:
            date = self._own_date(self.framework)
            for mode in wanted.modes:
                for entry in self._entries(mode, date):
                    text = text.add_entry(
                        wanted.transformers, mode, wanted.framework, self._libraries(mode), entry
                    )
            return text
        lines = [
            f"transformers: {wanted.transformers}",
            f"datasets: {datasets}",
            f"date: {self._date}",
        ]
        for mode in wanted.modes:
            entries = ", ".join(map(flow, self._entries(mode, None)))
            lines += [
                f"{mode}:",
                f"  libraries: {self._libraries(mode)}",
                f"  {wanted.framework}: [{entries}]",
            ]
        return text.add_release(wanted.transformers, lines)

    @property
    def _date(self) -> str:
        return self._wanted.date or self._wanted.today

    def _named(self) -> list[str]:
        """What somebody named that the matrix does not have yet, as requirements."""
        wanted, found = self._wanted, []
        if self._release is None:
            found.append(f"transformers=={wanted.transformers}")
            found += [f"datasets=={wanted.datasets}"] if wanted.datasets else []
        if self.framework is None:
            found.append(f"{PACKAGES[wanted.framework]}=={self._version}")
        return found

    def _pythons(self) -> list[str]:
        """Those that the targets may have, the usual one first."""
        if self._wanted.python:
            return [self._wanted.python]
        known = self.framework or self._like()
        pythons = [known.python, *(build.python for build in known.builds.values())]
        pythons += [entry.python for mode in self._wanted.modes if (entry := self._last(mode))]
        return list(dict.fromkeys(filter(None, pythons)))

    def _unfit(self, framework: FrameworkVersion) -> list[str]:
        """Constraints of a version that is there, of which a Python that is new to it has no wheel.

        They were found for another Python, where they limit what has no other wheel here.
        """
        python = self._wanted.python
        entries = (entry for release in self._matrix.releases for entry in release.entries)
        kinds = [(each.framework, each.version, each.python) for each in entries]
        known = (self._wanted.framework, self._version, python) in kinds
        if python is None or python == framework.python or known:
            return []
        counting = [text for text in framework.constraints if ";" not in text]
        return without_wheels(counting, python, self._date, self._wanted.mirrors)

    def _entries(self, mode: str, date: str | None) -> list[dict[str, str]]:
        """The entries of a mode: for each base and Python that the last one's release has."""
        wanted, last = self._wanted, self._last(mode)
        one = wanted.devices or wanted.python or wanted.base or wanted.accelerator
        likes = [last] if last is None or one else alike(self._matrix, last)
        return [self._entry(date, like) for like in likes]

    def _entry(self, date: str | None, like: Entry | None) -> dict[str, str]:
        """An entry: what it says besides its version, as in the one it goes by."""
        wanted = self._wanted
        found = {"version": self._version}
        devices = wanted.devices or list((like.devices if like else None) or ())
        if devices:
            found["devices"] = f"[{', '.join(devices)}]"
        if like and like.platforms and not wanted.devices:
            found["platforms"] = f"[{', '.join(like.platforms)}]"
        same = like is not None and like.version == self._version
        for name in ("python", "base", "accelerator"):
            own = getattr(wanted, name)
            in_framework = self.framework is None
            carried = same or (in_framework and name != "accelerator")
            value = getattr(like, name, None) if carried else None
            if own and not in_framework:
                found[name] = own
            elif value and not own:
                found[name] = value
        if date:
            found["date"] = date
        origin = wanted.origin or (like.origin if like and like.origin else "official")
        if origin != "official":
            found["origin"] = origin
        return found

    def _own_date(self, framework: FrameworkVersion | None) -> str | None:
        """The date of an entry in a release that is there; None if the release's will do."""
        wanted, release = self._wanted, self._release
        assert release is not None  # noqa: S101
        date = wanted.date
        if date is None and (framework is None or framework.locked > release.date):
            date = wanted.today
        return date if date != str(release.date) else None

    def _libraries(self, mode: str) -> str:
        like = self._last(mode)
        if self._wanted.libraries:
            return self._wanted.libraries
        if like is None:
            raise LockError(
                f"no {mode} with {self._wanted.framework} is there to take defaults from",
                remedy="name a set of libraries: --libraries",
            )
        return like.libraries

    def _last(self, mode: str) -> Entry | None:
        """The entry to take defaults from: the mode's last, on the same version if any."""
        entries = [
            entry
            for release in self._matrix.releases
            for entry in release.entries
            if (entry.mode, entry.framework) == (mode, self._wanted.framework)
        ]
        same = [entry for entry in entries if entry.version == self._version]
        on_newest = [entry for entry in entries if entry.version == self._newest]
        found = same or on_newest or entries
        return found[-1] if found else None

    def _known_constraints(self) -> tuple[str, ...]:
        """Those of the framework version, of any framework, that was locked last."""
        versions = self._matrix.frameworks.values()
        every = [version for each in versions for version in each.values()]
        return max(every, key=lambda version: version.locked).constraints

    def _like(self) -> FrameworkVersion:
        return self._matrix.versions(self._wanted.framework)[self._newest]

    def _new_framework(self) -> NewFramework:
        wanted, like = self._wanted, self._like()
        devices = [
            *(wanted.devices or ()),
            *(
                text
                for mode in wanted.modes
                for entry in [self._last(mode)]
                if not wanted.devices and entry
                for text in entry.devices or ()
            ),
        ] or ["cpu", "gpu"]
        gpu = wanted.accelerator
        if gpu is None and wanted.framework == "tensorflow":
            gpu = like.accelerators.get("gpu")
        builds = ["cpu"] if "cpu" in devices else []
        if "gpu" in devices:
            if gpu is None and wanted.framework == "tensorflow":
                raise LockError(
                    f"{wanted.framework} {self._newest} has no accelerator to take defaults from",
                    remedy="name one: --accelerator",
                )
            builds.append(gpu or "gpu")
        return NewFramework(
            framework=wanted.framework,
            version=self._version,
            date=self._date,
            python=wanted.python or like.python,
            base=wanted.base or like.base,
            builds=builds,
            like=like,
            wheels=wanted.wheels,
            folders=wanted.folders,
            mirrors=wanted.mirrors,
            sources={**self._matrix.sources, **wanted.sources},
        )

"""Advisories: which versions of which packages are vulnerable, and which no longer are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from builder.audit.names import project
from builder.errors import AdvisoryError

__all__ = ["SEVERITIES", "Advisory", "Affected", "Database", "Event", "Range"]

SEVERITIES = ("low", "medium", "high", "critical")

# What the ecosystems of OSV are called in an inventory.
_KINDS = {"PyPI": "python", "Maven": "java", "Debian": "system", "Ubuntu": "system"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A bound of a range: `what` is introduced, fixed, last_affected or limit."""

    what: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Versions by their bounds, in the order of the advisory."""

    events: tuple[Event, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Affected:
    """A package of an ecosystem, and the versions of it that are vulnerable.

    They are those that are named, those in a range, and those that fit one of the `specifiers`,
    which are Python's.
    """

    ecosystem: str
    name: str
    versions: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    specifiers: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of package, as in an inventory; empty for those that no image has."""
        return _KINDS.get(self.ecosystem.partition(":")[0], "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Advisory:
    """An advisory, by its identifier and those that others give it.

    `severity` is one of SEVERITIES, or empty where nobody says; `where` is what it was read from.
    """

    id: str
    where: str
    aliases: tuple[str, ...] = ()
    summary: str = ""
    severity: str = ""
    affected: tuple[Affected, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """All its identifiers, in small letters."""
        return frozenset(each.lower() for each in (self.id, *self.aliases))

    def nonsense(self, what: str) -> AdvisoryError:
        """The error that its data are none."""
        return AdvisoryError(
            f"{self.where}: advisory {self.id} {what}",
            remedy="get the advisories again, or leave this one out; nothing was audited",
        )


@dataclass
class Database:
    """Advisories by the kind of package and its name.

    `affected` are the packages, by kind, name and version, of which a service says that an advisory
    is for them, whatever its ranges say.
    """

    found: dict[tuple[str, str], list[tuple[Advisory, Affected]]] = field(default_factory=dict)
    affected: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)
    count: int = 0

    def add(self, advisories: Iterable[Advisory]) -> None:
        """Take advisories in."""
        for advisory in advisories:
            self.count += 1
            for affected in advisory.affected:
                if affected.kind:
                    key = (affected.kind, project(affected.kind, affected.name))
                    self.found.setdefault(key, []).append((advisory, affected))

    def about(self, kind: str, name: str, distribution: str) -> Iterator[tuple[Advisory, Affected]]:
        """The advisories for a package; those of a distribution's are for one release of it."""
        for advisory, affected in self.found.get((kind, project(kind, name)), ()):
            if kind != "system" or _is_release(affected.ecosystem, distribution):
                yield advisory, affected


def _is_release(ecosystem: str, distribution: str) -> bool:
    """Whether an ecosystem like Ubuntu:22.04:LTS is that of a distribution like ubuntu 22.04."""
    name, _, rest = ecosystem.partition(":")
    release = next((part for part in rest.split(":") if part[:1].isdigit()), "")
    return f"{name.lower()} {release}" == distribution if release else False


def as_texts(value: Any) -> tuple[str, ...]:
    """A list of texts; ValueError if it is none."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("has no list of texts")
    return tuple(value)


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """An object of JSON; ValueError if it is none."""
    if not isinstance(value, dict):
        raise ValueError(f"has no object as {what}")
    return value

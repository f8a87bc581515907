"""Where distributions have their packages: archive, security updates, and what was there before."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Archives", "archives"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Archives:
    """Where a distribution has its packages: its archive, its security updates, its past.

    `folders` are the names that its snapshot service has for the first two.
    """

    main: str
    security: str
    snapshot: str
    folders: tuple[str, str]
    components: str


# The distributions' own defaults; `archives` of mirrors.yaml stand in for them.
_ARCHIVES = {
    "debian": Archives(
        main="http://deb.debian.org/debian",
        security="http://security.debian.org/debian-security",
        snapshot="http://snapshot.debian.org/archive",
        folders=("debian", "debian-security"),
        components="main",
    ),
    "ubuntu": Archives(
        main="http://archive.ubuntu.com/ubuntu",
        security="http://security.ubuntu.com/ubuntu",
        snapshot="https://snapshot.ubuntu.com",
        folders=("ubuntu", "ubuntu"),
        components="main universe",
    ),
}


def archives(base: str) -> Archives | None:
    """The archives of a base by its name; None for a distribution that is not known."""
    name = re.match("[a-z]*", base)
    return _ARCHIVES.get(name[0]) if name else None

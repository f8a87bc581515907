"""Asks uv for requirements within constraints, for a Python, as of a date.

No code of a package runs on the way: where uv would have to build a source distribution to learn
what it needs, builder.locks.sdist.needs tells it, and uv is asked again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from builder.errors import LockError, UnansweredError, UnreachableError
from builder.locks.freshness import LAST_PATCH
from builder.locks.lockfile import parse, pinned
from builder.locks.sdist.needs import Source, needs_of
from builder.locks.sdist.source import Needs
from builder.locks.uv.process import Uv, uv_process
from builder.matrix.format import Upgrade
from builder.matrix.mirrors import NO_MIRRORS, Mirrors
from builder.matrix.platforms import DEFAULT, PLATFORMS
from builder.matrix.requirements import normalise

__all__ = ["Question", "UnreachableError", "compile_requirements", "failure", "requirement_name"]

# What uv says of the network; the last if it was told to be offline.
_UNREACHABLE = ("ailed to fetch", "ailed to download", "the network was disabled")
# What uv says of a source distribution that only its own code knows the requirements of.
_TO_BUILD = re.compile(r"Failed to (?:download and )?build `(?P<wanted>[^`\s]+(?: @ [^`\s]+)?)`")
_YANKED = re.compile(r"^warning: `(?P<package>[^`=]+)==(?P<version>[^`]+)` is yanked", re.MULTILINE)
_UNDATED = re.compile(r"^warning: `?(?P<file>[^`\s]+)`? is missing an upload date", re.MULTILINE)
_NOISE = re.compile(r"^(?:warning: .*|Resolved \d+ packages? in .*)\n?", re.MULTILINE)
# More source distributions than any lock has, so that asking again ends.
_MOST_ROUNDS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What uv is asked: requirements within constraints, for a Python on a platform, as of a date.

    `excluded` packages are left out of the answer whoever needs them; `upgrades` are allowed to be
    newer than the date. An empty date is today, an empty Python any. `no_deps`, `only_binary` and
    `annotate` are uv's own options.
    `preferences` are entries of a lock: of a version that will do, the entry stays as it is.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    python: str = ""
    platform: str = DEFAULT
    date: str = ""
    index: str = ""
    no_deps: bool = False
    upgrades: tuple[Upgrade, ...] = ()
    only_binary: bool = False
    annotate: bool = False
    preferences: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """What decides which wheels there are, apart from the day."""
        return f"{self.python} {self.platform}"


# What source distributions need, by the indexes that have them; and of each Python the day until
# which there is no wheel, which would speak for itself: on a day before it there is none either.
_KNOWN: dict[tuple[str, ...], dict[Source, tuple[Needs, dict[str, str]]]] = {}
_ANY_DAY = "9999-12-31"


def compile_requirements(
    question: Question,
    name: str,
    mirrors: Mirrors = NO_MIRRORS,
    yanked: Callable[[str, str], None] = lambda *_: None,
) -> dict[str, str]:
    """Ask uv; requirement lines by name, sorted.

    LockError with uv's reason, UnreachableError if that is the network; `name` is who asks.
    `yanked` is called with the package and the version of each entry that was yanked since.
    """
    choice = _choice(question)
    with uv_process(mirrors) as uv:
        known = _KNOWN.setdefault((question.index, *uv.indexes), {})
        options, days = _options(question, uv), _Days(question)
        for _ in range(_MOST_ROUNDS):
            # Copied, since other threads may learn something meanwhile.
            usable = {
                source: needs
                for source, (needs, until) in list(known.items())
                if until.get(question.place, "") >= days.of(source) and not question.only_binary
            }
            entries = [source.entry(needs) for source, needs in usable.items()]
            result = uv.run("compile", *options, *choice, configuration=entries)
            if result.returncode == 0:
                for found in _YANKED.finditer(result.stderr):
                    yanked(normalise(found["package"]), found["version"])
                return _answer(question, parse(result.stdout))
            unknown = _TO_BUILD.search(result.stderr)
            source = Source.parse(unknown["wanted"]) if unknown else None
            if source is None or source in usable:
                break
            if source not in known:
                known[source] = needs_of(source, uv, choice, question.date), {}
            until = known[source][1]
            until[question.place] = max(until.get(question.place, ""), days.of(source))
    raise failure(result.stderr, name)


class _Days:
    """The days until which a question looks for files."""

    def __init__(self, question: Question) -> None:
        self._lifted = {upgrade.package: str(upgrade.date) for upgrade in question.upgrades}
        self._all = question.date or _ANY_DAY

    def of(self, source: Source) -> str:
        """The day for one of them."""
        return self._lifted.get(source.package, self._all)


def _answer(question: Question, entries: Mapping[str, str]) -> dict[str, str]:
    """What uv answered, sorted by name; of a version that was preferred, the entry that was."""
    held = {} if question.annotate else parse("".join(question.preferences))
    # To the letter, so that a file that came later, or another uv, changes nothing of it.
    return {
        name: held[name] if _is_same(held.get(name, ""), entry) else entry
        for name, entry in sorted(entries.items())
    }


def _is_same(held: str, entry: str) -> bool:
    return "--hash=" in held and pinned(held) == pinned(entry)


def _options(question: Question, uv: Uv) -> list[str]:
    lifted = (upgrade.requirement for upgrade in question.upgrades)
    return [
        *("--generate-hashes", "--no-header"),
        *(("--annotation-style", "split") if question.annotate else ("--no-annotate",)),
        *("--constraints", uv.file("constraints", (*question.constraints, *lifted))),
        *("--excludes", uv.file("excludes", question.excluded)),
        *(("--no-deps",) if question.no_deps else ()),
        *(("--only-binary", ":all:") if question.only_binary else ()),
        *_preferred(question, uv),
        uv.file("wanted", question.requirements),
    ]


def _preferred(question: Question, uv: Uv) -> tuple[str, ...]:
    """An output file there is: uv takes what it has as the first choice, yanked or not."""
    if not question.preferences:
        return ()
    (uv.folder / "locked").write_text("".join(question.preferences), "utf-8")
    return ("--output-file", str(uv.folder / "locked"))


def _choice(question: Question) -> tuple[str, ...]:
    """The options that say which files there are to choose from."""
    options: list[str] = []
    if question.python:
        version = LAST_PATCH.get(question.python, question.python)
        wheels = PLATFORMS[question.platform].wheels
        options += ["--python-version", version, "--python-platform", wheels]
    if question.index:
        options += ["--default-index", question.index]
    if question.date:
        options += ["--exclude-newer", f"{question.date}T23:59:59Z"]
    for upgrade in question.upgrades:
        options += ["--exclude-newer-package", f"{upgrade.package}={upgrade.date}T23:59:59Z"]
    return tuple(options)


def failure(stderr: str, name: str) -> LockError:
    """What uv told of a failure, as an error with a remedy."""
    words = _NOISE.sub("", stderr).strip()
    message = f"{name} cannot be locked:\n{words}\n "
    if any(sign in words for sign in _UNREACHABLE):
        return UnreachableError(
            message, remedy="connect to that host, or put its wheels into a wheelhouse"
        )
    for file in _UNDATED.findall(stderr):
        package = normalise(re.split(r"-\d", file)[0])
        if re.search(rf"\b{re.escape(package)}\b", words):
            return UnansweredError(
                f"{message}\nthe package index has no upload time of {file}, so what it has of "
                f"{package} is of no date",
                remedy="use an index that tells upload times (PEP 700)",
            )
    return LockError(message, remedy="change the requirements or the date in the matrix")


def requirement_name(text: str) -> str:
    """The normalised name of a requirement."""
    from packaging.requirements import Requirement

    return normalise(Requirement(text).name)

"""Selectors: `repository:tag`, a tag, a glob over either, or an image URI; filters by field."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from builder.errors import SelectionError
from builder.matrix.tags import python_from_tag
from builder.util.frozen import frozen
from builder.util.text import counted, did_you_mean

if TYPE_CHECKING:
    from builder.matrix.target import Target

__all__ = ["Filters", "select", "select_one"]

_WORD = r"[A-Za-z]+[A-Za-z0-9]*|[0-9.]+"


@frozen
class Filters:
    """Values of which a target must have one each; none admit every value."""

    mode: tuple[str, ...] = ()
    framework: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    transformers: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any value."""
        return bool(_given(self))

    def admit(self, target: Target) -> bool:
        """Whether a target has one of the values of each kind."""
        return all(
            not wanted or actual in wanted
            for wanted, actual in (
                (self.mode, target.mode),
                (self.framework, target.framework),
                (self.device, target.device),
                (self.platform, target.platform),
                ([*map(python_from_tag, self.python)], target.python),
                (self.transformers, target.transformers),
                (self.origin, target.origin),
            )
        )


def select(
    targets: Iterable[Target], selectors: Sequence[str] = (), filters: Filters | None = None
) -> tuple[Target, ...]:
    """The targets that match any selector (all, without one) and every filter, in matrix order.

    SelectionError, with the nearest names, if a selector, a value or all of them match nothing;
    TagError if one that looks like an image URI is none.
    """
    targets = tuple(targets)
    filters = filters or Filters()
    selectors = [_name(selector) for selector in selectors]
    for selector in selectors:
        if not any(_matches(selector, target) for target in targets):
            # A full name is near to full names only; a tag or a repository to either of these.
            names = [target.name for target in targets]
            if ":" not in selector:
                names = [target.tag for target in targets]
                names += [f"{target.repository}:*" for target in targets]
            raise SelectionError(
                f"no target matches {selector!r}",
                remedy=_corrected(selector, targets) or _near(selector, list(dict.fromkeys(names))),
            )
    _refuse_unknown(targets, filters)
    found = tuple(
        target
        for target in targets
        if filters.admit(target)
        and (not selectors or any(_matches(selector, target) for selector in selectors))
    )
    if not found:
        raise _nothing(selectors, filters)
    return found


def select_one(
    targets: Iterable[Target], selectors: Sequence[str] = (), filters: Filters | None = None
) -> Target:
    """The one target that matches; SelectionError, with the candidates, if none or several do."""
    found = select(targets, selectors, filters)
    if len(found) > 1:
        names = "\n  ".join(target.name for target in found[:10])
        more = f"\n  and {len(found) - 10} more" if len(found) > 10 else ""
        what = repr(selectors[0]) if len(selectors) == 1 and not filters else "the selection"
        raise SelectionError(
            f"{what} matches {counted(len(found), 'target')}, but this command takes one",
            remedy=f"name one of\n  {names}{more}",
        )
    return found[0]


def _name(selector: str) -> str:
    """The `repository:tag` of an image URI; of any other selector the selector itself."""
    if ".dkr.ecr." not in selector:
        return selector
    from builder.matrix.uris import parse_uri  # for those who have one only

    uri = parse_uri(selector)
    return f"{uri.repository}:{uri.tag}"


def _matches(selector: str, target: Target) -> bool:
    return any(fnmatch.fnmatchcase(name, selector) for name in (target.name, target.tag))


def _near(selector: str, names: list[str]) -> str:
    plain = selector.strip("*")
    # A letter or two are in every name.
    containing = [name for name in names if len(plain) > 2 and plain in name]
    if containing:
        return f"did you mean {' or '.join(repr(name) for name in containing[:3])}?"
    hint = did_you_mean(plain, names)
    return hint if hint.startswith("did you mean") else "`dlc list` shows all targets"


def _corrected(selector: str, targets: Iterable[Target]) -> str:
    """A hint at a glob that matches: with near words for those that no target has; else empty."""
    if not set(selector) & set("*?["):
        return ""
    import difflib  # for those who mistype only

    names = [name for target in targets for name in (target.name, target.tag)]
    known = sorted({word for name in names for word in re.findall(_WORD, name)})
    near = {
        word: found[0]
        for word in re.findall(_WORD, selector)
        if word not in known and (found := difflib.get_close_matches(word, known, 1, 0.7))
    }
    candidates = [selector.replace(word, other) for word, other in near.items()]
    candidates.append(re.sub(_WORD, lambda word: near.get(word[0], word[0]), selector))
    for candidate in candidates:
        if fnmatch.filter(names, candidate):
            return f"did you mean {candidate!r}?"
    return ""


def _refuse_unknown(targets: Sequence[Target], filters: Filters) -> None:
    """SelectionError if a value alone matches nothing."""
    for name, values in _given(filters).items():
        for value in values:
            alone = Filters(**{name: (value,)})
            if not any(alone.admit(target) for target in targets):
                known = dict.fromkeys(str(getattr(target, name)) for target in targets)
                raise SelectionError(
                    f"no target has {name} {value}", remedy=did_you_mean(value, known)
                )


def _nothing(selectors: Sequence[str], filters: Filters) -> SelectionError:
    """Blame all filters together: each alone matches something."""
    named = f" that matches {' or '.join(map(repr, selectors))}" if selectors else ""
    given = _given(filters).items()
    wanted = " and ".join(f"{name} {' or '.join(values)}" for name, values in given)
    return SelectionError(
        f"no target{named} has {wanted}",
        remedy="each of them alone matches targets, but none matches all: leave one out",
    )


def _given(filters: Filters) -> dict[str, tuple[str, ...]]:
    names = (field.name for field in fields(filters))
    return {name: values for name in names if (values := getattr(filters, name))}

"""What is the same for many targets of a matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from builder.matrix.format import Accelerator, Base, Libraries
from builder.matrix.keys import given
from builder.matrix.yaml_nodes import Text

__all__ = ["Shared"]

_Made = TypeVar("_Made")
_Record = TypeVar("_Record", Base, Accelerator)


class Shared:
    """What is the same for many targets, made once for all of them."""

    def __init__(self) -> None:
        # With what each was made from, so that no other object can have its identity.
        self._made: dict[tuple[int, ...], tuple[Any, Any]] = {}

    def named(self, record: _Record, name: Text) -> _Record:
        """A record under the name that a row, or its framework version, gives it."""
        return self._once(lambda: replace(record, name=name), record, name)

    def libraries(self, libraries: Libraries, framework: Text) -> Libraries:
        """A set of libraries as it is on one framework."""
        return self._once(lambda: libraries.on(framework), libraries, framework)

    def given(self, *records: Any) -> dict[str, Any]:
        """What records give, to be copied before it is changed."""
        return self._once(lambda: given(*records), *records)

    def _once(self, make: Callable[[], _Made], *parts: Any) -> _Made:
        key = tuple(map(id, parts))
        if key not in self._made:
            self._made[key] = parts, make()
        made: _Made = self._made[key][1]
        return made

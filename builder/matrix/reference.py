"""The tables of docs/matrix.md: every key of the format, as it is declared."""

from __future__ import annotations

from builder.matrix.format import MATRIX
from builder.matrix.keys import Key, Struct, structs
from builder.matrix.schema import ListOf, MapOf, Shape, TextOf

__all__ = ["reference"]

_HEAD = "| key | value | meaning | in `dlc show` |\n|---|---|---|---|\n"


def reference() -> str:
    """A table for each record of the matrix, the whole of it first, as Markdown."""
    found: dict[str, tuple[Struct, list[str]]] = {}
    for struct, place in structs(MATRIX):
        found.setdefault(struct.what, (struct, []))[1].append(place)
    tables: list[str] = []
    for struct, places in found.values():
        same = [each.what for each, _ in found.values() if each.keys.items() > struct.keys.items()]
        tables.append(_table(struct, places, same))
    return "\n".join(tables)


def _table(struct: Struct, places: list[str], same: list[str]) -> str:
    title = f"**{struct.what[:1].upper()}{struct.what[1:]}**"
    if places != [""]:
        title += f" ({', '.join(f'`{place}`' for place in places)})"
    title += f" has {' or '.join(f'`{name}`' for name in struct.any_of)}" if struct.any_of else ""
    title += f", and the keys of {same[0]} that it needs" if same else ""
    title += f". `{struct.short}` alone may stand for it" if struct.short else ""
    rows = "".join(_row(name, each) for name, each in struct.keys.items())
    return f"{title}.\n" if same else f"{title}.\n\n{_HEAD}{rows}"


def _row(name: str, declared: Key) -> str:
    value = f"{_value(declared.shape)}{'; required' if declared.required else ''}"
    gives = f"`{declared.gives}`" if declared.gives else ""
    return f"| `{name}` | {value} | {declared.meaning} | {gives} |\n"


def _value(shape: Shape) -> str:
    if isinstance(shape, ListOf):
        return f"a list: {_value(shape.item)}"
    if isinstance(shape, MapOf):
        return f"by {_value(shape.key)}: {_value(shape.value)}"
    if not isinstance(shape, TextOf):
        return shape.what
    if shape.choices:
        return ", ".join(f"`{choice}`" for choice in shape.choices)
    like = shape.like.replace(" or ", "` or `")
    return f"{shape.what} like `{like}`" if like else shape.what

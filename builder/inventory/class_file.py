"""The one thing that is wanted of Java's class files: the module of `module-info.class`.

The format is that of the Java Virtual Machine Specification, chapter 4.
"""

from __future__ import annotations

import struct

__all__ = ["module_version"]

_MAGIC = b"\xca\xfe\xba\xbe"
_UTF8, _LONG, _DOUBLE = 1, 5, 6
# The bytes of each entry of the constant pool that has a fixed size.
_SIZES = {
    3: 4,
    4: 4,
    _LONG: 8,
    _DOUBLE: 8,
    7: 2,
    8: 2,
    9: 4,
    10: 4,
    11: 4,
    12: 4,
    15: 3,
    16: 2,
    17: 4,
    18: 4,
    19: 2,
    20: 2,
}


def module_version(content: bytes) -> tuple[str, str]:
    """The module's name and its version; empty where the class is no module, or has none."""
    try:
        return _module(content)
    except (struct.error, KeyError, IndexError):
        return "", ""


def _module(content: bytes) -> tuple[str, str]:
    if not content.startswith(_MAGIC):
        return "", ""
    [count] = struct.unpack_from(">H", content, 8)
    texts: dict[int, str] = {}
    modules: dict[int, int] = {}
    at, index = 10, 1
    while index < count:
        tag = content[at]
        if tag == _UTF8:
            [length] = struct.unpack_from(">H", content, at + 1)
            texts[index] = content[at + 3 : at + 3 + length].decode("utf-8", "replace")
            at += 3 + length
        else:
            if tag == 19:  # a module, by its name
                [modules[index]] = struct.unpack_from(">H", content, at + 1)
            at += 1 + _SIZES[tag]
        index += 2 if tag in (_LONG, _DOUBLE) else 1
    # Flags, this class, its parent, and the counts of interfaces, fields and methods: no module
    # has any of the last three.
    at += 6
    interfaces, fields, methods, attributes = struct.unpack_from(">4H", content, at)
    if interfaces or fields or methods:
        return "", ""
    at += 8
    for _ in range(attributes):
        name, length = struct.unpack_from(">HI", content, at)
        at += 6
        if texts[name] == "Module":
            module, _flags, version = struct.unpack_from(">3H", content, at)
            return texts[modules[module]], texts.get(version, "")
        at += length
    return "", ""

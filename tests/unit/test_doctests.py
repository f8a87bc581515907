"""The examples in the docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import builder


def test_examples() -> None:
    attempted = 0
    for module in pkgutil.iter_modules(builder.__path__, "builder."):
        if module.name != "builder.__main__":
            result = doctest.testmod(importlib.import_module(module.name))
            assert result.failed == 0, module.name
            attempted += result.attempted
    assert attempted >= 8

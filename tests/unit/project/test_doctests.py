"""The examples in the docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import builder


def test_examples() -> None:
    attempted = 0
    for module in pkgutil.walk_packages(builder.__path__, "builder."):
        # Those of the contract are tests themselves, and a conftest is pytest's to load.
        if not module.name.startswith(("builder.__main__", "builder.contract")):
            result = doctest.testmod(importlib.import_module(module.name))
            assert result.failed == 0, module.name
            attempted += result.attempted
    assert attempted >= 8

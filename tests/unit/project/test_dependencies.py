"""The project's own dependencies: what is imported is declared, what is declared is locked."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PROJECT: dict[str, Any] = tomli.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
OWN = {"benchmarks", "builder", "docs", "tests", "tools"}
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")

# What each lock of requirements/ is for: the extras that it holds.
LOCKS = {
    "all.txt": tuple(EXTRAS),
    "runtime.txt": ("aws",),
    "lowest.txt": ("test",),
}
# The extras that the programs of each folder may import from.
IMPORTERS = {
    "builder": ("aws", "contract"),
    "tests": ("test", "sagemaker", "browser"),
    "benchmarks": (),
    "tools": ("dev", "test"),
    "docs/examples": ("sagemaker",),
}
# They are in the image that an example trains in.
OF_IMAGES = {"datasets", "transformers"}


def declared(*extras: str) -> list[Requirement]:
    """What the project needs with extras, extras of extras included."""
    found = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    pending = list(extras)
    for extra in pending:
        for requirement in map(Requirement, EXTRAS[extra]):
            if requirement.name == PROJECT["project"]["name"]:
                pending.extend(requirement.extras)
            else:
                found.append(requirement)
    return found


@cache
def pins(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Each pin of a lock, with its hashes."""
    text = (ROOT / "requirements" / lock).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    split = [re.split(r"\s+--hash=", line) for line in lines]
    return [(Requirement(first.strip()), hashes) for first, *hashes in split]


def installed(lock: str, python: str) -> dict[str, str]:
    """The versions that a lock has for a Python on Linux."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    found: dict[str, str] = {}
    for pin, _ in pins(lock):
        if pin.marker is None or pin.marker.evaluate(environment):
            name = canonicalize_name(pin.name)
            assert name not in found, f"{lock} has {name} twice for Python {python}"
            found[name] = str(pin.specifier).removeprefix("==")
    return found


@cache
def imported(folder: Path) -> tuple[tuple[str, Path], ...]:
    return tuple(_imported(folder))


def _imported(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*.py")):
        nodes = [*ast.walk(ast.parse(path.read_text("utf-8")))]
        # mypy knows what only it imports: it has stubs of its own.
        typed = [node.body for node in nodes if isinstance(node, ast.If) and _is_for_types(node)]
        skipped = {id(each) for body in typed for each in body}
        for node in nodes:
            if id(node) in skipped:
                continue
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            else:
                continue
            yield from ((name.partition(".")[0], path) for name in names)


def _is_for_types(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def undeclared(folder: Path, requirements: list[Requirement]) -> list[str]:
    """The imports of a folder that none of the requirements brings by its own name."""
    known = {canonicalize_name(requirement.name) for requirement in requirements}
    siblings = {path.stem for path in folder.rglob("*.py")} | {*OWN, *sys.stdlib_module_names}
    names = distributions()
    return sorted(
        {
            f"{path.relative_to(folder)}: {module}"
            for module, path in imported(folder)
            if module not in siblings | OF_IMAGES
            if not known & {canonicalize_name(name) for name in names.get(module, [module])}
        }
    )


# What is imported does not depend on the Python that looks.
every_module_known = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="3.10 finds not all packages by what they are imported as"
)


@every_module_known
@pytest.mark.parametrize("folder", IMPORTERS)
def test_what_is_imported_is_declared(folder: str) -> None:
    assert undeclared(ROOT / folder, declared(*IMPORTERS[folder])) == []


@every_module_known
def test_only_the_contract_needs_its_extra() -> None:
    found = undeclared(ROOT / "builder", declared("aws"))
    assert [name for name in found if not name.startswith("contract/")] == []


def test_an_import_that_is_not_declared_is_found(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        "if TYPE_CHECKING:\n    import stubs\ndef f():\n    import click.core, urllib3\n", "utf-8"
    )
    assert undeclared(tmp_path, [Requirement("click>=8")]) == ["module.py: urllib3"]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_locks_meet_what_is_declared(lock: str, python: str) -> None:
    found = installed(lock, python)
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    build = [*PROJECT["build-system"]["requires"], *PROJECT["dependency-groups"]["build"]]
    for requirement in [*declared(*LOCKS[lock]), *map(Requirement, build)]:
        if requirement.marker is None or requirement.marker.evaluate(environment):
            version = found.get(canonicalize_name(requirement.name), "")
            assert requirement.specifier.contains(version), f"{requirement}: make deps"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_of_version_3_of_the_sdk(python: str) -> None:
    found = installed("sagemaker3.txt", python)
    for requirement in map(Requirement, PROJECT["dependency-groups"]["sagemaker3"]):
        assert requirement.specifier.contains(found[requirement.name]), f"{requirement}: make deps"


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").iterdir()), ids=lambda p: p.name)
def test_locks_name_hashes_and_no_address(path: Path) -> None:
    for pin, hashes in pins(path.name):
        assert re.fullmatch(r"==[^,*]+", str(pin.specifier)), pin
        assert hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), pin
    assert "://" not in path.read_text("utf-8")


@pytest.mark.parametrize(("part", "whole"), [("uv.txt", "runtime.txt"), ("runtime.txt", "all.txt")])
def test_one_version_of_each(part: str, whole: str) -> None:
    assert set(versions(part)) <= set(versions(whole)), "make deps"


def versions(lock: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Each version of a lock with its hashes; for which Python it is may differ by lock."""
    return [(pin.name, str(pin.specifier), tuple(hashes)) for pin, hashes in pins(lock)]


def test_lower_bounds_are_what_is_tested() -> None:
    """A bound that a dependency of ours lifts is no bound; no bound at all promises too much."""
    lowest = installed("lowest.txt", "3.10")
    for requirement in declared("aws", "contract"):
        [bound] = [each for each in requirement.specifier if each.operator == ">="]
        pinned = Requirement(f"{requirement.name}=={lowest[canonicalize_name(requirement.name)]}")
        assert pinned.specifier.contains(bound.version), (
            f"{requirement}: {pinned} is tested; remove lowest.txt, then make deps"
        )

"""Templates by folder: a team's own before ours, file by file and block by block.

A team's template of the same name takes the place of ours. One that begins with
`{% extends "dlc/Dockerfile.j2" %}` keeps ours, but for the blocks that it has itself; below `dlc/`
are ours and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from jinja2 import nodes
from jinja2.sandbox import SandboxedEnvironment

from builder.dockerfile.includes import SharesIncludes
from builder.errors import RenderError
from builder.util.links import leads_out
from builder.util.text import did_you_mean

if TYPE_CHECKING:
    from types import CodeType

    from jinja2.bccache import Bucket
    from jinja2.environment import Environment

__all__ = ["OURS", "environment"]

OURS = "dlc"
_LOST = (nodes.Include, nodes.For, nodes.CallBlock, nodes.FilterBlock, nodes.ExprStmt)


def environment(own: Path | None, ours: Path, *, trusted: bool = True) -> Environment:
    """Jinja with the templates of a team's folder, if there is one, before ours.

    A template can run anything that Python can; one that is not `trusted` is in Jinja's sandbox.
    """
    below = {OURS: _Loader([ours])}
    folders = [folder for folder in (own, ours) if folder]
    kind = SharesIncludes if trusted else _Sandbox
    return kind(
        loader=jinja2.ChoiceLoader([jinja2.PrefixLoader(below), _Loader(folders)]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        auto_reload=False,  # all targets have the same templates, and each is read once
        bytecode_cache=_COMPILED if trusted else _COMPILED_FOR_THE_SANDBOX,
    )


class _Sandbox(SharesIncludes, SandboxedEnvironment):
    """Of templates that are not trusted."""


class _Compiled(jinja2.BytecodeCache):
    """What this process compiled, for the next renderer: `plan --since` has two."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code:
            self._codes[bucket.key, bucket.checksum] = bucket.code


_COMPILED = _Compiled()
# The sandbox lies in what is compiled, too.
_COMPILED_FOR_THE_SANDBOX = _Compiled()


class _Loader(jinja2.FileSystemLoader):
    """Refuses what Jinja lets pass: blocks that nothing renders, and text beside the blocks."""

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        try:
            source, filename, fresh = super().get_source(environment, template)
        except UnicodeDecodeError as error:
            raise RenderError(f"{template} is not UTF-8: {error}", remedy="save it so") from error
        if all(leads_out(Path(filename), Path(folder)) for folder in self.searchpath):
            raise RenderError(
                f"{filename} is a link that leads out of its folder",
                remedy="put the template there",
            )
        if "extends" not in source:
            return source, filename, fresh
        tree = environment.parse(source, template, filename)
        parents = [each for each in tree.body if isinstance(each, nodes.Extends)]
        if parents and isinstance(parents[0].template, nodes.Const):
            _check(environment, tree, template, filename, parents[0])
        return source, filename, fresh


def _check(
    environment: Environment, tree: nodes.Template, name: str, file: str, parent: nodes.Extends
) -> None:
    """RenderError for what a template that extends another would lose without a word."""
    assert isinstance(parent.template, nodes.Const)  # noqa: S101 - the caller looked
    of = str(parent.template.value)
    if of == name:
        raise RenderError(
            f"{file}:{parent.lineno}: {name} extends itself",
            remedy=f'write {{% extends "{OURS}/{name}" %}}',
        )
    try:
        known = _blocks(environment, of)
    except jinja2.TemplateNotFound as error:
        raise RenderError(
            f"{file}:{parent.lineno}: no template is named {of}",
            remedy=f"ours are below {OURS}/, like {OURS}/Dockerfile.j2",
        ) from error
    for node in tree.body:
        if isinstance(node, nodes.Block) and node.name not in known:
            raise RenderError(
                f"{file}:{node.lineno}: {of} has no block named {node.name}",
                remedy=did_you_mean(node.name, known),
            )
        line = _lost(node)
        if line:
            raise RenderError(
                f"{file}:{line}: what is outside of every block is rendered nowhere",
                remedy=f"put it into a block: {', '.join(known)}",
            )


def _blocks(environment: Environment, name: str) -> list[str]:
    """The blocks that a template has, or those that it extends."""
    assert environment.loader is not None  # noqa: S101 - ours always has one
    source, filename, _ = environment.loader.get_source(environment, name)
    tree = environment.parse(source, name, filename)
    found = [block.name for block in tree.find_all(nodes.Block)]
    for parent in tree.find_all(nodes.Extends):
        if isinstance(parent.template, nodes.Const):
            found += _blocks(environment, str(parent.template.value))
    return list(dict.fromkeys(found))


def _lost(node: nodes.Node) -> int:
    """The line of what this node would print; 0 if it prints nothing."""
    if isinstance(node, _LOST):
        return node.lineno
    if isinstance(node, nodes.Output):
        for part in node.nodes:
            if not isinstance(part, nodes.TemplateData):
                return part.lineno
            text = part.data.lstrip()
            if text:
                return part.lineno + part.data[: len(part.data) - len(text)].count("\n")
    return 0

"""Includes, each rendered once for all targets of which it reads the same.

What a template yields follows from what it reads. While an include is rendered, each variable and
each attribute of the target that it reads is noted; where all of them are the same again, so is
its text. Nothing of this outlives a renderer.
"""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Mapping, MutableMapping
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

from builder.matrix.schema import Day
from builder.matrix.target import Target
from builder.matrix.yaml_nodes import Text

__all__ = ["SharesIncludes", "variables"]

# The variable that has a rendering's `_Reads`: a name that no template can write.
_READS = "what is read"
# As many texts are kept of one template; those of the labels are all different.
_MOST = 1000
# Values that are printed alike where they are equal.
_PLAIN = frozenset({str, bool, type(None), datetime.date})

# The names of variables and of attributes that an include reads.
_Names = tuple[tuple[str, ...], tuple[str, ...]]


def variables(found: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """The variables of one rendering, with the target as `target`."""
    reads = _Reads(target)
    return {**found, "target": _Seen(reads), _READS: reads}


class _Reads:
    """What one rendering reads, and its keys: what is equal to the key of no other value."""

    def __init__(self, target: Target) -> None:
        self.target = target
        # What an include has read until now; None outside of them.
        self.noted: tuple[dict[str, Hashable], dict[str, Hashable]] | None = None
        self._attributes: dict[str, tuple[Any, Hashable]] = {}

    def attribute(self, name: str) -> tuple[Any, Hashable]:
        """An attribute of the target and its key."""
        found = self._attributes.get(name)
        if found is None:
            value = _without_place(getattr(self.target, name))
            found = self._attributes[name] = value, _key(value)
        return found

    def keys(self, names: _Names, context: Context) -> tuple[Hashable, ...]:
        """The keys of what has these names."""
        variables, attributes = names
        return (
            *[_key(context.resolve_or_missing(name)) for name in variables],
            *[self.attribute(name)[1] for name in attributes],
        )


class _Seen:
    """A target as templates have it: it notes what they read of it."""

    __slots__ = ("_reads",)

    def __init__(self, reads: _Reads) -> None:
        self._reads = reads

    def __getattr__(self, name: str) -> Any:
        value, key = self._reads.attribute(name)
        if self._reads.noted:
            self._reads.noted[1][name] = key
        return value

    def _all(self) -> Target:
        """The target, all of which is read."""
        if self._reads.noted:
            self._reads.noted[0][""] = object()
        return self._reads.target

    def __str__(self) -> str:
        return str(self._all())

    def __eq__(self, other: object) -> bool:
        return self._all() == (other._all() if isinstance(other, _Seen) else other)

    def __hash__(self) -> int:
        return hash(self._all())


# As messages name it.
_Seen.__module__, _Seen.__name__ = Target.__module__, Target.__name__


class _Context(Context):
    """Notes which variables are read."""

    def resolve_or_missing(self, key: str) -> Any:
        value = Context.resolve_or_missing(self, key)
        reads = self.parent.get(_READS)
        if reads and reads.noted:
            reads.noted[0].setdefault(key, _key(value))
        return value

    def derived(self, locals: dict[str, Any] | None = None) -> Context:  # noqa: A002 - as Jinja
        own = {name: value for name, value in (locals or {}).items() if value is not missing}
        return Context.derived(self, own) if own else self


class _Transformer(NodeTransformer):
    """Has the environment render includes."""

    def visit_Include(self, node: nodes.Include) -> nodes.Node:  # noqa: N802 - as Jinja
        if node.ignore_missing or not node.with_context:
            return node
        given: list[nodes.Expr] = [node.template, nodes.DerivedContextReference()]
        call = nodes.Call(nodes.EnvironmentAttribute("included"), given, [], None, None)
        return nodes.Output([call]).set_lineno(node.lineno)


class SharesIncludes(jinja2.Environment):
    """An environment whose includes are rendered once for all that they read."""

    context_class = _Context

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._loaded: dict[str, jinja2.Template] = {}
        self._texts: dict[jinja2.Template, dict[_Names, dict[Hashable, str]]] = {}

    def _generate(self, source: nodes.Template, *rest: Any, **options: Any) -> str:
        return super()._generate(_Transformer().visit(source), *rest, **options)

    def get_template(
        self,
        name: str | jinja2.Template,
        parent: str | None = None,
        globals: MutableMapping[str, Any] | None = None,  # noqa: A002 - as Jinja
    ) -> jinja2.Template:
        # Jinja's own cache asks at each include whether the loader is still the same.
        if not isinstance(name, str) or globals is not None:
            return super().get_template(name, parent, globals)
        if name not in self._loaded:
            self._loaded[name] = super().get_template(name, parent)
        return self._loaded[name]

    def included(self, name: Any, context: Context) -> str:
        """The text of an include."""
        template = self.get_or_select_template(name, context.name)
        reads = context.parent.get(_READS)
        if not reads or reads.noted:  # an include of another one, which notes all of it
            return self._rendered(template, context)
        known = self._texts.setdefault(template, {})
        for names, texts in known.items():
            text = texts.get(reads.keys(names, context))
            if text is not None:
                return text
        reads.noted = {}, {}
        try:
            text = self._rendered(template, context)
            variables, attributes = reads.noted
        finally:
            reads.noted = None
        texts = known.setdefault((tuple(variables), tuple(attributes)), {})
        if len(texts) == _MOST:
            texts.clear()
        keys = (*variables.values(), *attributes.values())
        texts[keys] = text
        return text

    def _rendered(self, template: jinja2.Template, context: Context) -> str:
        inner = template.new_context(context.get_all(), shared=True)
        return self.concat(template.root_render_func(inner))


class _Same:
    """The key of a record, which is the same as itself alone; it stays as long as the key."""

    __slots__ = ("_record",)

    def __init__(self, record: Any) -> None:
        self._record = record

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._record is self._record

    def __hash__(self) -> int:
        return id(self._record)


def _key(value: Any) -> Hashable:
    """What only a value that reads alike has; nothing else is equal to that of other objects."""
    kind = value.__class__
    if kind in _PLAIN:
        return value  # type: ignore[no-any-return]
    if kind is tuple or kind is list:
        return kind, *(value if _PLAIN.issuperset(map(type, value)) else map(_key, value))
    if kind is dict:
        return kind, *value, _key(tuple(value.values()))
    if kind is _Seen:
        return kind
    if hasattr(kind, "__dataclass_fields__"):
        return _Same(value)
    return object()


def _without_place(value: Any) -> Any:
    """A value without its place in the matrix, which no template may print."""
    if isinstance(value, Text):
        return str(value)
    if isinstance(value, Day):
        return datetime.date(value.year, value.month, value.day)
    if value.__class__ is tuple:
        return tuple(map(_without_place, value))
    return value

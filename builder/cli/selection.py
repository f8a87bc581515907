"""Which targets a command is about: selectors, filters, --all, and what they complete to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from builder.cli.settings import Settings, pass_settings, settings_of
from builder.errors import DlcError, Interrupted
from builder.util.text import counted

if TYPE_CHECKING:
    from builder.matrix.target import Target

__all__ = [
    "FILTERS",
    "all_option",
    "check_all",
    "selection_options",
    "target_names",
    "target_options",
]

# As in builder.matrix.select.Filters and builder.matrix.format, which `dlc --help` need not load.
FILTERS: Mapping[str, tuple[str, ...]] = {
    "mode": ("training", "inference"),
    "framework": ("pytorch", "tensorflow"),
    "device": ("cpu", "gpu", "neuron", "neuronx"),
    "platform": ("linux/amd64", "linux/arm64"),
    "python": (),
    "transformers": (),
    "origin": ("official", "unreleased", "own"),
}


def _known(ctx: click.Context) -> tuple[Target, ...]:
    """The targets that a command line is about; none where its matrix cannot be read."""
    try:
        return settings_of(ctx).targets
    except (DlcError, OSError):
        return ()


def target_names(ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Targets that what was begun may mean: the names, or the tags, that begin with it."""
    names = [name for target in _known(ctx) for name in (target.name, target.tag)]
    return [name for name in names if name.startswith(begun)]


def _values(
    name: str, closed: tuple[str, ...]
) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What completes a filter: its own values, else those of the targets."""

    def complete(ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        values = closed or tuple(dict.fromkeys(getattr(each, name) for each in _known(ctx)))
        return [value for value in values if value.startswith(begun)]

    return complete


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """SELECTOR... and the filters."""
    for name, values in reversed([*FILTERS.items()]):
        field = name if values else f"{name.title()} version"
        command = click.option(
            f"--{name}",
            multiple=True,
            # A text, as the message for another value names those that are near.
            metavar=f"[{'|'.join(values)}]" if values else "VERSION",
            help=f"Only targets with this {field}; repeatable.",
            shell_complete=_values(name, values),
        )(command)
    return click.argument(
        "selectors", nargs=-1, metavar="[SELECTOR]...", shell_complete=target_names
    )(command)


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """SELECTOR... and the filters; the command gets the targets that match as `targets`."""

    @wraps(function)
    def chosen(settings: Settings, /, selectors: tuple[str, ...], **options: Any) -> Any:
        from builder.matrix.select import Filters, select

        values = {name: options.pop(name) for name in FILTERS}
        targets = select(settings.targets, selectors, Filters(**values))
        return function(settings, targets=targets, **options)

    return _options(pass_settings(chosen))


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """SELECTOR... and the filters, of which one target must be left: the command's `target`."""

    @wraps(function)
    def chosen(settings: Settings, /, selectors: tuple[str, ...], **options: Any) -> Any:
        from builder.matrix.select import Filters, select_one

        values = {name: options.pop(name) for name in FILTERS}
        if not selectors and not any(values.values()) and len(settings.targets) > 1:
            raise click.UsageError(
                "No target is named: name one of those that `dlc list` shows.",
                click.get_current_context(),
            )
        target = select_one(settings.targets, selectors, Filters(**values))
        return function(settings, target=target, **options)

    return _options(pass_settings(chosen))


def all_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--all, for `check_all`."""
    return click.option("--all", "every", is_flag=True, help="Select all targets, and do not ask.")(
        function
    )


def check_all(doing: str, targets: Sequence[Target], *, every: bool) -> None:
    """Ask before a command takes all targets because none was named.

    `doing` is what it does to them, such as "build". UsageError where nobody can answer, or where
    --all contradicts a selection.
    """
    context = click.get_current_context()
    named = any(context.params[name] for name in ("selectors", *FILTERS))
    if every and named:
        raise click.UsageError("--all selects all targets: leave it or the selection out.", context)
    if every or named or len(targets) == 1:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(
            f"No target is named: name some, or {doing} all {len(targets)} with --all.", context
        )
    if not click.confirm(f"{doing.capitalize()} all {counted(len(targets), 'target')}?", err=True):
        raise Interrupted("cancelled", remedy="name the targets that you want")

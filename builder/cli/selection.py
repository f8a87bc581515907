"""Which targets a command is about: selectors, filters, --all, and what they complete to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from builder.cli.main import Settings, pass_settings
from builder.errors import DlcError

if TYPE_CHECKING:
    from builder.matrix.target import Target

__all__ = ["FILTERS", "all_option", "check_all", "selection_options"]

# As in builder.matrix.select.Filters and builder.matrix.format, which `dlc --help` need not load.
FILTERS: Mapping[str, tuple[str, ...]] = {
    "mode": ("training", "inference"),
    "framework": ("pytorch", "tensorflow"),
    "device": ("cpu", "gpu", "neuron", "neuronx"),
    "python": (),
    "transformers": (),
}


def _known(ctx: click.Context) -> tuple[Target, ...]:
    """The targets that a command line is about; none where its matrix cannot be read."""
    try:
        told = {name: value for name, value in ctx.find_root().params.items() if value}
        return Settings(
            matrix=told.get("matrix"), images_folder=None, templates_folder=None, mirrors_file=None
        ).targets
    except (DlcError, OSError):
        return ()


def _names(ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
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


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """SELECTOR... and the filters; the command gets the targets they leave as `targets`."""

    def chosen(settings: Settings, /, selectors: tuple[str, ...], **options: Any) -> Any:
        from builder.matrix.select import Filters, select

        values = {name: options.pop(name) for name in FILTERS}
        return function(settings, select(settings.targets, selectors, Filters(**values)), **options)

    chosen.__name__, chosen.__doc__ = function.__name__, function.__doc__
    chosen.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for name, values in reversed([*FILTERS.items()]):
        told = f"Only targets with this {name}; may be repeated."
        # A text, as the message for another value names those that are near.
        listed = f"[{'|'.join(values)}]" if values else "VERSION"
        chosen = click.option(
            f"--{name}",
            multiple=True,
            metavar=listed,
            help=told,
            shell_complete=_values(name, values),
        )(chosen)
    return click.argument("selectors", nargs=-1, metavar="[SELECTOR]...", shell_complete=_names)(
        pass_settings(chosen)
    )


def all_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--all, for `check_all`."""
    return click.option("--all", "every", is_flag=True, help="All targets, without a question.")(
        function
    )


def check_all(doing: str, targets: Sequence[Target], *, every: bool) -> None:
    """Ask before all targets are taken because none was named; UsageError where nobody can answer.

    `doing` is what becomes of them, such as "build".
    """
    context = click.get_current_context()
    if every or len(targets) == 1 or any(context.params[name] for name in ("selectors", *FILTERS)):
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"{doing.capitalize()} all {len(targets)} targets?", abort=True, err=True)
        return
    raise click.UsageError(
        f"No target is named: name some, or {doing} all {len(targets)} with --all.", context
    )

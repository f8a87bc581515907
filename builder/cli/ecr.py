"""`dlc ecr`: the repositories that images are pushed to, in Amazon ECR, as code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from builder.cli.main import cli
from builder.cli.options import DEFAULT_REGION, output_option
from builder.cli.output import print_json, print_table
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.errors import DriftError
from builder.util.console import say
from builder.util.text import counted

if TYPE_CHECKING:
    from builder.matrix.target import Target
    from builder.release.ecr_repositories import Change, DesiredRepository, Ecr


def _accounts(_context: click.Context, _option: click.Parameter, value: Any) -> Any:
    for each in (value,) if isinstance(value, str) else value or ():
        if not re.fullmatch(r"\d{12}", each, re.ASCII):
            raise click.BadParameter(f"{each!r} is not an AWS account: it has twelve digits")
    return value


@cli.group()
def ecr() -> None:
    """Plan and make the repositories in Amazon ECR."""


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--untagged-days",
            type=click.IntRange(min=1),
            default=30,
            show_default=True,
            help="How long an image without a tag stays.",
        ),
        click.option(
            "--readers",
            multiple=True,
            metavar="ACCOUNT",
            callback=_accounts,
            help="An account that may pull; without any, the policy is left alone.",
        ),
        click.option(
            "--keep",
            type=click.Choice(["releases", "all", "none"]),
            default="releases",
            show_default=True,
            help="Tags that never move: those of releases and keys, all, or none.",
        ),
        click.option("--prefix", default="", metavar="PREFIX", help="Of the repositories."),
        click.option("--region", default=DEFAULT_REGION, show_default=True),
        click.option(
            "--account", callback=_accounts, help="[default: that of the AWS credentials]"
        ),
    ):
        function = option(function)
    return function


@ecr.command("plan")
@selection_options
@_options
@click.option("--check", is_flag=True, help="Fail if there is something to change.")
@output_option
def plan_command(
    settings: Settings,  # noqa: ARG001 - selection_options passes it to every command
    targets: tuple[Target, ...],
    check: bool,
    output: str,
    **options: Any,
) -> None:
    """Show what differs from what is defined."""
    _, _, found = _found(targets, **options)
    _show(found, output)
    if found and check:
        raise DriftError(
            f"{counted(len(found), 'difference')} in ECR", remedy="run `dlc ecr apply`"
        )


@ecr.command("apply")
@selection_options
@_options
@output_option
def apply_command(
    settings: Settings,  # noqa: ARG001 - selection_options passes it to every command
    targets: tuple[Target, ...],
    output: str,
    **options: Any,
) -> None:
    """Make it so; what is right already is left alone."""
    from builder.release.ecr_repositories import apply, changes

    registry, repositories, found = _found(targets, **options)
    apply(registry, found, lambda change: say(f"{change.repository}: {change.what} changed"))
    _show(found, output)
    if left := list(changes(registry, repositories)):
        names = ", ".join(f"{each.repository}: {each.what}" for each in left)
        raise DriftError(f"ECR did not keep {names}", remedy="run `dlc ecr plan` to see it")


def _found(
    targets: Sequence[Target],
    *,
    region: str,
    account: str | None,
    prefix: str,
    keep: str,
    readers: Sequence[str],
    untagged_days: int,
) -> tuple[Ecr, list[DesiredRepository], list[Change]]:
    from builder.registry.reference import check_prefix
    from builder.release.ecr_repositories import Ecr, changes, wanted

    below = check_prefix(prefix.strip("/"))
    names = [f"{below}/{each.repository}".lstrip("/") for each in targets]
    registry = Ecr(region, account)
    repositories = wanted(
        names,
        keeps=keep,
        untagged_days=untagged_days,
        readers=readers,
        partition=registry.partition,
    )
    return registry, repositories, list(changes(registry, repositories))


def _show(found: Sequence[Change], output: str) -> None:
    if output == "json":
        print_json([asdict(each) for each in found])
        return
    rows = [
        {
            "repository": each.repository,
            "what": each.what,
            "before": _short(each.before),
            "after": _short(each.after),
        }
        for each in found
    ]
    if rows:
        print_table(rows, ("repository", "what", "before", "after"))
    else:
        say("ECR is up to date")


def _short(value: Any) -> Any:
    """A value in few words.

    >>> _short({"imageTagMutability": "MUTABLE"})
    'MUTABLE'
    """
    if isinstance(value, dict) and "imageTagMutability" in value:
        filters = value.get("imageTagMutabilityExclusionFilters") or ()
        return " ".join([value["imageTagMutability"], *(each["filter"] for each in filters)])
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"))[:60]
    return "yes" if value is True else "no" if value is False else value

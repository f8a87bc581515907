"""The commands `dlc list`, `show`, `uri` and `schema`: what the matrix says."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import click

from builder.cli.main import cli
from builder.cli.options import DEFAULT_REGION, output_option, uri_options
from builder.cli.output import print_json, print_table
from builder.cli.selection import selection_options, target_options
from builder.cli.settings import Settings
from builder.errors import RegionError

if TYPE_CHECKING:
    from builder.matrix.target import Target

LISTED = ("repository", "tag", "datasets", "date", "origin")


def image_uri(target: Target, account: str | None, region: str) -> str:
    """Where a target's image is, or would be, in ECR.

    RegionError for an image of one's own without an account: AWS's has none of these.
    """
    from builder.matrix.uris import registry_host

    account = account or target.account or None
    if account is None and target.origin == "own":
        raise RegionError(
            f"{target.name} is in no registry of AWS's",
            remedy="name the --account that has it, or `account:` in the matrix",
        )
    return f"{registry_host(region, account)}/{target.name}"


def known_uri(target: Target, account: str | None, region: str) -> str | None:
    """The same, or nothing for an image whose account nobody named."""
    own = target.origin == "own" and not (account or target.account)
    return None if own else image_uri(target, account, region)


@cli.command("list")
@selection_options
@uri_options
@output_option
def list_targets(
    settings: Settings,  # noqa: ARG001 - selection_options passes it to every command
    targets: tuple[Target, ...],
    account: str | None,
    region: str,
    output: str,
) -> None:
    """List targets; all without a SELECTOR."""
    if output == "json":
        print_json([{**t.row(), "image_uri": known_uri(t, account, region)} for t in targets])
    elif account is not None or region != DEFAULT_REGION:
        print_table([{"image_uri": known_uri(t, account, region)} for t in targets], ["image_uri"])
    else:
        print_table([target.row() for target in targets], LISTED)


@cli.command()
@target_options
@uri_options
@output_option
def show(settings: Settings, target: Target, account: str | None, region: str, output: str) -> None:
    """Show all that is known of a target."""
    from builder.locks import freshness
    from builder.matrix.components import described
    from builder.matrix.tags import aliases

    folder = settings.images / target.folder
    values: dict[str, Any] = {
        **target.row(),
        "image_uri": known_uri(target, account, region),
        "aliases": list(aliases(target.parts)),
        "folder": str(folder),
        **{
            name: _plain(value)
            for name, value in target.given().items()
            if name not in target.row()
        },
        "driver_cuda": target.driver_cuda or None,
        "components": [described(each) for each in target.components],
        "lock": freshness.state(folder, target).text,
        "labels": target.labels(),
    }
    defined_at = {
        name: str(at) for name, at in target.defined_at.items() if values[name] is not None
    }
    if output == "json":
        print_json({"name": target.name, "values": values, "defined_at": defined_at})
        return
    rows = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines = [f"{name}={text}" for name, text in value.items()]
        else:
            lines = value if isinstance(value, list) else [value]
        for number, line in enumerate(lines):
            first = number == 0
            rows.append(
                {
                    "what": key if first else "",
                    "value": line,
                    "defined at": defined_at.get(key, "") if first else "",
                }
            )
    print_table(rows, ("what", "defined at", "value"))


def _plain(value: Any) -> Any:
    """A value of the matrix in JSON's types."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value or None


@cli.command()
@target_options
@uri_options
def uri(_: Settings, target: Target, account: str | None, region: str) -> None:
    """Print a target's image URI."""
    click.echo(image_uri(target, account, region))


@cli.command()
def schema() -> None:
    """Print the matrix's JSON schema, for editors."""
    from builder.matrix.format import schema_text

    click.echo(schema_text(), nl=False)

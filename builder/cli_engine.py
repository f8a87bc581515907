"""The commands of `dlc engine`: find an engine, or start and stop a private one."""

from __future__ import annotations

import shlex
from dataclasses import asdict

import click

from builder.cli import cli, output_option
from builder.errors import EngineError
from builder.output import print_json, print_table, say

__all__: list[str] = []


@cli.group(invoke_without_command=True)
@click.pass_context
def engine(context: click.Context) -> None:
    """Find the Docker Engine, or start and stop a private one."""
    if context.invoked_subcommand is None:
        context.invoke(status)


@engine.command()
@output_option
@click.pass_context
def status(context: click.Context, output: str = "table") -> None:
    """Say which engine answers and where it keeps its data."""
    from builder.engine import status as engine_status

    found = asdict(engine_status())
    if output == "json":
        print_json(found)
    else:
        rows = [{"what": key, "value": value} for key, value in found.items() if value != ""]
        print_table(rows, ("what", "value"))
    if not found["running"]:
        context.exit(EngineError.exit_code)


@engine.command()
def env() -> None:
    """Print what makes `docker` use the engine: eval "$(dlc engine env)"."""
    from builder.engine import find

    found = find()
    if found is None:
        raise EngineError("no engine runs", remedy="start one: dlc engine up")
    click.echo(f"export DOCKER_HOST={shlex.quote(found.host)}")


@engine.command()
def up() -> None:
    """Find an engine, or install and start one of our own."""
    from builder.private_engine import up as engine_up

    found = engine_up(say=say)
    click.echo(f"{found.host} (Docker Engine {found.version}, buildx {found.buildx_version})")


@engine.command()
def down() -> None:
    """Stop the engine that we started; images stay."""
    from builder.private_engine import stop

    say("stopped" if stop(say=say) else "no engine of ours runs")

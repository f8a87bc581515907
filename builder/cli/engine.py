"""The commands of `dlc engine`: find an engine, start, stop or trim a private one."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import output_option
from builder.cli.output import print_json, print_table
from builder.errors import EngineError
from builder.util.console import say
from builder.util.text import human_size

if TYPE_CHECKING:
    from builder.engine.connection import Engine
    from builder.engine.usage import Usage


def _bytes(_: click.Context, parameter: click.Parameter, value: str) -> int:
    """A size as budgets have it, such as `20 GB`, in bytes; the space may be left out."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB)", value)
    if not match:
        raise click.BadParameter(f"{value!r} is not a size; write 500 MB or 20 GB", param=parameter)
    return round(float(match[1]) * {"MB": 1e6, "GB": 1e9}[match[2]])


@cli.group(invoke_without_command=True)
@output_option
@click.pass_context
def engine(context: click.Context, output: str) -> None:
    """Find the Docker Engine, or start, stop and trim a private one."""
    if context.invoked_subcommand is None:
        context.invoke(status, output=output)


@engine.command()
@output_option
@click.pass_context
def status(context: click.Context, output: str = "table") -> None:
    """Show which engine answers, where it keeps its data and what they take."""
    from builder.engine.connection import find
    from builder.engine.connection import status as engine_status

    state = engine_status()
    found = find() if state.running else None
    used = _usage(found) if found else None
    if output == "json":
        print_json({**asdict(state), "usage": asdict(used) if used else None})
    else:
        rows = [{"what": key, "value": value} for key, value in asdict(state).items()]
        rows += [{"what": key, "value": value} for key, value in _lines(used)]
        print_table([row for row in rows if row["value"] != ""], ("what", "value"))
    if not state.running:
        context.exit(EngineError.exit_code)


def _usage(found: Engine) -> Usage | None:
    """What an engine holds; said and left out if it does not tell."""
    from builder.engine.usage import usage

    try:
        return usage(found)
    except EngineError as error:
        say(f"disk usage unknown: {error}")
        return None


def _lines(used: Usage | None) -> list[tuple[str, str]]:
    if used is None:
        return []
    untagged = f", {used.untagged_images} of them without a name" if used.untagged_images else ""
    running = f", {used.running_containers} of them running" if used.running_containers else ""
    return [
        ("images", f"{used.images} with {human_size(used.image_bytes)}{untagged}"),
        ("containers", f"{used.containers} with {human_size(used.container_bytes)}{running}"),
        (
            "build_cache",
            f"{human_size(used.cache_bytes)}, {human_size(used.cache_reclaimable)} reclaimable",
        ),
        ("disk_free", "" if used.free is None else human_size(used.free)),
    ]


@engine.command()
@click.option(
    "--keep-storage",
    metavar="SIZE",
    callback=_bytes,
    default="10 GB",
    show_default=True,
    help="Most that the build cache may take afterwards, such as `500 MB`.",
)
@click.option("--force", is_flag=True, help="Trim an engine that dlc did not start, too.")
@output_option
def prune(keep_storage: int, force: bool, output: str) -> None:
    """Remove untagged images and build cache of the private engine."""
    from builder.engine.connection import find
    from builder.engine.usage import prune as engine_prune

    found = find()
    if found is None:
        raise EngineError("no Docker Engine is running", remedy="start one: dlc engine up")
    if not (found.private or force):
        raise EngineError(
            f"{found.host} is not the private engine, and may hold what others need",
            remedy="trim it all the same: --force",
        )
    freed = engine_prune(found, keep_storage=keep_storage)
    if output == "json":
        print_json({**asdict(freed), "bytes": freed.bytes})
        return
    click.echo(
        f"freed {human_size(freed.bytes)}; removed untagged images: {freed.images}, "
        f"build cache records: {freed.cache_records}"
    )


@engine.command()
def env() -> None:
    """Print what makes `docker` use the engine: eval "$(dlc engine env)"."""
    from builder.engine.connection import find

    found = find()
    if found is None:
        raise EngineError("no Docker Engine is running", remedy="start one: dlc engine up")
    click.echo(f"export DOCKER_HOST={shlex.quote(found.host)}")


@engine.command()
def up() -> None:
    """Find an engine, or install and start one of our own."""
    from builder.engine.private import up as engine_up

    found = engine_up(say=say)
    click.echo(f"{found.host} (Docker Engine {found.version}, buildx {found.buildx_version})")


@engine.command()
def down() -> None:
    """Stop the engine that we started; images stay."""
    from builder.engine.private import stop

    say("stopped" if stop(say=say) else "no private engine is running")

"""The commands of `dlc` that need a Docker Engine: engine, build, serve, smoke."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli import Settings, cli, output_option, pass_settings, selection_options
from builder.cli_bake import builder_options
from builder.errors import BuildError, ContainerError, EngineError
from builder.output import human_size, print_failures, print_json, print_table, say, watching

if TYPE_CHECKING:
    import docker

    from builder.bakefile import Cache
    from builder.matrix import Base
    from builder.target import Target

__all__ = ["engine_client", "find_image"]

_MODEL = click.option(
    "--model",
    type=click.Path(exists=True, path_type=Path),
    metavar="DIR",
    help="A model's folder or model.tar.gz [default: a tiny one with random weights].",
)


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


@cli.command()
@selection_options
@click.option("--dry-run", is_flag=True, help="Only say what would be built, from what and how.")
@click.option("--again", is_flag=True, help="Build what is up to date, too.")
@click.option("--strict", is_flag=True, help="Fail where a base's end of life is over.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, help="Targets at a time."
)
@builder_options
@output_option
def build(
    settings: Settings,
    targets: tuple[Target, ...],
    dry_run: bool,
    again: bool,
    strict: bool,
    jobs: int,
    builder_name: str,
    cache: Cache,
    output: str,
) -> None:
    """Render, bake and tag images."""
    from builder.cli_bases import warn_of_expired

    if strict or not dry_run:
        warn_of_expired(targets, strict=strict)
    if dry_run:
        _dry_run(settings, targets, output)
        return
    from builder.build import build as build_targets
    from builder.render import Renderer

    with watching() as watcher:
        outcomes = build_targets(
            targets,
            images=settings.images,
            renderer=Renderer(settings.templates),
            at_once=jobs,
            watcher=watcher,
            say=say,
            mirrors=settings.mirrors,
            again=again,
            builder=builder_name,
            cache=cache,
        )
    built = [outcome for outcome in outcomes if not outcome.error]
    rows = [
        {
            "image": each.target.name,
            "id": each.image_id,
            "size": each.size,
            "seconds": None if each.up_to_date else round(each.seconds, 1),
        }
        for each in built
    ]
    if output == "json":
        print_json(rows)
    elif rows:
        short = [
            {
                "image": each.target.name,
                "id": each.image_id[7:19],
                "size": human_size(each.size),
                "seconds": "up to date" if each.up_to_date else round(each.seconds, 1),
            }
            for each in built
        ]
        print_table(short, ("image", "id", "size", "seconds"))
    if len(built) < len(outcomes):
        print_failures(outcomes)
        raise BuildError(f"{len(outcomes) - len(built)} of {len(outcomes)} targets did not build")


def _dry_run(settings: Settings, targets: tuple[Target, ...], output: str) -> None:
    from builder import locks
    from builder.bake import ca_bundle
    from builder.bakefile import Job, definition
    from builder.bases import BaseSource
    from builder.cli_mirrors import script_command
    from builder.mirrors import Mirrors

    def reference(base: Base) -> str:
        return BaseSource(name=base.name, image=base.image, bootstrap=base.bootstrap).reference

    if output == "json":
        jobs = [
            Job(
                target=target,
                context=(settings.images / target.folder).absolute(),
                arguments={
                    "BASE": reference(target.base),
                    "TOOLS_BASE": reference(target.tools_base),
                },
                labels={},
            )
            for target in targets
        ]
        bundle = ca_bundle()
        secrets = {"ca-bundle": bundle} if bundle else {}
        if settings.mirrors != Mirrors():
            secrets["site"] = Path("dlc-site").absolute()
            write = script_command(settings, secrets["site"])
            say(f"the secret `site` is not written; where it is to be: {write}")
        print_json(definition(jobs, secrets, printed=True))
        return
    rows = [
        {
            "image": target.name,
            "base": target.base.image.split("@", maxsplit=1)[0],
            "locks": locks.state(settings.images / target.folder, target).text,
        }
        for target in targets
    ]
    print_table(rows, ("image", "base", "locks"))


@cli.command()
@click.argument("selector", metavar="TARGET")
@_MODEL
@click.option(
    "--port", type=click.IntRange(1, 65535), help="On this machine [default: a free one]."
)
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="For the container.")
@pass_settings
def serve(
    settings: Settings,
    selector: str,
    model: Path | None,
    port: int | None,
    variables: tuple[str, ...],
) -> None:
    """Run an inference image as SageMaker would, until Ctrl-C."""
    from builder import containers

    target = _server(settings, selector)
    environment = dict(_variable(text) for text in variables)
    with (
        engine_client() as client,
        containers.run(
            client, find_image(client, target), model=model, environment=environment, port=port
        ) as server,
    ):
        seconds = server.wait_ready(timeout=600)
        say(f"ready after {seconds:.1f} s; Ctrl-C stops it. Ask it:")
        body = json.dumps({"inputs": "I like you. I love you."})
        click.echo(f"curl -H 'Content-Type: application/json' -d '{body}' {server.url}/invocations")
        with contextlib.suppress(KeyboardInterrupt):
            server.container.wait()
            raise ContainerError("the container ended:\n" + server.logs(20))


@cli.command()
@click.argument("selector", metavar="TARGET")
@_MODEL
@pass_settings
def smoke(settings: Settings, selector: str, model: Path | None) -> None:
    """Start an inference image, ask it once, print the answer and the seconds it took."""
    from builder import containers

    target = _server(settings, selector)
    with engine_client() as client:
        found = containers.smoke(client, find_image(client, target), model=model, say=say)
    click.echo(json.dumps(found.answer))


@contextlib.contextmanager
def engine_client() -> Iterator[docker.DockerClient]:
    """A client of the engine that runs; what the engine refuses is an EngineError."""
    import docker.errors
    import requests

    from builder.engine import find

    found = find()
    if found is None:
        raise EngineError("no engine runs, so there is no image", remedy="build it: dlc build")
    with contextlib.closing(found.client()) as client:
        try:
            yield client
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise EngineError(
                f"the engine says: {error}", remedy="see `dlc engine status`"
            ) from error


def find_image(client: docker.DockerClient, target: Target, image: str | None = None) -> str:
    """The name of a target's image, or another's; ContainerError if the engine has it not."""
    import docker.errors

    remedy = f"pull {image}" if image else f"run `dlc build {target.name}`"
    image = image or target.name
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound as error:
        raise ContainerError(f"there is no image {image}", remedy=remedy) from error
    return image


def _server(settings: Settings, selector: str) -> Target:
    """The inference target that a selector names; ContainerError if it is a training image."""
    from builder.selection import select_one

    target = select_one(settings.targets, selector)
    if target.mode != "inference":
        raise ContainerError(
            f"{target.name} is a training image, which serves nothing",
            remedy="name the inference image of the same release",
        )
    return target


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
    return name, value

"""The commands `dlc serve` and `dlc smoke`: an inference image as SageMaker would run it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.progress import working
from builder.cli.selection import target_options
from builder.cli.settings import Settings
from builder.errors import ContainerError
from builder.util.console import say
from builder.util.text import short_name

if TYPE_CHECKING:
    from builder.matrix.target import Target

_MODEL = click.option(
    "--model",
    type=click.Path(exists=True, path_type=Path),
    metavar="DIR",
    help="A model's folder or model.tar.gz [default: a tiny one with random weights].",
)


@cli.command()
@target_options
@_MODEL
@click.option(
    "--port", type=click.IntRange(1, 65535), help="On this machine [default: a free one]."
)
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="For the container.")
def serve(
    _: Settings,
    target: Target,
    model: Path | None,
    port: int | None,
    variables: tuple[str, ...],
) -> None:
    """Run an inference image as SageMaker would, until Ctrl-C."""
    from builder.engine.connection import engine_client
    from builder.engine.images import find_image
    from builder.serve import run as serving

    _refuse_training(target)
    environment = dict(_variable(text) for text in variables)
    with (
        engine_client() as client,
        serving.run(
            client, find_image(client, target), model=model, environment=environment, port=port
        ) as server,
    ):
        with working(f"starting {short_name(target.name)}"):
            seconds = server.wait_ready(timeout=600)
        say(f"ready after {seconds:.1f} s; Ctrl-C stops it. Ask it:")
        body = json.dumps({"inputs": "I like you. I love you."})
        click.echo(f"curl -H 'Content-Type: application/json' -d '{body}' {server.url}/invocations")
        with suppress(KeyboardInterrupt):
            server.container.wait()
            raise ContainerError("the container ended:\n" + server.logs(20))


@cli.command()
@target_options
@_MODEL
def smoke(_: Settings, target: Target, model: Path | None) -> None:
    """Start an inference image, ask it once, print the answer and the seconds it took."""
    from builder.engine.connection import engine_client
    from builder.engine.images import find_image
    from builder.serve import run as serving

    _refuse_training(target)
    with engine_client() as client, working(f"running {short_name(target.name)}"):
        found = serving.smoke(client, find_image(client, target), model=model, say=say)
    click.echo(json.dumps(found.answer))


def _refuse_training(target: Target) -> None:
    """ContainerError if a target is a training image."""
    if target.mode != "inference":
        raise ContainerError(
            f"{target.name} is a training image, which serves nothing",
            remedy="name the inference image of the same release",
        )


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
    return name, value

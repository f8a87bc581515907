"""The commands of `dlc` for a site's mirrors: what builds by hand need of them."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli.main import cli
from builder.cli.settings import Settings, pass_settings
from builder.util.console import say


@cli.group()
def mirrors() -> None:
    """What a site's own addresses are to builds."""


@mirrors.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@pass_settings
def script(settings: Settings, file: Path) -> None:
    """Write the mirrors to FILE, as the secret `site` of a build by hand.

    It has the credentials that the mirrors name, so only its owner can read it.
    """
    from builder.engine.build_secrets import site_script, write_secret

    text = site_script(settings.mirrors)
    if not text:
        raise click.UsageError("there are no mirrors, so builds need no script; see --mirrors")
    write_secret(file, text)
    say(f"wrote {file}; it may have credentials")

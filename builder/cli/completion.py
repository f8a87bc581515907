"""The commands `dlc completion` and `dlc help`, and what selectors complete to."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from builder.cli.main import cli


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print shell completion for bash, zsh or fish.

    In ~/.bashrc: eval "$(dlc completion bash)"; in ~/.zshrc: eval "$(dlc completion zsh)"; in
    ~/.config/fish/config.fish: dlc completion fish | source. It completes commands, options,
    targets and the values of filters.
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - the choices are click's own
    click.echo(found(cli, {}, "dlc", "_DLC_COMPLETE").source())


@cli.command("help")
@click.argument("command", nargs=-1)
@click.pass_context
def help_(context: click.Context, command: tuple[str, ...]) -> None:
    """Show the help of a command, such as `dlc help engine prune`."""
    assert context.parent is not None  # noqa: S101 - it is below `dlc`
    shown: click.Context = context.parent
    for name in command:
        group = shown.command
        found = group.get_command(shown, name) if isinstance(group, click.Group) else None
        if found is None:
            raise click.UsageError(f"No such command {name!r}.", shown)
        shown = click.Context(found, parent=shown, info_name=name)
    click.echo(shown.get_help())

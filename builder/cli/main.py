"""The command `dlc`: parses, calls, prints; nothing else."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from builder import PACKAGE, __version__
from builder.cli.commands import GROUPS, MODULES
from builder.errors import DlcError, Interrupted, MatrixError
from builder.util.console import say
from builder.util.text import did_you_mean

if TYPE_CHECKING:
    from builder.matrix.mirrors import Mirrors
    from builder.matrix.target import Target

__all__ = ["Settings", "cli", "filled", "main", "pass_settings", "run_command"]

DEFAULT_REGION = "us-east-1"


@dataclass(kw_only=True)
class Settings:
    """The global options, and what follows from them."""

    matrix: Path | None
    images_folder: Path | None
    templates_folder: Path | None
    mirrors_file: Path | None = None

    @cached_property
    def matrix_path(self) -> Path:
        """--matrix, else matrix.yaml here, else the one that came with this program."""
        if self.matrix is not None:
            return self.matrix
        here = Path("matrix.yaml")
        ours = (PACKAGE / "matrix.yaml", PACKAGE.parent / "matrix.yaml")
        return next((path for path in (here, *ours) if path.is_file()), here)

    @property
    def images(self) -> Path:
        """--images, else images/ beside the matrix; for the matrix that came along, here."""
        if self.images_folder is not None:
            return self.images_folder
        packed = self.matrix is None and self.matrix_path.parent == PACKAGE
        return Path("images") if packed else self.matrix_path.parent / "images"

    @property
    def templates(self) -> Path | None:
        """--templates, else templates/ beside the matrix; None without either."""
        beside = self.matrix_path.parent / "templates"
        return self.templates_folder or (beside if beside.is_dir() else None)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """All targets of the matrix; MatrixError with all its mistakes."""
        from builder.matrix.targets import load_targets

        return load_targets(self.matrix_path)

    @cached_property
    def mirrors(self) -> Mirrors:
        """--mirrors, else DLC_MIRRORS, else mirrors.yaml beside the matrix; else none."""
        from builder.matrix.mirrors import PACKAGE_SOURCES, Mirrors, find, read

        path = self.mirrors_file or find(self.matrix_path.parent)
        if path is None:
            return Mirrors()
        target = self.targets[0]
        bases = {each.base.name for each in self.targets} | {target.tools_base.name}
        return read(path, bases=sorted(bases), sources=[*target.sources, *PACKAGE_SOURCES])


pass_settings = click.make_pass_decorator(Settings)

_PATH = click.Path(path_type=Path)


def filled(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
    """A callback for texts that must say something: an empty one is a variable never set."""
    if any(not text.strip() for text in ([value] if isinstance(value, str) else value or ())):
        raise click.BadParameter("it is empty; leave the option out if there is nothing to name")
    return value


class _Command(click.Command):
    """A command that refuses an option given twice, of which the last would quietly be taken."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in given:
            if isinstance(parameter, click.Option) and not (
                parameter.multiple
                or parameter.count
                or given.count(parameter) == 1
                # Said twice, a plain flag is what it was.
                or (parameter.is_flag and not parameter.secondary_opts)
            ):
                raise click.UsageError(f"{parameter.opts[0]} is given twice: give it once.", ctx)
        return super().parse_args(ctx, args)


class _Group(_Command, click.Group):
    """All commands below it are like it."""

    command_class = _Command
    group_class = type


class _Root(_Group):
    """`dlc` itself: commands in groups; the module of one is imported when it is asked for."""

    group_class = _Group  # type: ignore[assignment]

    def list_commands(self, _: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in MODULES:
            import_module(f"builder.cli.{MODULES[cmd_name]}")
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = did_you_mean(args[0], MODULES)
            if not hint.startswith("did you mean"):
                raise
            raise click.UsageError(f"{error.message} D{hint[1:]}", ctx) from error

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, MODULES))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                rows = ((name.ljust(width), line) for name, (_, line) in commands.items())
                formatter.write_dl(list(rows))


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dlc")
@click.option("--matrix", type=_PATH, metavar="FILE", help="The matrix [default: matrix.yaml].")
@click.option(
    "--images", type=_PATH, metavar="DIR", help="Rendered files and locks [default: beside it]."
)
@click.option(
    "--templates",
    type=_PATH,
    metavar="DIR",
    help="Templates of your own [default: templates/ beside it].",
)
@click.option(
    "--mirrors", type=_PATH, metavar="FILE", help="A site's own addresses [default: mirrors.yaml]."
)
@click.pass_context
def cli(
    context: click.Context,
    matrix: Path | None,
    images: Path | None,
    templates: Path | None,
    mirrors: Path | None,
) -> None:
    """Build, prove, tag and push Hugging Face Deep Learning Containers."""
    context.obj = Settings(
        matrix=matrix, images_folder=images, templates_folder=templates, mirrors_file=mirrors
    )


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--format table|json."""
    return click.option(
        "--format",
        "output",
        type=click.Choice(["table", "json"]),
        default="table",
        help="For people or for programs.",
    )(function)


def main() -> NoReturn:
    """Run `dlc`."""
    run_command(cli, "dlc", usage="dlc")


def run_command(command: click.Command, name: str, *, usage: str | None = None) -> NoReturn:
    """Run a command and end; every foreseen error is one message and its own exit code.

    Messages begin with `name`; help has the user type `usage`, by default how it was started.
    """
    # As Ctrl-C: what was started is stopped, containers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = command.main(prog_name=usage, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say(f"{name}: interrupted")
        code = Interrupted.exit_code
    except MatrixError as error:
        say(str(error))
        code = error.exit_code
    except DlcError as error:
        say(f"{name}: {error}")
        code = error.exit_code
    except OSError as error:
        # The engine's and registries' own errors are OSErrors too, without a file or a number.
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        say(f"{name}: {what}")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)

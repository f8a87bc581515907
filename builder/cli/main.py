"""The command `dlc`: parses, calls, prints; nothing else."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn, TextIO

import click

from builder import __version__
from builder.cli.commands import GROUPS, MODULES
from builder.cli.global_options import GLOBAL_OPTIONS, GlobalOption
from builder.errors import DlcError, Interrupted, MatrixError
from builder.util.console import say
from builder.util.text import did_you_mean

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["cli", "main", "run_command"]


_SELECTOR = (
    "SELECTOR is a repository:tag, a tag, a glob over either, like '*inference*cpu*', or an image "
    "URI of Amazon ECR. `dlc list` shows all targets."
)


class _Command(click.Command):
    """A command that takes the global options too.

    It refuses an option given twice, of which the last would quietly be taken.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *(GLOBAL_OPTIONS if ctx.parent else ())]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {"Options": [], "Global options": []}
        for parameter in self.get_params(ctx):
            if not isinstance(parameter, click.Option):
                continue
            if record := parameter.get_help_record(ctx):
                shared = ctx.parent and isinstance(parameter, GlobalOption)
                rows["Global options" if shared else "Options"].append(record)
        for title, records in rows.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if any(parameter.name == "selectors" for parameter in self.params):
            self.epilog = _SELECTOR
        super().format_epilog(ctx, formatter)

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

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


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


@click.group(
    cls=_Root,
    params=[*GLOBAL_OPTIONS],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="dlc")
def cli() -> None:
    """Build, prove, tag and push Hugging Face Deep Learning Containers."""


def main() -> NoReturn:
    """Run `dlc`."""
    run_command(cli, "dlc", usage="dlc")


def run_command(command: click.Command, name: str, *, usage: str | None = None) -> NoReturn:
    """Run a command and end; every foreseen error is one message and its own exit code.

    Messages begin with `name`; help has the user type `usage`, by default how it was started.
    """
    _open_streams()
    # A command makes much and drops little: to collect as often as Python does takes time only.
    gc.set_threshold(100_000)
    # As Ctrl-C: what was started is stopped, containers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A terminal that is closed, or a connection that ends; `nohup` has it ignored.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hang_up)
    try:
        code = _code(command, name, usage)
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError) and error.errno != errno.EIO:
            raise
        # The reader has gone, as that of `dlc list | head` does, or a terminal: end without a word.
        _write_nowhere(sys.stdout, sys.stderr)
        code = 1
    # At its end Python would look for garbage among all that there is, once more.
    gc.freeze()
    sys.exit(code)


def _hang_up(number: int, frame: FrameType | None) -> NoReturn:
    """End as Ctrl-C does; what is still told must not fail where nobody reads it."""
    _write_nowhere(sys.stderr, *([sys.stdout] if _is_terminal(sys.stdout) else ()))
    signal.default_int_handler(number, frame)


def _is_terminal(stream: TextIO) -> bool:
    """Whether it is, or was: one that has hung up says EIO in the place of an answer."""
    try:
        os.get_terminal_size(stream.fileno())
    except OSError as error:
        return error.errno == errno.EIO
    return True


def _write_nowhere(*streams: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _code(command: click.Command, name: str, usage: str | None) -> int:
    """The exit code of a command that has run."""
    try:
        code = command.main(prog_name=usage, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say(f"{name}: interrupted")
        return Interrupted.exit_code
    except MatrixError as error:
        say(str(error))
        return error.exit_code
    except DlcError as error:
        say(f"{name}: {error}")
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        # The engine's and registries' own errors are OSErrors too, without a file or a number.
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        say(f"{name}: {what or error}")
        return 1
    return code if isinstance(code, int) else 0


def _open_streams() -> None:
    """Open /dev/null for each stream that is closed, or the next file would take its number."""
    for stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, stream) is None:
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115
            os.set_inheritable(nowhere.fileno(), True)
            setattr(sys, stream, nowhere)

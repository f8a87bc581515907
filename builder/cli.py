"""The command `dlc`: parses, calls, prints; nothing else. Images are in builder.cli_images."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder import __version__
from builder.errors import DlcError, DriftError, Interrupted, MatrixError
from builder.output import print_json, print_table, say

if TYPE_CHECKING:
    from builder.mirrors import Mirrors
    from builder.target import Target

__all__ = ["Settings", "cli", "main", "pass_settings"]

# As in builder.selection.Filters, which `dlc --help` need not load.
FILTERS = ("mode", "framework", "device", "python", "transformers")
DEFAULT_REGION = "us-east-1"
# Modules whose commands register themselves when they are imported.
COMMANDS = (
    *("cli_add", "cli_bake", "cli_bases", "cli_ci", "cli_contract", "cli_ecr", "cli_images"),
    *("cli_init", "cli_layers", "cli_libraries", "cli_locks", "cli_mirrors", "cli_plan"),
    *("cli_push", "cli_sdk_config", "cli_size", "cli_table"),
)
LISTED = ("repository", "tag", "datasets", "date", "origin")


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
        package = Path(__file__).parent
        ours = (package / "matrix.yaml", package.parent / "matrix.yaml")
        return next((path for path in (here, *ours) if path.is_file()), here)

    @property
    def images(self) -> Path:
        """--images, else images/ beside the matrix; for the matrix that came along, here."""
        if self.images_folder is not None:
            return self.images_folder
        packed = self.matrix is None and self.matrix_path.parent == Path(__file__).parent
        return Path("images") if packed else self.matrix_path.parent / "images"

    @property
    def templates(self) -> Path | None:
        """--templates, else templates/ beside the matrix; None without either."""
        beside = self.matrix_path.parent / "templates"
        return self.templates_folder or (beside if beside.is_dir() else None)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """All targets of the matrix; MatrixError with all its mistakes."""
        from builder.targets import load_targets

        return load_targets(self.matrix_path)

    @cached_property
    def mirrors(self) -> Mirrors:
        """--mirrors, else DLC_MIRRORS, else mirrors.yaml beside the matrix; else none."""
        from builder.mirrors import PACKAGE_SOURCES, Mirrors, find, read

        path = self.mirrors_file or find(self.matrix_path.parent)
        if path is None:
            return Mirrors()
        target = self.targets[0]
        bases = {each.base.name for each in self.targets} | {target.tools_base.name}
        return read(path, bases=sorted(bases), sources=[*target.sources, *PACKAGE_SOURCES])


pass_settings = click.make_pass_decorator(Settings)

_PATH = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dlc")
@click.option("--matrix", type=_PATH, metavar="FILE", help="The matrix [default: matrix.yaml].")
@click.option(
    "--images", type=_PATH, metavar="DIR", help="Rendered files and locks [default: beside it]."
)
@click.option(
    "--templates",
    type=_PATH,
    metavar="DIR",
    help="Templates that go before ours [default: templates/ beside it].",
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


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """SELECTOR... and the filters; the command gets the targets they leave as `targets`."""

    def chosen(settings: Settings, /, selectors: tuple[str, ...], **options: Any) -> Any:
        from builder.selection import Filters, select

        values = {name: options.pop(name) for name in FILTERS}
        return function(settings, select(settings.targets, selectors, Filters(**values)), **options)

    chosen.__name__, chosen.__doc__ = function.__name__, function.__doc__
    chosen.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for name in reversed(FILTERS):
        chosen = click.option(f"--{name}", help=f"Only targets with this {name}.")(chosen)
    return click.argument("selectors", nargs=-1, metavar="[SELECTOR]...")(pass_settings(chosen))


def uri_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--account and --region."""
    region = click.option("--region", default=DEFAULT_REGION, show_default=True)
    account = click.option("--account", help="[default: the official one of the region]")
    return account(region(function))


def image_uri(target: Target, account: str | None, region: str) -> str:
    """Where a target's image is, or would be, in ECR."""
    from builder.uris import registry_host

    return f"{registry_host(region, account)}/{target.name}"


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
    """List targets.

    SELECTOR is a repository:tag, a tag, or a glob over either; all targets without one.
    """
    rows = [{**t.row(), "image_uri": image_uri(t, account, region)} for t in targets]
    if output == "json":
        print_json(rows)
    else:
        asked = account is not None or region != DEFAULT_REGION
        print_table(rows, ("image_uri",) if asked else LISTED)


@cli.command()
@click.argument("selector", metavar="TARGET")
@uri_options
@output_option
@pass_settings
def show(settings: Settings, selector: str, account: str | None, region: str, output: str) -> None:
    """Show all that is known of a target."""
    from builder import locks
    from builder.components import described
    from builder.selection import select_one
    from builder.tag import aliases

    target = select_one(settings.targets, selector)
    folder = settings.images / target.folder
    values: dict[str, Any] = {
        **target.row(),
        "image_uri": image_uri(target, account, region),
        "aliases": list(aliases(target.parts)),
        "folder": str(folder),
        "end_of_life": target.base.end_of_life.isoformat(),
        "build": target.build.carries,
        "locked": target.locked.isoformat(),
        "framework_requirements": [
            *target.framework_requirements,
            *(wheel.filename for wheel in target.build.wheels),
        ],
        "constraints": list(target.constraints),
        "libraries": target.libraries,
        "library_requirements": list(target.library_requirements),
        "compilers": list(target.compilers),
        "system_packages": list(target.system_packages),
        "accelerator_packages": list(target.accelerator_packages),
        "driver_cuda": target.driver_cuda or None,
        "components": [described(each) for each in target.components],
        "uv": target.uv,
        "build_requirements": list(target.build_requirements),
        "lock": locks.state(folder, target).text,
        "labels": target.labels(),
    }
    said = {
        key: str(target.said[key])
        for key, value in values.items()
        if key in target.said and value is not None
    }
    if output == "json":
        print_json({"name": target.name, "values": values, "said": said})
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
                    "said": said.get(key, "") if first else "",
                }
            )
    print_table(rows, ("what", "said", "value"))


@cli.command()
@click.argument("selector", metavar="TARGET")
@uri_options
@pass_settings
def uri(settings: Settings, selector: str, account: str | None, region: str) -> None:
    """Print a target's image URI."""
    from builder.selection import select_one

    click.echo(image_uri(select_one(settings.targets, selector), account, region))


@cli.command()
@selection_options
@click.option("--check", is_flag=True, help="Write nothing; show a diff and fail if there is one.")
def render(settings: Settings, targets: tuple[Target, ...], check: bool) -> None:
    """Write Dockerfiles and what they copy.

    Those of targets that the matrix no longer has are removed.
    """
    from builder.render import Renderer, apply, changes

    everything = len(targets) == len(settings.targets)
    renderer = Renderer(settings.templates)
    found = list(changes(settings.images, targets, renderer, prune=everything))
    if check:
        for change in found:
            click.echo(change.diff(), nl=False)
        if found:
            raise DriftError(
                f"{len(found)} files below {settings.images} are not as rendered",
                remedy="run `dlc render` and commit the result",
            )
        return
    apply(found)
    for change in found:
        say(f"{'removed' if change.after is None else 'wrote'} {change.path}")
    say(f"{len(targets)} targets rendered, {len(found)} files changed")


@cli.command()
def schema() -> None:
    """Print the matrix's JSON schema, for editors."""
    from builder.matrix_shape import schema_text

    click.echo(schema_text(), nl=False)


def main() -> None:
    """Run `dlc`; every foreseen error is one message and its own exit code."""
    for module in COMMANDS:
        import_module(f"builder.{module}")
    # As Ctrl-C: what was started is stopped, containers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = cli.main(prog_name="dlc", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("dlc: interrupted")
        code = Interrupted.exit_code
    except MatrixError as error:
        say(str(error))
        code = error.exit_code
    except DlcError as error:
        say(f"dlc: {error}")
        code = error.exit_code
    except OSError as error:
        # The engine's and registries' own errors are OSErrors too, without a file or a number.
        say(f"dlc: {error.filename}: {error.strerror}" if error.filename else f"dlc: {error}")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)

"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from builder.cli.settings import Settings

__all__ = [
    "DEFAULT_REGION",
    "advisories_option",
    "builder_options",
    "comparison_options",
    "document_option",
    "filled",
    "output_option",
    "releases_folder",
    "releases_option",
    "severity_option",
    "sign_options",
    "uri_options",
    "whose_options",
]

DEFAULT_REGION = "us-east-1"


def filled(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
    """A callback that refuses an empty text: it comes from a variable that was never set."""
    if any(not text.strip() for text in ([value] if isinstance(value, str) else value or ())):
        raise click.BadParameter("it is empty; leave the option out if there is nothing to name")
    return value


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--format table|json, as `output`."""
    return click.option(
        "--format",
        "output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="Output format.",
    )(function)


def uri_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--account and --region."""
    region = click.option(
        "--region", default=DEFAULT_REGION, show_default=True, help="AWS region of the registry."
    )
    account = click.option(
        "--account",
        metavar="ACCOUNT",
        help="AWS account of the registry [default: the official one of the region].",
    )
    return account(region(function))


def comparison_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--since and --registry."""
    since = click.option(
        "--since",
        callback=filled,
        metavar="GIT_REF",
        help="Compare with that commit instead of the engine's images.",
    )
    registry = click.option(
        "--registry",
        callback=filled,
        metavar="HOST[:PORT]/PREFIX",
        help="Compare with the images there instead of the engine's.",
    )
    return since(registry(function))


# For what is put into release notes and pull requests as well.
document_option = click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    help="Output format.",
)

advisories_option = click.option(
    "--advisories",
    "sources",
    multiple=True,
    callback=filled,
    default=("https://api.osv.dev",),
    show_default=True,
    metavar="FILE|DIR|URL",
    help="Advisories of OSV's format or of safety-db, or a service with OSV's API; repeatable.",
)

severity_option = click.option(
    "--severity",
    type=click.Choice(["low", "medium", "high", "critical"]),
    default="low",
    show_default=True,
    help="Advisories count from this severity on; those that nobody has rated always do.",
)


def sign_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--sign and --transparency-log, as `sign` and `log`."""
    sign = click.option(
        "--sign",
        callback=filled,
        metavar="KEY",
        help="Sign what is pushed, with cosign: a private key's file, a KMS's reference, or "
        "`keyless`.",
    )
    return sign(log_option(function))


def whose_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--key, --identity, --issuer and --transparency-log: whose signature is wanted."""
    decorated = log_option(function)
    for option in (
        click.option(
            "--issuer",
            default="",
            metavar="URL",
            help="Who vouches for the identity, like https://token.actions.githubusercontent.com.",
        ),
        click.option(
            "--identity",
            default="",
            metavar="URI",
            help="Who signed keyless: a workflow's URI, or a mail address.",
        ),
        click.option(
            "--key", default="", metavar="KEY", help="A public key's file, or a KMS's reference."
        ),
    ):
        decorated = option(decorated)
    return decorated


log_option = click.option(
    "--transparency-log",
    "log",
    is_flag=True,
    help="Use Sigstore's public log, as keyless signatures always do.",
)

releases_option = click.option(
    "--releases",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the release records [default: releases/ next to the images].",
)


def releases_folder(settings: Settings, given: Path | None) -> Path:
    """The folder of the release records."""
    return given or settings.images.parent / "releases"


def builder_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--builder, --cache-from and --cache-to, as `builder_name` and `cache`."""

    @wraps(function)
    def chosen(
        *arguments: Any,
        builder_name: str | None,
        cache_from: tuple[str, ...],
        cache_to: tuple[str, ...],
        **options: Any,
    ) -> Any:
        from builder.build.bakefile import Cache

        for text in (*cache_from, *cache_to):
            if "=" not in text and ("@" in text or ":" in text.rsplit("/", 1)[-1]):
                raise click.BadParameter(
                    f"{text!r} is not HOST[:PORT]/REPOSITORY: each framework layer gets a tag of "
                    "its own there; or write type=... as for buildx",
                    param_hint="--cache-from or --cache-to",
                )
        cache = Cache(sources=cache_from, destinations=cache_to)
        return function(*arguments, builder_name=builder_name or "", cache=cache, **options)

    repository = "HOST[:PORT]/REPOSITORY"
    decorated: Callable[..., Any] = chosen
    for option in (
        click.option(
            "--cache-to",
            callback=filled,
            multiple=True,
            metavar=repository,
            help="Export the build cache there; also type=... as for buildx.",
        ),
        click.option(
            "--cache-from",
            callback=filled,
            multiple=True,
            metavar=repository,
            help="Import build cache from there; also type=... as for buildx.",
        ),
        click.option(
            "--builder",
            "builder_name",
            callback=filled,
            metavar="NAME",
            help="A buildx builder [default: the engine's own].",
        ),
    ):
        decorated = option(decorated)
    return decorated

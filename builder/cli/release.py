"""The command `dlc release`: what registries lack, built, tested and pushed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.main import cli
from builder.cli.options import (
    filled,
    output_option,
    releases_folder,
    releases_option,
    severity_option,
    sign_options,
)
from builder.cli.output import print_failures, print_json, print_table
from builder.cli.progress import watching, watching_pushes
from builder.cli.selection import all_option, check_all, selection_options
from builder.cli.settings import Settings
from builder.errors import ContainerError
from builder.util.clock import today
from builder.util.console import say

if TYPE_CHECKING:
    from builder.matrix.target import Target
    from builder.release.pipeline import Result

__all__: list[str] = []

# Raises a DlcError for an image, by its name on the engine, that must not be pushed.
Check = Callable[["Target", str], None]


@cli.command()
@selection_options
@all_option
@click.option(
    "--registry",
    "registries",
    required=True,
    multiple=True,
    callback=filled,
    metavar="HOST[:PORT][/PREFIX]",
    help="Where images go; may be repeated.",
)
@click.option(
    "--profile",
    type=click.Choice(["sagemaker", "oci"]),
    default="sagemaker",
    show_default=True,
    help="Docker's media types and gzip, or OCI's with zstd, SBOM and provenance.",
)
@click.option(
    "--test",
    "check",
    type=click.Choice(["smoke", "contract"]),
    help="Push only what passes `dlc smoke` (inference images), or `dlc test`.",
)
@click.option(
    "--advisories",
    "advisories",
    multiple=True,
    callback=filled,
    metavar="FILE|DIR|URL",
    help="Push nothing with a vulnerability that the matrix does not accept; as for `dlc audit`.",
)
@severity_option
@sign_options
@click.option(
    "--remove-images", is_flag=True, help="Remove each image from the engine before the next."
)
@releases_option
@output_option
def release(
    settings: Settings,
    targets: tuple[Target, ...],
    every: bool,
    registries: tuple[str, ...],
    profile: str,
    check: str | None,
    advisories: tuple[str, ...],
    severity: str,
    sign: str | None,
    log: bool,
    remove_images: bool,
    releases: Path | None,
    output: str,
) -> None:
    """Build, test and push what registries lack, one image after the other.

    One that fails stops no other. Run again, it goes on: what is pushed is not built again.
    """
    from builder.audit.gate import Gate
    from builder.build.comparison import Comparison
    from builder.dockerfile.render import Renderer
    from builder.registry.reference import parse_registry
    from builder.release import pipeline
    from builder.release.attestations import sealer
    from builder.release.platforms import in_order
    from builder.release.pusher import Sources
    from builder.release.record import check_writable, file_of, read
    from builder.release.signing import signer_of
    from builder.release.steps import Here, smoke_test

    places = tuple(dict.fromkeys(str(parse_registry(each)) for each in registries))
    check_all("release", targets, every=every)
    targets = tuple(in_order(targets))
    signer = signer_of(sign, log=log)
    day = today().isoformat()
    folder = releases_folder(settings, releases)
    # Before anything is pushed that could not be recorded.
    read(file_of(folder, day))
    check_writable(folder)
    comparison = partial(
        Comparison,
        matrix=settings.matrix_path,
        images=settings.images,
        templates=settings.templates,
    )
    planned = {place: comparison(registry=place).plan(targets) for place in places}
    checks: list[Check] = []
    passed: dict[str, Mapping[str, Any]] = {}
    if advisories:
        # The quickest one first.
        checks.append(Gate(sources=advisories, threshold=severity, images=settings.images))
    if check:
        contract = partial(_contract, passed=passed)
        checks.append(contract if check == "contract" else partial(smoke_test, say=say))
    sources = Sources(
        targets=settings.targets,
        images=settings.images,
        renderer=Renderer(settings.templates),
    )
    steps = Here(
        sources=sources,
        mirrors=settings.mirrors,
        profile=profile,
        records=folder,
        day=day,
        remove_images=remove_images,
        check=_all(checks),
        seal=sealer(signer, sources.commit, passed) if signer else None,
        watch_builds=watching,
        watch_pushes=watching_pushes,
        failed=print_failures,
        say=say,
    )
    results: list[Result] = []
    try:
        for result in pipeline.release(pipeline.wanted(targets, planned), steps):
            results.append(result)
            say(": ".join(filter(None, (result.target.name, result.state, result.why))))
    finally:
        # What an interruption leaves is told, too.
        _report(pipeline.with_rest(results, targets), output)
    pipeline.raise_if_failed(results)


def _all(checks: Sequence[Check]) -> Check | None:
    """One check that is all of them."""

    def check(target: Target, image: str) -> None:
        for each in checks:
            each(target, image)

    return check if checks else None


def _contract(target: Target, image: str, *, passed: dict[str, Mapping[str, Any]]) -> None:
    """Run the contract; what is signed of it, if it passes, is in `passed` by the target's name."""
    from builder.contract.run import run
    from builder.release.attestations import test_result

    results = run(image, name=target.name)
    if broken := [each.test for each in results if each.outcome == "failed"]:
        raise ContainerError(f"{image} breaks its contract: {', '.join(broken)}")
    passed[target.name] = test_result(each.test for each in results if each.outcome == "passed")


def _report(results: Sequence[Result], output: str) -> None:
    """What became of all targets; in a workflow of GitHub's, what failed as errors of its own."""
    from builder.release.pipeline import github_errors

    if output == "json":
        print_json([result.as_json() for result in results])
    else:
        rows = [
            {
                "image": each.target.name,
                "state": each.state,
                "seconds": each.seconds or None,
                "where": ", ".join(released.reference for released in each.released) or None,
            }
            for each in results
        ]
        print_table(rows, ("image", "state", "seconds", "where"))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_errors(results):
            say(line)

"""`dlc verify`: whether a build gives the same image again, or a registry's images are signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from builder.cli.main import cli
from builder.cli.options import filled, output_option, whose_options
from builder.cli.output import print_json, print_table
from builder.cli.progress import watching
from builder.cli.selection import FILTERS, selection_options
from builder.errors import DriftError
from builder.util.console import say
from builder.util.text import counted

if TYPE_CHECKING:
    from builder.build.reproduce import Rebuilt
    from builder.cli.settings import Settings
    from builder.matrix.target import Target
    from builder.release.verify import Verified

__all__: list[str] = []


@cli.command()
@selection_options
@click.option(
    "--registry",
    callback=filled,
    metavar="HOST[:PORT][/PREFIX]",
    help="Where the images are whose signatures are to be verified.",
)
@whose_options
@output_option
def verify(
    settings: Settings,
    targets: tuple[Target, ...],
    registry: str | None,
    key: str,
    identity: str,
    issuer: str,
    log: bool,
    output: str,
) -> None:
    """Verify that a target builds to the same image again, or that images are signed.

    Without --registry each target is built once more, with no step from a cache, and its layers,
    packages and settings are compared with those of the image that is there.

    With it cosign verifies the images there, by digest. Deploy what it prints: a tag may move, a
    digest cannot.
    """
    if registry:
        from builder.release.signing import verifier_of
        from builder.release.verify import require, verify_images

        verifier = verifier_of(key=key, identity=identity, issuer=issuer, log=log)
        found = verify_images(registry, targets, verifier)
        _print_signed(found, output)
        require(found)
        return
    context = click.get_current_context()
    if key or identity or issuer or log:
        raise click.UsageError("Whose signature is wanted is asked of a --registry.", context)
    if not any(context.params[name] for name in ("selectors", *FILTERS)):
        raise click.UsageError("No target is named: each would be built again.", context)
    _rebuild(settings, targets, output)


def _print_signed(found: list[Verified], output: str) -> None:
    rows = [
        {
            "image": each.reference,
            "signed": not each.problem,
            "statements": list(each.statements),
            "why": each.problem or None,
        }
        for each in found
    ]
    if output == "json":
        print_json(rows)
        return
    shown = [
        {
            "image": row["image"],
            "signed": "yes" if row["signed"] else "no",
            "statements": ", ".join(each.statements) or None,
        }
        for row, each in zip(rows, found, strict=True)
    ]
    print_table(shown, ("image", "signed", "statements"))


def _rebuild(settings: Settings, targets: tuple[Target, ...], output: str) -> None:
    from builder.build.reproduce import verify_build
    from builder.dockerfile.render import Renderer

    with watching() as watcher:
        found = [
            verify_build(
                target,
                images=settings.images,
                renderer=Renderer(settings.templates),
                mirrors=settings.mirrors,
                watcher=watcher,
                say=say,
            )
            for target in targets
        ]
    if output == "json":
        print_json([_document(each) for each in found])
    else:
        rows = [row for each in found for row in _rows(each)]
        if rows:
            print_table(rows, ("image", "what", "name", "differs"))
        for each in found:
            say(f"{each.target.name}: {_summary(each)}")
    if wrong := [each.target.name for each in found if not each.is_same]:
        raise DriftError(
            "not the same when built again: " + ", ".join(wrong),
            remedy="docs/reproducible.md tells how to find out why",
        )


def _summary(rebuilt: Rebuilt) -> str:
    if rebuilt.first == rebuilt.second:
        return f"one digest, {rebuilt.first}"
    differ = f"{len(rebuilt.layers)} of {counted(rebuilt.count, 'layer')} differ"
    date = "" if rebuilt.created else "; the engine dates images by itself"
    return f"two digests; {differ}, in {counted(len(rebuilt.files), 'file')}{date}"


def _document(rebuilt: Rebuilt) -> dict[str, Any]:
    return {
        "image": rebuilt.target.name,
        "same": rebuilt.is_same,
        "ids": [rebuilt.first, rebuilt.second],
        "created": rebuilt.created,
        "layers": {"same": rebuilt.count - len(rebuilt.layers), "all": rebuilt.count},
        "differences": [
            {key: value for key, value in row.items() if key != "image"} for row in _rows(rebuilt)
        ],
    }


def _rows(rebuilt: Rebuilt) -> list[dict[str, Any]]:
    found = [("layer", step, "digest") for step in rebuilt.layers]
    found += [("file", each.path, each.what) for each in rebuilt.files]
    found += [(each.kind, each.name, _arrow(each.before, each.after)) for each in rebuilt.packages]
    found += [(each.what, each.name, _arrow(each.before, each.after)) for each in rebuilt.settings]
    return [
        {"image": rebuilt.target.name, "what": what, "name": name, "differs": differs}
        for what, name, differs in found
    ]


def _arrow(before: str | None, after: str | None) -> str:
    return f"{before or 'none'} -> {after or 'none'}"

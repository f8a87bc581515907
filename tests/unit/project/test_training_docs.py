"""docs/training.md and docs/new_releases.md against what is locked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest

from builder.locks import freshness, lockfile
from builder.matrix.target import Target
from tests.conftest import ROOT
from tests.unit.matrix.test_matrix import is_new

TRAINING = (ROOT / "docs" / "training.md").read_text("utf-8")
NEW_RELEASES = (ROOT / "docs" / "new_releases.md").read_text("utf-8")
LACKS = re.compile(
    r"^\| (Neuronx, )?PyTorch ([\d.]+)(?: to ([\d.]+))?( and later)?(?:, (training|inference))?"
    r" \| without (.*) \|$",
    re.MULTILINE,
)
TOOLKIT = "sagemaker-training"
PARTS = ("sagemaker-pytorch-training", "sagemaker-tensorflow-training")


def pins(target: Target) -> dict[str, str]:
    """The versions of all packages that the locks of a row name; none for a direct wheel."""
    folder = ROOT / "images" / target.folder
    found = (lockfile.entries(folder, layer).values() for layer in freshness.layers(target))
    return dict(lockfile.pinned(entry) for entries in found for entry in entries)


def spans(releases: Sequence[str], order: Sequence[str]) -> str:
    """Releases in words, those that follow one another as a span: `4.4 to 4.5, 4.7`."""
    found: list[list[str]] = []
    for release in releases:
        if found and order.index(found[-1][-1]) + 1 == order.index(release):
            found[-1].append(release)
        else:
            found.append([release])
    return ", ".join(part[0] if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in found)


def toolkits(targets: Sequence[Target]) -> Iterator[str]:
    """The lines of the table of toolkits, one for each set of versions."""
    order = list(dict.fromkeys(target.transformers for target in targets))
    of_release: dict[tuple[str, str], dict[str, str]] = {}
    for target in targets:
        held = pins(target)
        parts = of_release.setdefault((target.transformers, held[TOOLKIT]), {})
        for name in PARTS:
            if name in held:
                assert parts.setdefault(name, held[name]) == held[name], target.name
    lines: dict[tuple[str, ...], list[str]] = {}
    for (release, toolkit), parts in of_release.items():
        versions = (toolkit, *(parts.get(name, "") for name in PARTS))
        lines.setdefault(versions, []).append(release)
    for versions, releases in lines.items():
        yield f"| {' | '.join((spans(releases, order), *versions))} |".replace("  ", " ")


@pytest.fixture(scope="module")
def training(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """All but new ones, which the page need not know yet."""
    return tuple(target for target in targets if target.mode == "training" and not is_new(target))


def test_the_table_of_toolkits(training: tuple[Target, ...]) -> None:
    wanted = list(toolkits(training))
    [head] = [line for line in TRAINING.splitlines() if line.startswith("| releases |")]
    written = TRAINING.split(f"{head}\n")[1].split("\n\n")[0].splitlines()[1:]
    assert written == wanted, "docs/training.md wants\n" + "\n".join(wanted)


def test_what_depends_on_the_toolkit(training: tuple[Target, ...]) -> None:
    """The releases that the list names, by the versions at which the toolkits changed."""
    order = sorted({target.transformers for target in training}, key=number)
    held = {target.transformers: pins(target) for target in training}
    shell = [
        release for release in order if (4, 0, 0) <= number(held[release][TOOLKIT]) <= (5, 1, 2)
    ]
    later = order[order.index(shell[0]) :]
    others = spans([release for release in later if release not in shell], order)
    text = " ".join(TRAINING.split())
    assert (
        f"From 4.0.0 to 5.1.2, here in all releases from {later[0]} on but {others}, the toolkit"
        in text
    )
    run = [release for release in order if number(held[release].get(PARTS[0], "0")) >= (2, 7, 0)]
    assert run == order[order.index(run[0]) :]
    assert f"is from 2.7.0 of PyTorch's part on: all releases from {run[0]} on." in text


def said_to_lack(target: Target) -> set[str]:
    """What docs/new_releases.md says that a row is without, of torchvision and torchaudio."""
    found: set[str] = set()
    for neuronx, first, last, later, mode, note in LACKS.findall(NEW_RELEASES):
        end = (999,) if later else number(last or first)
        if (
            bool(neuronx) == (target.device == "neuronx")
            and mode in ("", target.mode)
            and number(first) <= number(target.framework_version) <= end
        ):
            found |= set(re.findall(r"torch(?:vision|audio)", note))
    return found


def test_what_is_said_of_torchvision_and_torchaudio(targets: tuple[Target, ...]) -> None:
    """Every official row that lacks one of them is named, and no other."""
    rows = [
        target
        for target in targets
        if target.framework == "pytorch" and target.origin == "official"
        if target.device != "neuron"  # Inferentia's official images have neither
    ]
    wanted = {target.name: official_packages(target) - pins(target).keys() for target in rows}
    assert {target.name: said_to_lack(target) for target in rows} == wanted
    assert {"torchvision"} in wanted.values()


def official_packages(target: Target) -> set[str]:
    """What the official image has of the two, by its Dockerfile."""
    if target.device == "neuronx":
        return {"torchvision"}
    version = number(target.framework_version)
    found = {"torchaudio"} if version >= (1, 10) else set()
    return found | {"torchvision"} if target.mode == "training" or version >= (1, 13) else found


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))

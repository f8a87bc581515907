"""Checks that no single entry of a release is to blame for, each made once for the whole matrix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from builder.matrix.format import Accelerator, Entry, FrameworkVersion, Libraries, Matrix, Wheel
from builder.matrix.requirements import parse_requirement, parse_wheel_name
from builder.matrix.schema import where
from builder.matrix.yaml_nodes import Report, Text
from builder.util.text import did_you_mean

__all__ = ["check_pinned", "check_requirements", "check_sections", "fill", "known", "read_wheel"]

# What images and engines set, and what SageMaker passes to a container.
_VARIABLES = (
    r"(?:AWS|DLC|ECS|NVIDIA|OMPI|SAGEMAKER|SM|TRAINING_JOB)_|(?:PATH|LD_LIBRARY_PATH|HOME|HOSTNAME"
    r"|LANG|LC_ALL|PYTHONDONTWRITEBYTECODE|PYTHONIOENCODING|PYTHONPATH|PYTHONUNBUFFERED"
    r"|VIRTUAL_ENV|JAVA_HOME|TEMP|TF_FORCE_GPU_ALLOW_GROWTH|TF_AUTOTUNE_THRESHOLD"
    r"|MKL_THREADING_LAYER|RDMAV_FORK_SAFE)$"
)
_LABELS = r"dlc[._]|com\.amazonaws\.|org\.opencontainers\.image\.(?:base\.\w+|title|version)$"


def check_sections(matrix: Matrix, report: Report) -> None:
    """Report mistakes in all sections but the releases, however many targets they spoil."""
    if matrix.tools:
        known(matrix, "bases", matrix.tools.base, report)
        check_requirements(matrix.tools.build, {}, report)
    for accelerator in matrix.accelerators.values():
        _check_accelerator(matrix, accelerator, report)
    for version in (each for versions in matrix.frameworks.values() for each in versions.values()):
        known(matrix, "bases", version.base, report)
        _check_accelerators(matrix, version, report)
        _check_builds(matrix, version, report)
        check_requirements((*version.requires, *version.constraints), {}, report)
    _check_upgrades(matrix, report)
    for libraries in matrix.libraries.values():
        texts = (*libraries.requires, *libraries.pytorch, *libraries.tensorflow)
        check_requirements(texts, {"transformers": "1.0.0", "datasets": "1.0.0"}, report)
        _check_excludes(libraries.excludes, report)
        _check_settings(libraries, report)
    for entry in (each for release in matrix.releases for each in release.entries):
        _check_settings(entry, report)


def check_pinned(matrix: Matrix, report: Report) -> None:
    """Report bases that only a tag names: what it means changes from day to day."""
    for name, base in matrix.bases.items():
        at = where(base.image)
        if at and "@" not in base.image:
            report.add(
                at,
                f"{name} is not pinned to a digest",
                f"run `dlc bases --update {name}`, which writes it here",
            )


def _check_excludes(texts: Iterable[Text], report: Report) -> None:
    """Report what is no package's name, with a marker or without."""
    check_requirements(texts, {}, report)
    for text in texts:
        requirement = parse_requirement(text)
        if requirement and requirement.rest and not requirement.rest.startswith(";"):
            report.add(
                text.at,
                f"{text!r} is left out in all versions or not at all",
                f"write its name alone: {requirement.name}",
            )


def _check_settings(record: Libraries | Entry, report: Report) -> None:
    """Report variables and labels that images, engines or SageMaker set themselves."""
    for what, names, taken in (
        ("a variable", record.env, _VARIABLES),
        ("a label", record.labels, _LABELS),
    ):
        for name in names:
            if re.match(taken, name):
                report.add(
                    name.at,
                    f"{name!r} is {what} that the image or SageMaker sets",
                    "remove it, or choose another name",
                )


def known(matrix: Matrix, section: str, text: Text, report: Report) -> bool:
    """Whether a section has an entry of that name, sound or not; reported if it has none."""
    if text in matrix.named(section):
        return True
    report.add(
        text.at,
        f"{text!r} is not defined under {section}",
        did_you_mean(text, matrix.named(section)),
    )
    return False


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in for placeholders; KeyError if a placeholder is none of theirs.

    >>> fill("datasets=={datasets}", {"datasets": "1.15.1"})
    'datasets==1.15.1'
    """
    if "{" not in text:
        return text
    return re.sub(r"\{(\w*)\}", lambda match: values[match[1]], text)


def _check_upgrades(matrix: Matrix, report: Report) -> None:
    first: dict[tuple[str, str | None], int] = {}
    for upgrade in matrix.upgrades:
        which = (upgrade.package, upgrade.version)
        if which in first:
            report.add(
                upgrade.at,
                f"a second upgrade of {upgrade.package}",
                f"the first is on line {first[which]}; keep one",
            )
        first.setdefault(which, upgrade.at.line)
        if upgrade.oldest and upgrade.version and not upgrade.lifts(upgrade.oldest):
            report.add(
                upgrade.at,
                f"the upgrade of {upgrade.package} to {upgrade.version} is from {upgrade.oldest}",
                "name an older version as `from`, or leave it out",
            )
        if upgrade.until <= upgrade.date:
            report.add(
                upgrade.at,
                f"the upgrade of {upgrade.package} ends on {upgrade.until}, before it begins",
                f"name a day after its date, {upgrade.date}",
            )


def _check_accelerator(matrix: Matrix, accelerator: Accelerator, report: Report) -> None:
    """Report packages without a key, and a driver that cannot be what the accelerator needs."""
    name, packages, driver = accelerator.name, accelerator.packages, accelerator.driver_cuda
    if accelerator.device == "gpu" and packages and "cuda_keyring" not in matrix.keys:
        report.add(
            packages[0].at,
            f"{name} has packages, and the matrix no key to check them with",
            "add `cuda_keyring:` with its path and sha256",
        )
    if driver is None:
        return
    if accelerator.device != "gpu":
        report.add(driver.at, f"{name} is not for gpu, and has no CUDA", "remove the key")
        return
    needed = tuple(int(part) for part in driver.split("."))
    own = tuple(int(part) for part in accelerator.version.split(".")[:2])
    if needed[0] < 11 or needed[0] != own[0] or needed >= own:
        report.add(
            driver.at,
            f"a driver with CUDA {driver} is not an older one that CUDA {own[0]}.{own[1]} runs on",
            "name an older version of the same major one, 11 or later, or remove the key",
        )


def _check_accelerators(matrix: Matrix, version: FrameworkVersion, report: Report) -> None:
    for device, text in version.accelerators.items():
        if not known(matrix, "accelerators", text, report):
            continue
        accelerator = matrix.accelerators.get(text)
        if accelerator and accelerator.device != device:
            report.add(
                text.at,
                f"{text} is for {accelerator.device}, not for {device}",
                f"name an accelerator for {device}",
            )


def _check_builds(matrix: Matrix, version: FrameworkVersion, report: Report) -> None:
    for build in version.builds.values():
        if build.base:
            known(matrix, "bases", build.base, report)
        for source, texts in build.indexes.items():
            known(matrix, "sources", source, report)
            check_requirements(texts, {}, report)
        for wheel in build.wheels:
            read_wheel(matrix, wheel, report)
        check_requirements(build.requires, {}, report)


def read_wheel(matrix: Matrix, wheel: Wheel, report: Report) -> tuple[str, str] | None:
    """The normalised name and the version in a wheel's file name; None, and a report, if not one's.

    That its source is unknown is reported too.
    """
    known(matrix, "sources", Text(wheel.source, wheel.at), report)
    found = parse_wheel_name(wheel.filename)
    if found is None:
        report.add(
            wheel.at,
            f"{wheel.filename!r} is not a wheel's file name",
            "write it as it was built: name-1.2.3-cp38-cp38-linux_x86_64.whl",
        )
    return found


def check_requirements(texts: Iterable[Text], values: Mapping[str, str], report: Report) -> None:
    """Report what is no requirement; `values` are the placeholders that may be in one."""
    for text in texts:
        try:
            filled = fill(text, values)
        except KeyError as error:
            report.add(
                text.at,
                f"{text!r} has an unknown placeholder {{{error.args[0]}}}",
                f"known: {', '.join(f'{{{name}}}' for name in values) or 'none here'}",
            )
            continue
        requirement = parse_requirement(filled)
        if requirement is None:
            report.add(
                text.at,
                f"{text!r} is not a requirement",
                "write it as pip would read it: name[extra]==1.2.3",
            )
        elif requirement.address and not requirement.address.lower().startswith(
            ("https://", "http://")
        ):
            # A file of the machine that locks, or a program that is run there.
            report.add(
                text.at,
                f"{text!r} is not a file of the network",
                "name a version, or an address that begins with https://",
            )

"""The matrix's releases as targets, with every impossible combination reported."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

from builder.document import Position, Report, Text
from builder.errors import MatrixError
from builder.matrix import Build, Entry, FrameworkVersion, Libraries, Matrix, Release, read
from builder.shape import did_you_mean
from builder.tag import python_tag
from builder.target import Target

__all__ = ["expand", "load_targets"]

# Docker's own limit; the official builder notes it too.
_TAG_LENGTH = 128
_DEFAULT_DEVICES = {"training": ("gpu",), "inference": ("cpu", "gpu")}
# Wheels of these frameworks carry CUDA and cuDNN; TensorFlow loads them from the system.
_CARRIES_CUDA = frozenset({"pytorch"})


def load_targets(path: Path, *, name: str | None = None) -> tuple[Target, ...]:
    """All targets of a matrix, in the order of the file; MatrixError with all its mistakes."""
    report = Report()
    matrix = read(path, report, name=name)
    targets = expand(matrix, report) if matrix else ()
    report.raise_if_any()
    if not targets:
        at = Position(file=name or str(path), line=1, column=1)
        report.add(at, "the matrix has no targets", "add a release with a training or inference")
        raise MatrixError(report.problems)
    return targets


def expand(matrix: Matrix, report: Report) -> tuple[Target, ...]:
    """Every target of the matrix that is possible; the others are reported."""
    _check_shared(matrix, report)
    targets: dict[str, Target] = {}
    for release in matrix.releases:
        for entry in release.entries:
            for target in _Expansion(matrix, report, release, entry).targets():
                first = targets.setdefault(target.name, target)
                if first is not target:
                    report.add(
                        entry.version.at,
                        f"a second target named {target.name}",
                        f"the first is on line {first.said['framework_version'].line}; "
                        "change a version or a device, or remove one",
                    )
    return tuple(targets.values())


def _check_shared(matrix: Matrix, report: Report) -> None:
    """Mistakes in the shared sections, reported once, however many targets use them."""
    _known(matrix, "bases", matrix.tools.base, report)
    for version in matrix.frameworks.values():
        for device, text in version.accelerators.items():
            if _known(matrix, "accelerators", text, report):
                accelerator = matrix.accelerators.get(text.value)
                if accelerator and accelerator.device != device:
                    report.add(
                        text.at,
                        f"{text.value} is for {accelerator.device}, not for {device}",
                        f"name an accelerator for {device}",
                    )
        for build in version.builds.values():
            if build.index:
                _known(matrix, "sources", build.index, report)
            for wheel in build.wheels:
                source = Text(value=wheel.source, at=wheel.at)
                _known(matrix, "sources", source, report)
            if not build.requires and not build.wheels:
                report.add(build.at, f"build {build.name} names nothing", "add requires or wheels")
        _requirements((*version.constraints, *_build_texts(version)), {}, report)
    for libraries in matrix.libraries.values():
        texts = [*libraries.requires, *(t for ts in libraries.by_framework.values() for t in ts)]
        _requirements(texts, {"transformers": "1.0.0", "datasets": "1.0.0"}, report)


def _build_texts(version: FrameworkVersion) -> tuple[Text, ...]:
    return tuple(text for build in version.builds.values() for text in build.requires)


def _known(matrix: Matrix, section: str, text: Text, report: Report) -> bool:
    if text.value in matrix.named[section]:
        return True
    report.add(
        text.at,
        f"{text.value!r} is not among the {section}",
        did_you_mean(text.value, sorted(matrix.named[section])),
    )
    return False


def _requirements(
    texts: tuple[Text, ...] | list[Text], values: dict[str, str], report: Report
) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    for text in texts:
        try:
            Requirement(text.value.format(**values))
        except KeyError as error:
            known = ", ".join(f"{{{name}}}" for name in values) or "none here"
            report.add(
                text.at,
                f"{text.value!r} has a placeholder {{{error.args[0]}}}",
                f"known: {known}",
            )
        except (InvalidRequirement, ValueError, IndexError):
            report.add(
                text.at,
                f"{text.value!r} is not a requirement",
                "write it as pip would read it: name[extra]==1.2.3",
            )


class _Expansion:
    """One entry of one release."""

    def __init__(self, matrix: Matrix, report: Report, release: Release, entry: Entry) -> None:
        self.matrix, self.report = matrix, report
        self.release, self.entry = release, entry

    def targets(self) -> list[Target]:
        matrix, entry = self.matrix, self.entry
        version = matrix.frameworks.get((entry.framework, entry.version.value))
        libraries = matrix.libraries.get(entry.libraries.value)
        if entry.version.value not in matrix.named[entry.framework]:
            self.report.add(
                entry.version.at,
                f"{entry.framework} {entry.version.value} is not among the frameworks",
                did_you_mean(entry.version.value, sorted(matrix.named[entry.framework])),
            )
        _known(matrix, "libraries", entry.libraries, self.report)
        if version is None or libraries is None:
            return []
        devices = entry.devices or tuple(
            Text(value=device, at=entry.version.at) for device in _DEFAULT_DEVICES[entry.mode]
        )
        found = (self._target(version, libraries, device) for device in devices)
        return [target for target in found if target is not None]

    def _target(
        self, version: FrameworkVersion, libraries: Libraries, device: Text
    ) -> Target | None:
        entry, release, matrix = self.entry, self.release, self.matrix
        what = f"{version.framework} {version.version}"
        accelerator = self._accelerator(version, device)
        if accelerator is None:
            return None
        build = version.builds.get(accelerator.value)
        if build is None:
            self.report.add(
                accelerator.at,
                f"{what} was not built for {accelerator.value}",
                f"it has builds for {', '.join(version.builds) or 'nothing'}",
            )
            return None
        python = entry.python or build.python or version.python
        base_name = entry.base or build.base or version.base
        if not _known(matrix, "bases", base_name, self.report):
            return None
        base, tools = matrix.bases.get(base_name.value), matrix.bases.get(matrix.tools.base.value)
        if base is None or tools is None:
            return None
        date = entry.date or release.date
        if not self._possible(version, build, python, base_name, date):
            return None
        found = matrix.accelerators.get(accelerator.value)
        if found is None and accelerator.value != "cpu":
            return None
        packages = found.packages if found and version.framework not in _CARRIES_CUDA else ()
        if found and found.device == "neuron":
            packages = found.packages
        versions = {
            "transformers": release.transformers.value,
            "datasets": release.datasets.value,
        }
        texts = (*libraries.requires, *libraries.by_framework[version.framework])
        try:
            library_requirements = tuple(text.value.format(**versions) for text in texts)
        except (KeyError, ValueError, IndexError):  # reported by _check_shared
            return None
        target = Target(
            mode=entry.mode,
            framework=version.framework,
            framework_version=version.version,
            transformers=release.transformers.value,
            datasets=release.datasets.value if entry.mode == "training" else None,
            device=device.value,
            python=python.value,
            base=base,
            accelerator=found,
            accelerator_packages=packages,
            build=build,
            locked=datetime.date.fromisoformat(version.locked.value),
            date=datetime.date.fromisoformat(date.value),
            framework_requirements=tuple(text.value for text in build.requires),
            constraints=tuple(text.value for text in version.constraints),
            library_requirements=library_requirements,
            libraries=libraries.name,
            system_packages=libraries.system,
            origin=entry.origin,
            tools_base=tools,
            uv=matrix.tools.uv.value,
            sources=matrix.sources,
            said=self._said(version, libraries, build, device, python, base_name, date, accelerator)
            | {"base": base.at},
        )
        if len(target.tag) > _TAG_LENGTH:
            self.report.add(entry.version.at, f"the tag {target.tag} is too long", "shorten a name")
            return None
        return target

    def _accelerator(self, version: FrameworkVersion, device: Text) -> Text | None:
        """The accelerator, or the text "cpu"; None, and a report, if the device has none."""
        if device.value == "cpu":
            return Text(value="cpu", at=device.at)
        text = self.entry.accelerator or version.accelerators.get(device.value)
        if text is None:
            self.report.add(
                device.at,
                f"{version.framework} {version.version} names no accelerator for {device.value}",
                f"add `{device.value}:` on line {version.at.line}, or name other devices",
            )
        elif _known(self.matrix, "accelerators", text, self.report):
            found = self.matrix.accelerators.get(text.value)
            if found is None or found.device == device.value:
                return text
            if text is self.entry.accelerator:
                self.report.add(
                    text.at,
                    f"{text.value} is for {found.device}, not for {device.value}",
                    f"name an accelerator for {device.value}",
                )
        return None

    def _possible(
        self, version: FrameworkVersion, build: Build, python: Text, base_name: Text, date: Text
    ) -> bool:
        base = self.matrix.bases[base_name.value]
        what = f"{version.framework} {version.version}"
        possible = True
        if python.value not in base.pythons:
            self.report.add(
                python.at,
                f"{base.name} has no Python {python.value}",
                f"it has {', '.join(base.pythons)}",
            )
            possible = False
        for wheel in build.wheels:
            tag = re.search(r"-(cp3\d+)-", wheel.filename)
            if tag and tag[1] != python_tag(python.value).replace("py", "cp"):
                self.report.add(
                    python.at,
                    f"the wheel of {what} for {build.name} is for {tag[1]}, not for "
                    f"Python {python.value}",
                    f"change the python, or the wheel on line {wheel.at.line}",
                )
                possible = False
        if (
            _valid(date.value)
            and _valid(version.locked.value)
            and date.value < (version.locked.value)
        ):
            self.report.add(
                date.at,
                f"{date.value} is before {what} was locked ({version.locked.value})",
                f"change the date, or `locked` on line {version.locked.at.line}",
            )
            possible = False
        return possible and _valid(date.value) and _valid(version.locked.value)

    def _said(
        self,
        version: FrameworkVersion,
        libraries: Libraries,
        build: Build,
        device: Text,
        python: Text,
        base_name: Text,
        date: Text,
        accelerator: Text,
    ) -> dict[str, Position]:
        release, entry = self.release, self.entry
        return {
            "mode": entry.version.at,
            "framework": version.at,
            "framework_version": entry.version.at,
            "transformers": release.transformers.at,
            "datasets": release.datasets.at,
            "device": device.at,
            "device_tag": accelerator.at,
            "python": python.at,
            "os": base_name.at,
            "date": date.at,
            "locked": version.locked.at,
            "build": build.at,
            "libraries": libraries.at,
            "origin": entry.version.at,
            "uv": self.matrix.tools.uv.at,
        }


def _valid(date: str) -> bool:
    try:
        datetime.date.fromisoformat(date)
    except ValueError:
        return False
    return True

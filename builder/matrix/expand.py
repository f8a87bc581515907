"""One entry of a release as targets; what of it is not possible is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builder.matrix.components import check_device, check_wheels, choose, with_components
from builder.matrix.format import (
    Base,
    Build,
    Component,
    Entry,
    FrameworkVersion,
    Libraries,
    Matrix,
    Release,
)
from builder.matrix.keys import given
from builder.matrix.platform_check import on_platform
from builder.matrix.platforms import DEFAULT
from builder.matrix.requirements import for_python
from builder.matrix.schema import Day
from builder.matrix.shared import Shared
from builder.matrix.tags import python_tag
from builder.matrix.target import Target
from builder.matrix.validate import fill, known
from builder.matrix.yaml_nodes import Report, Text
from builder.util.text import did_you_mean

__all__ = ["Expansion"]

# Docker's own limit; the official builder notes it too.
_TAG_LENGTH = 128
_DEFAULT_DEVICES = {"training": ("gpu",), "inference": ("cpu", "gpu")}
# Wheels of these frameworks carry CUDA and cuDNN; TensorFlow loads them from the system.
_CARRIES_CUDA = frozenset({"pytorch"})
# torch.compile is there from this PyTorch on.
_COMPILES = 2
# What g++ brings along.
_TOOLCHAIN = frozenset({"g++", "gcc", "libc6-dev"})


class Expansion:
    """One entry of one release of the matrix."""

    def __init__(
        self,
        matrix: Matrix,
        report: Report,
        release: Release,
        entry: Entry,
        shared: Shared | None = None,
    ) -> None:
        self.matrix, self.report = matrix, report
        self.release, self.entry = release, entry
        self._shared = shared or Shared()

    def targets(self) -> list[Target]:
        """The entry's targets, by device and platform, but those that are not possible."""
        matrix, entry = self.matrix, self.entry
        versions = matrix.versions(entry.framework)
        if entry.version not in versions.named:
            self.report.add(
                entry.version.at,
                f"{entry.framework} {entry.version} is not defined under frameworks",
                did_you_mean(entry.version, versions.named),
            )
        known(matrix, "libraries", entry.libraries, self.report)
        version = versions.get(entry.version)
        libraries = matrix.libraries.get(entry.libraries)
        if version is None or libraries is None:
            return []
        devices = entry.devices or tuple(
            Text(device, entry.version.at) for device in _DEFAULT_DEVICES[entry.mode]
        )
        self._check_own_accelerator(devices)
        components = choose(matrix, entry, self.report)
        found = [
            self._target(version, libraries, device, platform, components)
            for device in devices
            for platform in entry.platforms or (Text(DEFAULT, entry.version.at),)
        ]
        # Without a component that does not go, a target may seem to be another's double.
        if len(components) < len(entry.components):
            return []
        return [target for target in found if target is not None]

    def _target(
        self,
        version: FrameworkVersion,
        libraries: Libraries,
        device: Text,
        platform: Text,
        components: tuple[Component, ...],
    ) -> Target | None:
        entry, release, matrix = self.entry, self.release, self.matrix
        named = self._accelerator(version, device)
        if named is None:
            return None
        build = version.builds.get(named)
        accelerator = matrix.accelerators.get(named)
        if build is None and named not in version.builds.named:
            self.report.add(
                named.at,
                f"{version.framework} {version.version} was not built for {named}",
                f"it has builds for {', '.join(version.builds) or 'nothing'}",
            )
        if build is None or (accelerator is None and named != "cpu"):
            return None
        fitting = on_platform(build, platform, device, entry, components, self.report)
        if not check_device(components, device, accelerator, self.report) or fitting is None:
            return None
        build = with_components(fitting, components)
        # The last one that says a value counts.
        tools = [matrix.tools] if matrix.tools else []
        own = self._shared.libraries(libraries, version.framework)
        shared = self._shared.given(*tools, *components, version, build, own)
        values = given(release, entry, before=shared)
        base_name, python, date = values.pop("os"), values["python"], values["date"]
        known(matrix, "bases", base_name, self.report)
        base = matrix.bases.get(base_name)
        tools_base = matrix.bases.get(matrix.tools.base) if matrix.tools else None
        requirements = self._fill(values.get("library_requirements", ()))
        if base is None or not self._possible(version, build, python, base, date, components):
            return None
        if matrix.tools is None or tools_base is None or requirements is None:
            return None

        standalone = "" if python in base.pythons else matrix.tools.pythons[python]
        values.pop("device_tag", None)
        toolchain = values.get("toolchain") or _toolchain(entry)
        values |= {
            "library_requirements": requirements,
            "compilers": _compilers(
                libraries, python, standalone=bool(standalone), kept=toolchain != "none"
            ),
            "toolchain": toolchain,
            "datasets": release.datasets if entry.mode == "training" else None,
            # A default device is nowhere in the file.
            "device": device if entry.devices else str(device),
            "platform": platform if entry.platforms else str(platform),
            # They are named where the row or its framework version names them.
            "base": self._shared.named(base, base_name),
            "accelerator": accelerator and self._shared.named(accelerator, named),
            "build": build,
            "components": components,
        }
        if matrix.account and values.get("origin") == "own":
            values["account"] = matrix.account
        for name in ("constraints", "excludes"):
            values[name] = for_python(values.get(name, ()), python)
        values["system_date"] = values.get("system_date") or base.system_date
        values["accepted"] = (*matrix.accepted, *values.get("accepted", ()))
        if accelerator and not (device == "gpu" and version.framework in _CARRIES_CUDA):
            values["accelerator_packages"] = accelerator.packages
        target = Target(
            **values,
            standalone_python=standalone,
            tools_base=tools_base,
            sources=matrix.sources,
            cuda_keyring=matrix.cuda_keyring,
            upgrades=matrix.upgrades,
        )
        if entry.variant and target.origin != "own":
            self.report.add(
                entry.variant.at, "AWS released no variants", "say `origin: own`, or leave it out"
            )
            return None
        if not self._can_lock_system(target):
            return None
        if len(target.tag) > _TAG_LENGTH:
            self.report.add(
                entry.version.at,
                f"the tag {target.tag} has {len(target.tag)} characters, not {_TAG_LENGTH} at most",
                "shorten the name of its base",
            )
            return None
        return target

    def _can_lock_system(self, target: Target) -> bool:
        """Report a date of the distribution's packages where not all can be locked."""
        if target.system_date is None:
            return True
        if not target.base.name.startswith(("debian", "ubuntu")):
            self.report.add(
                target.system_date.at,
                f"where {target.base.name} has its packages is not known",
                "leave `system_date` out for its targets",
            )
            return False
        if not target.components:
            return True
        self.report.add(
            target.system_date.at,
            f"{target.name} has components, so the distribution's packages cannot be locked",
            "leave `system_date` out for it: name it where only others take it from",
        )
        return False

    def _check_own_accelerator(self, devices: Sequence[str]) -> None:
        """Report an entry's accelerator that is unknown, or for none of the entry's devices."""
        text = self.entry.accelerator
        if text is None or not known(self.matrix, "accelerators", text, self.report):
            return
        found = self.matrix.accelerators.get(text)
        if found and found.device not in devices:
            self.report.add(
                text.at,
                f"{text} is for {found.device}, not for {' or '.join(devices)}",
                "name another accelerator or other devices, or remove it",
            )

    def _accelerator(self, version: FrameworkVersion, device: Text) -> Text | None:
        """The accelerator, or the text "cpu"; None, and a report, if the device has none."""
        if device == "cpu":
            return Text("cpu", device.at)
        own, text = self.entry.accelerator, version.accelerators.get(device)
        for candidate in (own, text):
            found = self.matrix.accelerators.get(candidate) if candidate else None
            if found and found.device == device:
                return candidate
        if own is None and text is None:
            self.report.add(
                device.at,
                f"{version.framework} {version.version} names no accelerator for {device}",
                f"add `{device}:` below line {version.version.at.line}, or name other devices",
            )
        return None

    def _fill(self, texts: Sequence[Text]) -> tuple[str, ...] | None:
        release = self.release
        values = {"transformers": release.transformers, "datasets": release.datasets}
        try:
            return tuple(_filled(text, values) for text in texts)
        except KeyError:  # reported by check_sections
            return None

    def _possible(
        self,
        version: FrameworkVersion,
        build: Build,
        python: Text,
        base: Base,
        date: Day,
        components: tuple[Component, ...],
    ) -> bool:
        what = f"{version.framework} {version.version}"
        possible = True
        standalone = self.matrix.tools.pythons if self.matrix.tools else {}
        if python not in {*base.pythons, *standalone}:
            others = f", and `tools` has {', '.join(standalone)}" if standalone else ""
            self.report.add(
                python.at,
                f"{base.name} has no Python {python}",
                f"it has {', '.join(base.pythons) or 'none'}{others}",
            )
            possible = False
        own = {wheel for component in components for wheel in component.wheels}
        for wheel in build.wheels:
            right = {"", python_tag(python).replace("py", "cp")}
            if wheel.python not in right and wheel not in own:
                self.report.add(
                    python.at,
                    f"the wheel of {what} for {build.name} is for {wheel.python}, not for "
                    f"Python {python}",
                    f"change the python, or the wheel on line {wheel.at.line}",
                )
                possible = False
        if not check_wheels(components, python, self.report):
            possible = False
        if date < version.locked:
            self.report.add(
                date.at,
                f"{date} is before {what} was locked ({version.locked})",
                f"change the date, or `locked` on line {version.locked.at.line}",
            )
            possible = False
        return possible


def _toolchain(entry: Entry) -> str:
    """What official images have: training installs from source, and torch.compile compiles."""
    compiles = entry.framework == "pytorch" and int(entry.version.partition(".")[0]) >= _COMPILES
    return "g++" if compiles or entry.mode == "training" else "none"


def _compilers(
    libraries: Libraries, python: str, *, standalone: bool, kept: bool
) -> tuple[str, ...]:
    """What a set of libraries is compiled with and the image does not have or keep anyway."""
    names = (_filled(text, {"python": python}) for text in libraries.compilers)
    there = _TOOLCHAIN if kept else ()
    headers = standalone or kept
    return tuple(
        name for name in names if name not in there and not (headers and name.startswith("python"))
    )


def _filled(text: Text, values: Mapping[str, str]) -> Text:
    return Text(fill(text, values), text.at) if "{" in text else text

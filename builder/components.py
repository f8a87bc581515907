"""Components: optional parts of training images, and which of them go together.

Each kind has its templates below templates/components. A component that is Python packages has a
lock of its own, named after its kind, on top of the framework's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from builder.document import Report, Text
from builder.matrix import Accelerator, Build, Component, Entry, Matrix, Wheel
from builder.matrix_check import check_requirements, known
from builder.matrix_shape import COMPONENTS

__all__ = [
    "KINDS",
    "check_components",
    "check_device",
    "choose",
    "described",
    "locked",
    "unhashed",
    "wheels",
    "with_components",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What a kind of component is made from (a key of the matrix), and for which devices it is.

    `develops`: on GPUs it is built with CUDA's compiler. `replaces`: its wheels are the framework's
    own build, and need no stage besides the framework's.
    """

    made_from: str
    devices: tuple[str, ...] = ("gpu",)
    develops: bool = False
    replaces: bool = False


_ANY = ("cpu", "gpu")
KINDS = {
    "efa": Kind(made_from="source"),
    "openmpi": Kind(made_from="source", devices=_ANY),
    "mpi4py": Kind(made_from="requires", devices=_ANY),
    "horovod": Kind(made_from="requires", devices=_ANY, develops=True),
    "smdistributed-dataparallel": Kind(made_from="wheels"),
    "smdistributed-modelparallel": Kind(made_from="wheels"),
    "training-compiler": Kind(made_from="wheels", replaces=True),
}


def check_components(matrix: Matrix, report: Report) -> None:
    """Report components that cannot be made from what they say."""
    for component in matrix.components.values():
        kind = KINDS[component.kind]
        made_from = {
            "source": [component.source] if component.source else [],
            "wheels": component.wheels,
            "requires": component.requires,
        }
        if not made_from[kind.made_from]:
            report.add(
                component.at,
                f"{component.name} says no `{kind.made_from}`, which {component.kind} is made from",
                f"add `{kind.made_from}:`",
            )
        if component.source and kind.made_from != "source":
            report.add(
                component.source.at,
                f"{component.kind} is not made from a file",
                f"say `{kind.made_from}` instead",
            )
        if component.wheels and kind.made_from != "wheels":
            report.add(
                component.wheels[0].at,
                f"{component.kind} is not made from wheels",
                f"say `{kind.made_from}` instead",
            )
        for need in component.needs:
            if need.value == component.kind:
                report.add(need.at, f"{component.name} needs itself", "remove it")
        if component.source:
            name = component.source.value[2:].partition("}")[0]
            known(matrix, "sources", Text(value=name, at=component.source.at), report)
        for wheel in component.wheels:
            known(matrix, "sources", Text(value=wheel.source, at=wheel.at), report)
        check_requirements((*component.requires, *component.build), {}, report)


def choose(matrix: Matrix, entry: Entry, report: Report) -> tuple[Component, ...]:
    """The components that an entry of a release names, in the order in which an image takes them.

    What does not go together is reported.
    """
    found: dict[str, tuple[Component, Text]] = {}
    unclear = False
    for text in entry.components:
        component = matrix.components.get(text.value)
        if not known(matrix, "components", text, report) or component is None:
            unclear = True
            continue
        if component.kind in found:
            first = found[component.kind][0].name
            report.add(text.at, f"{text.value} is a second {component.kind}", f"{first} is one")
            continue
        found[component.kind] = component, text
    if entry.mode.value != "training" and entry.components:
        report.add(
            entry.components[0].at,
            f"components are for training, not for {entry.mode.value}",
            "remove them",
        )
        return ()
    for component, text in found.values():
        for need in component.needs:
            if need.value not in found and not unclear:
                these = [c.name for c in matrix.components.values() if c.kind == need.value]
                report.add(
                    text.at,
                    f"{component.name} needs {need.value}",
                    f"name one too: {', '.join(these)}" if these else "add one to `components`",
                )
    return tuple(found[kind][0] for kind in COMPONENTS if kind in found)


def check_device(
    entry: Entry,
    components: Sequence[Component],
    device: Text,
    accelerator: Accelerator | None,
    report: Report,
) -> bool:
    """Whether an entry's components are for a device; reported if one is not."""
    at = {text.value: text.at for text in entry.components}
    fit = True
    for component in components:
        kind = KINDS[component.kind]
        if device.value not in kind.devices:
            report.add(
                at[component.name],
                f"{component.kind} is for {' and '.join(kind.devices)}, not for {device.value}",
                "remove it, or name other devices",
            )
            fit = False
        elif kind.develops and accelerator and not accelerator.develop:
            report.add(
                at[component.name],
                f"{accelerator.name} names no packages that {component.kind} is built with",
                f"add `develop:` to {accelerator.name}",
            )
            fit = False
    return fit


def with_components(build: Build, components: Iterable[Component]) -> Build:
    """A framework's build, or that which one of the components stands in for it."""
    own = [each for each in components if KINDS[each.kind].replaces]
    if not own:
        return build
    requires, wheels = own[0].requires, own[0].wheels
    return replace(build, requires=requires, wheels=wheels, indexes={}, at=own[0].at)


def locked(components: Iterable[Component]) -> tuple[Component, ...]:
    """Those components that are Python packages, and so have a lock and a stage."""
    kinds = ((component, KINDS[component.kind]) for component in components)
    return tuple(
        component for component, kind in kinds if kind.made_from != "source" and not kind.replaces
    )


def wheels(components: Iterable[Component]) -> tuple[Wheel, ...]:
    """The components' wheels, which no package index has."""
    return tuple(wheel for component in locked(components) for wheel in component.wheels)


def described(component: Component) -> str:
    """A component's name, what it is made from and, where it is a file, its hash."""
    requires = (text.value for text in component.requires)
    wheels = (f"{wheel.url} {_hash(wheel.sha256)}" for wheel in component.wheels)
    source = (component.source.value, _hash(component.sha256)) if component.source else ()
    return " ".join((component.name, *source, *wheels, *requires))


def unhashed(components: Iterable[Component]) -> tuple[Component, ...]:
    """Those components that come as a file whose SHA-256 the matrix does not know."""
    return tuple(each for each in components if each.source and each.sha256 is None)


def _hash(sha256: str | None) -> str:
    return f"sha256:{sha256}" if sha256 else "(no SHA-256 known)"

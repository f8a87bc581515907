"""Components: optional parts of training images, and which of them go together.

Each kind has its templates below templates/components. A component that is Python packages has a
lock of its own, named after its kind, on top of the framework's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from builder.matrix.format import Accelerator, Build, Component, Entry, Matrix, Wheel
from builder.matrix.tags import python_tag
from builder.matrix.validate import known
from builder.matrix.values import COMPONENTS
from builder.matrix.yaml_nodes import Report, Text
from builder.util.frozen import frozen

__all__ = [
    "KINDS",
    "Kind",
    "check_device",
    "check_wheels",
    "choose",
    "described",
    "locked",
    "unhashed",
    "wheels",
    "with_components",
]


@frozen
class Kind:
    """What a kind of component is made from (a key of the matrix), and for which devices it is.

    `keys` are those it has a use for besides that and what every kind may have. `packages` are the
    packages it is made of, if it is Python: the first has the component's version. `tied`: what it
    is made from fits one framework version. `develops`: on GPUs it is built with CUDA's compiler.
    `replaces`: its wheels are the own build of that framework, and need no stage besides.
    """

    made_from: str
    keys: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("gpu",)
    packages: tuple[str, ...] = ()
    tied: bool = False
    develops: bool = False
    replaces: str = ""


_ANY = ("cpu", "gpu")
_FILE = ("sha256",)
_STAGE = ("build", "compilers", "system")
KINDS = {
    "efa": Kind(made_from="source", keys=_FILE),
    "openmpi": Kind(made_from="source", keys=(*_FILE, "compilers", "system"), devices=_ANY),
    "mpi4py": Kind(made_from="requires", keys=_STAGE, packages=("mpi4py",), devices=_ANY),
    "horovod": Kind(
        made_from="requires", keys=_STAGE, packages=("horovod",), devices=_ANY, develops=True
    ),
    **{
        f"smdistributed-{what}": Kind(
            made_from="wheels",
            keys=("requires", *_STAGE),
            packages=(f"smdistributed-{what}",),
            tied=True,
        )
        for what in ("dataparallel", "modelparallel")
    },
    "training-compiler": Kind(
        made_from="wheels",
        keys=("requires", "build", "system"),
        packages=("torch", "torch-xla"),
        tied=True,
        replaces="pytorch",
    ),
}


def choose(matrix: Matrix, entry: Entry, report: Report) -> tuple[Component, ...]:
    """The components that an entry of a release names, in the order in which an image takes them.

    Those that do not go with its version are left out; what does not go together is reported.
    """
    found: dict[str, tuple[Component, Text]] = {}
    unclear = False
    for text in entry.components:
        component = matrix.components.get(text)
        if not known(matrix, "components", text, report) or component is None:
            unclear = True
            continue
        if component.kind in found:
            first = found[component.kind][0].name
            report.add(text.at, f"{text} is a second {component.kind}", f"{first} is one")
            continue
        found[component.kind] = component, text
    if entry.mode != "training" and entry.components:
        report.add(
            entry.components[0].at,
            f"components are for training, not for {entry.mode}",
            "remove them",
        )
        return ()
    misfits: set[str] = set()
    for component, text in found.values():
        if not _fits(component, entry):
            misfits.add(component.kind)
            others = (c for c in matrix.components.values() if c.kind == component.kind)
            fitting = [other.name for other in others if _fits(other, entry)]
            report.add(
                text.at,
                f"{component.name} is for {_versions(component)}, "
                f"not for {entry.framework} {entry.version}",
                f"name {' or '.join(fitting)} instead" if fitting else "remove it",
            )
        for need in component.needs:
            if need not in found and not unclear:
                these = [c.name for c in matrix.components.values() if c.kind == need]
                report.add(
                    text.at,
                    f"{component.name} needs {need}",
                    f"name one too: {', '.join(these)}" if these else "add one to `components`",
                )
    return tuple(
        replace(found[kind][0], name=found[kind][1])
        for kind in COMPONENTS
        if kind in found and kind not in misfits
    )


def check_device(
    components: Sequence[Component],
    device: Text,
    accelerator: Accelerator | None,
    report: Report,
) -> bool:
    """Whether components are for a device; reported if one is not."""
    fit = True
    for component in components:
        kind = KINDS[component.kind]
        if device not in kind.devices:
            report.add(
                component.name.at,
                f"{component.kind} is for {' and '.join(kind.devices)}, not for {device}",
                "remove it, or name other devices",
            )
            fit = False
        elif kind.develops and accelerator and not accelerator.develop:
            report.add(
                component.name.at,
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
    carries = Text(build.carries, own[0].at)
    return replace(
        build, requires=own[0].requires, wheels=own[0].wheels, indexes={}, carries=carries
    )


def check_wheels(components: Iterable[Component], python: Text, report: Report) -> bool:
    """Whether the wheels of components are for a Python; reported if one is not."""
    fit = True
    for component in components:
        found = {tag for wheel in component.wheels if (tag := wheel.python)}
        for tag in sorted(found - {python_tag(python).replace("py", "cp")}):
            report.add(
                component.name.at,
                f"the wheel of {component.name} is for {tag}, not for Python {python}",
                f"name another component, or change the python on line {python.at.line}",
            )
            fit = False
    return fit


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
    requires = component.requires
    wheels = (f"{wheel.url} {_hash(wheel.sha256)}" for wheel in component.wheels)
    source = (component.source, _hash(component.sha256)) if component.source else ()
    return " ".join((component.name, *source, *wheels, *requires))


def unhashed(components: Iterable[Component]) -> tuple[Component, ...]:
    """Those components that come as a file whose SHA-256 the matrix does not know."""
    return tuple(each for each in components if each.source and each.sha256 is None)


def _fits(component: Component, entry: Entry) -> bool:
    """Whether a component is for an entry's framework version, or for any."""
    versions = component.frameworks.get(entry.framework, ())
    return not component.frameworks or entry.version in versions


def _versions(component: Component) -> str:
    pairs = ((name, text) for name, texts in component.frameworks.items() for text in texts)
    return " and ".join(f"{framework} {text}" for framework, text in pairs)


def _hash(sha256: str | None) -> str:
    return f"sha256:{sha256}" if sha256 else "(no SHA-256 known)"

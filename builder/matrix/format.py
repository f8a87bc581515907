"""What matrix.yaml may look like, and the JSON schema that editors check it with."""

from __future__ import annotations

import json
from typing import Any

from builder.matrix.schema import DateOf, Either, ListOf, MapOf, Record, Shape, TextOf

__all__ = [
    "COMPONENTS",
    "DEVICES",
    "FRAMEWORKS",
    "MATRIX",
    "MODES",
    "ORIGINS",
    "SAID",
    "schema_text",
]

FRAMEWORKS = ("pytorch", "tensorflow")
MODES = ("training", "inference")
DEVICES = ("cpu", "gpu", "neuron", "neuronx")
# Released by AWS; in the reference tables but never released; or a target of our own.
ORIGINS = ("official", "unreleased", "own")

# Kinds of components, in the order in which an image takes them; `components` knows them.
COMPONENTS = (
    "efa",
    "openmpi",
    "mpi4py",
    "horovod",
    "smdistributed-dataparallel",
    "smdistributed-modelparallel",
    "training-compiler",
)

_VERSION = TextOf(
    what="a full version",
    like="4.57.1",
    pattern=r"\d+\.\d+\.\d+(?:\.(?:post|dev)\d+|(?:a|b|rc)\d+)?",
)
_PYTHON = TextOf(what="a Python version", like="3.11", pattern=r"3\.\d{1,2}", number=True)
_DATE = DateOf(
    text=TextOf(
        what="a date",
        like="2021-11-03",
        pattern=r"20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])",
    )
)
_BASE = TextOf(what="the name of a base", like="ubuntu20.04", pattern=r"[a-z][a-z0-9.]*[a-z0-9]")
_ACCELERATOR = TextOf(
    what="an accelerator as in a tag",
    like="cu111 or sdk1.17.1",
    pattern=r"cu\d{2,4}|sdk\d+\.\d+\.\d+",
)
_BUILD = TextOf(
    what="cpu or an accelerator",
    like="cu111 or sdk1.17.1",
    pattern=r"cpu|cu\d{2,4}|sdk\d+\.\d+\.\d+",
)
_PACKAGE = TextOf(
    what="a distribution package",
    like="python3.8 or libcudnn8=8.0.5.39-1+cuda11.0",
    pattern=r"[a-z0-9][a-z0-9.+-]+(?:=[A-Za-z0-9.+:~*-]+)?",
)
_REQUIREMENT = TextOf(what="a requirement", like="datasets==1.15.1", pattern=r"[A-Za-z0-9][^\n#]*")
_SOURCE = TextOf(what="the name of a source", like="PYTORCH_WHEELS", pattern=r"[A-Z][A-Z0-9_]*")
_LIBRARIES = TextOf(
    what="the name of a set of libraries", like="serving-1", pattern=r"[a-z][a-z0-9.-]*"
)

# What `dlc add` is told of a release, by its options.
SAID: dict[str, Shape] = {
    **dict.fromkeys(("transformers", "datasets", *FRAMEWORKS), _VERSION),
    "date": _DATE,
    "python": _PYTHON,
    "base": _BASE,
    "accelerator": _ACCELERATOR,
    "libraries": _LIBRARIES,
}

_REQUIREMENTS = ListOf(item=_REQUIREMENT, what="requirements")
_PACKAGES = ListOf(item=_PACKAGE, what="distribution packages")
_COMPILER = TextOf(
    what="a distribution package",
    like="g++ or python{python}-dev",
    pattern=r"[a-z0-9](?:[a-z0-9.+-]|\{python\})+",
)

_SHA256 = TextOf(
    what="a SHA-256", like="e3b0c442... (64 hexadecimal digits)", pattern="[0-9a-f]{64}"
)
_TARGETS = TextOf(
    what="a glob over names of targets", like="*-inference:*-cpu-*", pattern=r"[\w.*?\[\]!:-]+"
)
_BUDGET = TextOf(
    what="a size, or a share on top of what is locked",
    like="15 % or 2.2 GB",
    pattern=r"\d+(?:\.\d+)? (?:%|MB|GB)",
)
# An address goes into commands of a Dockerfile: nothing in it may mean something to a shell.
_PLAIN = "a source, then letters, digits and /._+%~-"
_SEGMENT = r"[A-Za-z0-9_+%~-][A-Za-z0-9._+%~-]*"
_BELOW = rf"\$\{{[A-Z][A-Z0-9_]*\}}(?:/{_SEGMENT})*/{_SEGMENT}"
_CUDA = TextOf(what="a CUDA version", like="11.0", pattern=r"\d{1,2}\.\d", number=True)
_CUDA_KEYRING = Record(
    what="the CUDA keyring",
    required={
        "path": TextOf(
            what="a package's path below CUDA_PACKAGES",
            like="ubuntu2004/x86_64/cuda-keyring_1.1-1_all.deb",
            pattern=r"[A-Za-z0-9][A-Za-z0-9._/+-]*\.deb",
        ),
        "sha256": _SHA256,
    },
)
_WHEEL = Record(
    what="a wheel",
    required={
        "url": TextOf(
            what=f"a wheel's address: {_PLAIN}",
            like="${PYTORCH_WHEELS}/cpu/torch-1.9.1%2Bcpu-cp38-cp38-linux_x86_64.whl",
            pattern=rf"{_BELOW}\.whl",
        )
    },
    optional={"sha256": _SHA256},
)
_COMPONENT = TextOf(
    what="the name of a component", like="openmpi-4.1.1", pattern=r"[a-z][a-z0-9.-]*"
)
_KIND = TextOf(what="a kind of component", choices=COMPONENTS)
_COMPONENT_RECORD = Record(
    what="a component",
    required={"kind": _KIND, "version": _VERSION},
    optional={
        "for": Record(
            what="the `for` of a component",
            optional=dict.fromkeys(FRAMEWORKS, ListOf(item=_VERSION, what="framework versions")),
            any_of=FRAMEWORKS,
        ),
        "source": TextOf(
            what=f"a file's address: {_PLAIN}",
            like="${OPENMPI_SOURCES}/v4.1/openmpi-4.1.1.tar.bz2",
            pattern=_BELOW,
        ),
        "sha256": _SHA256,
        "wheels": ListOf(item=_WHEEL, what="wheels"),
        "requires": _REQUIREMENTS,
        "build": _REQUIREMENTS,
        "needs": ListOf(item=_KIND, what="kinds of components"),
        "compilers": ListOf(item=_COMPILER, what="compilers"),
        "system": _PACKAGES,
    },
)
_BUILD_FIELDS: dict[str, Shape] = {
    "requires": _REQUIREMENTS,
    "wheels": ListOf(item=_WHEEL, what="wheels"),
    "indexes": MapOf(key=_SOURCE, value=_REQUIREMENTS, what="indexes"),
    "carries": _ACCELERATOR,
    "python": _PYTHON,
    "base": _BASE,
}
_NAMES = ("requires", "wheels", "indexes")
_FALLBACK = Record(what="a fallback build", optional=_BUILD_FIELDS, any_of=_NAMES)
_BUILD_RECORD = Record(
    what="a build", optional={**_BUILD_FIELDS, "fallback": _FALLBACK}, any_of=_NAMES
)
_FRAMEWORK_VERSION = Record(
    what="a framework version",
    required={
        "locked": _DATE,
        "python": _PYTHON,
        "base": _BASE,
        "builds": MapOf(key=_BUILD, value=_BUILD_RECORD, what="builds"),
    },
    optional={
        "gpu": _ACCELERATOR,
        "neuron": _ACCELERATOR,
        "neuronx": _ACCELERATOR,
        "requires": _REQUIREMENTS,
        "constraints": _REQUIREMENTS,
    },
)
_ENTRY = Either(
    text=_VERSION,
    record=Record(
        what="a framework entry",
        required={"version": _VERSION},
        optional={
            "devices": ListOf(item=TextOf(what="a device", choices=DEVICES), what="devices"),
            "python": _PYTHON,
            "base": _BASE,
            "accelerator": _ACCELERATOR,
            "date": _DATE,
            "libraries": _LIBRARIES,
            "origin": TextOf(what="an origin", choices=ORIGINS),
            "major": TextOf(what="a major release", like="2", pattern=r"[1-9]\d*", number=True),
            "components": ListOf(item=_COMPONENT, what="components"),
        },
    ),
)
_UPGRADE = Record(
    what="an upgrade",
    required={
        "package": TextOf(
            what="a package's name as indexes write it",
            like="pillow",
            pattern=r"[a-z0-9]+(?:-[a-z0-9]+)*",
        ),
        "date": _DATE,
        "reason": TextOf(what="a reason", like="CVE-2022-45198"),
        "until": _DATE,
    },
    optional={
        "version": TextOf(
            what="a version",
            like="9.3.0",
            pattern=r"\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?(?:\.post\d+)?(?:\.dev\d+)?",
            number=True,
        )
    },
)
_MODE = Record(
    what="a mode of a release",
    required={"libraries": _LIBRARIES},
    optional={name: ListOf(item=_ENTRY, what="framework versions") for name in FRAMEWORKS},
    any_of=FRAMEWORKS,
)

MATRIX = Record(
    what="the matrix",
    partial=True,
    required={
        "tools": Record(
            what="tools",
            required={"base": _BASE, "uv": _VERSION, "build": _REQUIREMENTS},
            optional={"pythons": MapOf(key=_PYTHON, value=_VERSION, what="standalone Pythons")},
        ),
        "bases": MapOf(
            key=_BASE,
            what="bases",
            value=Record(
                what="a base",
                required={
                    "image": TextOf(
                        what="an image by digest",
                        like="ubuntu:20.04@sha256:c664f8f8... (64 hexadecimal digits)",
                        pattern=r"[a-z0-9][a-z0-9./_-]*(?::\d+/[a-z0-9./_-]+)?"
                        r"(?::[\w.-]+)?@sha256:[0-9a-f]{64}",
                    ),
                    "end_of_life": _DATE,
                    "jdk": _PACKAGE,
                    "pythons": MapOf(key=_PYTHON, value=_PACKAGES, what="Pythons"),
                },
                optional={"bootstrap": TextOf(what="a suite", like="bookworm", pattern="[a-z]+")},
            ),
        ),
        "frameworks": MapOf(
            key=TextOf(what="a framework", choices=FRAMEWORKS),
            value=MapOf(key=_VERSION, value=_FRAMEWORK_VERSION, what="framework versions"),
            what="frameworks",
        ),
        "libraries": MapOf(
            key=_LIBRARIES,
            what="sets of libraries",
            value=Record(
                what="a set of libraries",
                required={"requires": _REQUIREMENTS},
                optional={
                    **dict.fromkeys(FRAMEWORKS, _REQUIREMENTS),
                    "compilers": ListOf(item=_COMPILER, what="compilers"),
                    "system": _PACKAGES,
                },
            ),
        ),
        "releases": ListOf(
            what="releases",
            item=Record(
                what="a release",
                required={"transformers": _VERSION, "datasets": _VERSION, "date": _DATE},
                optional=dict.fromkeys(MODES, _MODE),
                any_of=MODES,
            ),
        ),
    },
    optional={
        "sources": MapOf(
            key=_SOURCE,
            value=TextOf(
                what="an address of plain characters without a slash at its end",
                like="https://host/path",
                pattern=rf"https?://[A-Za-z0-9.-]+(?::\d+)?(?:/{_SEGMENT})*",
            ),
            what="sources",
        ),
        "cuda_keyring": _CUDA_KEYRING,
        "upgrades": ListOf(item=_UPGRADE, what="upgrades"),
        "budgets": MapOf(key=_TARGETS, value=_BUDGET, what="budgets"),
        "components": MapOf(key=_COMPONENT, value=_COMPONENT_RECORD, what="components"),
        "accelerators": MapOf(
            key=_ACCELERATOR,
            what="accelerators",
            value=Record(
                what="an accelerator",
                required={
                    "device": TextOf(what="gpu, neuron or neuronx", choices=DEVICES[1:]),
                    "version": _VERSION,
                },
                optional={"packages": _PACKAGES, "driver_cuda": _CUDA, "develop": _PACKAGES},
            ),
        ),
    },
)


def schema_text() -> str:
    """The JSON schema of the matrix, as committed in builder/matrix.schema.json."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "matrix.yaml: which Deep Learning Containers exist",
        **MATRIX.schema(),
    }
    return json.dumps(schema, indent=2) + "\n"

"""What the texts in matrix.yaml may be: names, versions, dates, requirements, addresses."""

from __future__ import annotations

from builder.matrix.platforms import PLATFORMS
from builder.matrix.schema import DateOf, ListOf, MapOf, TextOf

FRAMEWORKS = ("pytorch", "tensorflow")
MODES = ("training", "inference")
DEVICES = ("cpu", "gpu", "neuron", "neuronx")
# Released by AWS; in the reference tables but never released; or a target of our own.
ORIGINS = ("official", "unreleased", "own")
# What an image compiles C and C++ with, once it runs.
TOOLCHAINS = ("g++", "none")

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

VERSION = TextOf(
    what="a full version",
    like="4.57.1",
    pattern=r"\d+\.\d+\.\d+(?:\.(?:post|dev)\d+|(?:a|b|rc)\d+)?",
)
PYTHON = TextOf(what="a Python version", like="3.11", pattern=r"3\.\d{1,2}", number=True)
DATE = DateOf(
    what="a date",
    like="2021-11-03",
    pattern=r"20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])",
)
# No part of it may look like a release's revision, which ends a tag.
BASE = TextOf(
    what="the name of a base",
    like="ubuntu20.04",
    pattern=r"(?!v\d+(?:\.\d+)?(?:-|$))[a-z](?:[a-z0-9.]*[a-z0-9])?"
    r"(?:-(?!v\d+(?:\.\d+)?(?:-|$))[a-z0-9](?:[a-z0-9.]*[a-z0-9])?)*",
)
VARIANT = TextOf(what="a variant", like="slim", pattern=r"(?!(?:v\d+|amd64|arm64)$)[a-z][a-z0-9]*")
ACCELERATOR = TextOf(
    what="an accelerator as in a tag",
    like="cu111 or sdk1.17.1",
    pattern=r"cu\d{2,4}|sdk\d+\.\d+\.\d+",
)
BUILD = TextOf(
    what="cpu or an accelerator",
    like="cu111 or sdk1.17.1",
    pattern=r"cpu|cu\d{2,4}|sdk\d+\.\d+\.\d+",
)
PACKAGE = TextOf(
    what="a distribution package",
    like="python3.8 or libcudnn8=8.0.5.39-1+cuda11.0",
    pattern=r"[a-z0-9][a-z0-9.+-]+(?:=[A-Za-z0-9.+:~*-]+)?",
)
REQUIREMENT = TextOf(what="a requirement", like="datasets==1.15.1", pattern=r"[A-Za-z0-9][^\n#]*")
SOURCE = TextOf(what="the name of a source", like="PYTORCH_WHEELS", pattern=r"[A-Z][A-Z0-9_]*")
LIBRARIES = TextOf(
    what="the name of a set of libraries", like="serving-1", pattern=r"[a-z][a-z0-9.-]*"
)

REQUIREMENTS = ListOf(REQUIREMENT, "requirements")
PACKAGES = ListOf(PACKAGE, "distribution packages")
VERSIONS = ListOf(VERSION, "framework versions")
COMPILER = TextOf(
    what="a distribution package",
    like="g++ or python{python}-dev",
    pattern=r"[a-z0-9](?:[a-z0-9.+-]|\{python\})+",
)

COMPILERS = ListOf(COMPILER, "compilers")

SHA256 = TextOf(
    what="a SHA-256", like="e3b0c442... (64 hexadecimal digits)", pattern="[0-9a-f]{64}"
)
TARGETS = TextOf(
    what="a glob over names of targets", like="*-inference:*-cpu-*", pattern=r"[\w.*?\[\]!:-]+"
)
BUDGET = TextOf(
    what="a size, or a share on top of what is locked",
    like="15 % or 2.2 GB",
    pattern=r"\d+(?:\.\d+)? (?:%|MB|GB)",
)
# An address goes into commands of a Dockerfile: nothing in it may mean something to a shell.
_PLAIN = "a source, then letters, digits and /._+%~-"
_SEGMENT = r"[A-Za-z0-9_+%~-][A-Za-z0-9._+%~-]*"
_BELOW = rf"\$\{{[A-Z][A-Z0-9_]*\}}(?:/{_SEGMENT})*/{_SEGMENT}"
CUDA = TextOf(what="a CUDA version", like="11.0", pattern=r"\d{1,2}\.\d", number=True)
KEYRING_PATH = TextOf(
    what="a package's path below CUDA_PACKAGES",
    like="ubuntu2004/x86_64/cuda-keyring_1.1-1_all.deb",
    pattern=r"[A-Za-z0-9][A-Za-z0-9._/+-]*\.deb",
)
WHEEL_ADDRESS = TextOf(
    what=f"a wheel's address: {_PLAIN}",
    like="${PYTORCH_WHEELS}/cpu/torch-1.9.1%2Bcpu-cp38-cp38-linux_x86_64.whl",
    pattern=rf"{_BELOW}\.whl",
)
FILE_ADDRESS = TextOf(
    what=f"a file's address: {_PLAIN}",
    like="${OPENMPI_SOURCES}/v4.1/openmpi-4.1.1.tar.bz2",
    pattern=_BELOW,
)
SOURCE_ADDRESS = TextOf(
    what="an address of plain characters without a slash at its end",
    like="https://host/path",
    pattern=rf"https?://[A-Za-z0-9.-]+(?::\d+)?(?:/{_SEGMENT})*",
)
COMPONENT = TextOf(
    what="the name of a component", like="openmpi-4.1.1", pattern=r"[a-z][a-z0-9.-]*"
)
KIND = TextOf(what="a kind of component", choices=COMPONENTS)
KINDS = ListOf(KIND, "kinds of components")
FRAMEWORK = TextOf(what="a framework", choices=FRAMEWORKS)
DEVICE = TextOf(what="a device", choices=DEVICES)
ACCELERATED = TextOf(what="gpu, neuron or neuronx", choices=DEVICES[1:])
PLATFORM = TextOf(what="a platform", choices=tuple(PLATFORMS))
ORIGIN = TextOf(what="an origin", choices=ORIGINS)
ACCOUNT = TextOf(what="an AWS account", like="123456789012", pattern=r"[0-9]{12}", number=True)
TOOLCHAIN = TextOf(what="a toolchain", choices=TOOLCHAINS)
MAJOR = TextOf(what="a major release", like="2", pattern=r"[1-9]\d*", number=True)
PROJECT = TextOf(
    what="a package's name as indexes write it",
    like="pillow",
    pattern=r"[a-z0-9]+(?:-[a-z0-9]+)*",
)
ANY_VERSION = TextOf(
    what="a version",
    like="9.3.0",
    pattern=r"\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?(?:\.post\d+)?(?:\.dev\d+)?",
    number=True,
)
ADVISORY = TextOf(
    what="an advisory's identifier", like="CVE-2021-33503", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]*"
)
REASON = TextOf(what="a reason", like="CVE-2022-45198")
SUITE = TextOf(what="a suite", like="bookworm", pattern="[a-z]+")
IMAGE = TextOf(
    what="an image by tag or digest",
    like="ubuntu:20.04@sha256:c664f8f8... (64 hexadecimal digits)",
    pattern=r"[a-z0-9][a-z0-9./_-]*(?::\d+/[a-z0-9./_-]+)?"
    r"(?::[\w.-]+(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})",
)
# On one line of a Dockerfile, whoever splits it into lines.
_SETTING = TextOf(
    what="a text of one line", pattern=r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*", number=True
)
ENV = MapOf(
    TextOf(
        what="the name of a variable",
        like="HF_HUB_ENABLE_HF_TRANSFER",
        pattern=r"[A-Za-z_][A-Za-z0-9_]*",
    ),
    _SETTING,
    "variables",
)
LABELS = MapOf(
    TextOf(
        what="the name of a label",
        like="com.example.team",
        pattern=r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?",
    ),
    _SETTING,
    "labels",
)

# What `dlc add` is asked for, by its options.
ASKED: dict[str, TextOf] = {
    **dict.fromkeys(("transformers", "datasets", *FRAMEWORKS), VERSION),
    "date": DATE,
    "python": PYTHON,
    "base": BASE,
    "accelerator": ACCELERATOR,
    "libraries": LIBRARIES,
}

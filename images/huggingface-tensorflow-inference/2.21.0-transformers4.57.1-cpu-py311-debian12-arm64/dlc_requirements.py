"""Whether an image has what a model's code/requirements.txt asks for, in multi-model mode.

There the models share one set of packages, and what is installed for one could break another. So
nothing is: a model whose requirements the image meets is served, and another one is refused when it
is loaded.

Python 3.6 and later: this file is the same in every image. `packaging` comes with Transformers.
"""

import os
import re

FILE = os.path.join("code", "requirements.txt")
# Options that say where packages come from; others, such as -r or -e, name more of them.
SOURCES = re.compile(
    r"(-i|-f|--(index-url|extra-index-url|find-links|no-index|trusted-host|pre|prefer-binary"
    r"|only-binary|no-binary|require-hashes))\b"
)


def why_not_met(folder):
    """What the image lacks of the requirements of a model, as a sentence, or nothing."""
    try:
        with open(os.path.join(folder, FILE), encoding="utf-8-sig") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return "code/requirements.txt cannot be read"
    lines = [bare(line) for line in text.replace("\\\n", " ").splitlines()]
    unmet = [line for line in lines if line and not SOURCES.match(line) and not is_met(line)]
    if not unmet:
        return None
    message = (
        "code/requirements.txt asks for {}, which this image does not have. Nothing is installed "
        "in multi-model mode: build an image that has it"
    )
    return message.format(", ".join(each[:100] for each in unmet[:10]))


def bare(line):
    """A requirement without its comment and hashes."""
    return re.split(r"(?:^|\s)#|\s--hash\b", line)[0].strip()


def is_met(line):
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415

    try:
        asked = Requirement(line)
    except InvalidRequirement:
        return False  # a file, an address, or an option
    if asked.marker and not asked.marker.evaluate():
        return True
    found = version_of(asked.name)
    return bool(found and not asked.url and asked.specifier.contains(found, prereleases=True))


def version_of(name):
    try:
        from importlib import metadata  # noqa: PLC0415
    except ImportError:  # Python before 3.8, where Transformers brings it
        import importlib_metadata as metadata  # noqa: PLC0415
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

"""Tell what is installed: `python - < image_report.py` prints one JSON object.

Runs inside an image, with its own Python (3.6 and later) and pip; needs no network.
"""

import importlib
import json
import subprocess
import sys

IMPORTED = ("torch", "tensorflow", "transformers", "datasets")


def pip(*arguments: str) -> "tuple[int, str]":
    """Run the image's pip; its exit code and what it printed."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return result.returncode, result.stdout.decode("utf-8", "replace").strip()


def imported() -> "dict[str, str]":
    """The versions that the modules themselves tell; for one that does not import, why."""
    versions = {}
    for name in IMPORTED:
        try:
            versions[name] = importlib.import_module(name).__version__
        except Exception as error:  # a library that does not load is an OSError, for one
            versions[name] = "{}: {}".format(type(error).__name__, error)  # noqa: UP032
    return versions


if __name__ == "__main__":
    check, complaints = pip("check")
    _, listing = pip("list", "--format", "json")
    report = {
        "python": "{}.{}".format(*sys.version_info[:2]),
        "packages": {row["name"]: row["version"] for row in json.loads(listing.splitlines()[-1])},
        "check": complaints if check else "",
        "imported": imported(),
    }
    json.dump(report, sys.stdout)

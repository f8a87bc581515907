"""Which tasks an image guesses: `python guess_report.py NAME:FAMILY ...` prints a line of JSON.

NAME is a class in the `architectures` of a config.json, FAMILY its `model_type`. Runs inside an
image, Python 3.6 or later.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path


def main(asked: "list[str]") -> None:
    sys.path.insert(0, "/usr/local/bin")
    guess = importlib.import_module("dlc_tasks").task_of_config
    found = {}
    for each in asked:
        name, _, family = each.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config.json"
            path.write_text(json.dumps({"architectures": [name], "model_type": family}))
            try:
                found[name] = guess(str(path))
            except ValueError as error:
                found[name] = f"error: {error}"
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

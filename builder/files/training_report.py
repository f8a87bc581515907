"""Write down what a training job's script is given, in report.json of the job's output data.

Runs inside a training image as the script of a job, on Python 3.6 and later. `--import NAME` has a
module imported, and its file written down.
"""

import importlib
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Write the report; KeyError where SageMaker's variables are missing."""
    arguments = sys.argv[1:]
    wanted = [arguments[i + 1] for i, name in enumerate(arguments) if name == "--import"]
    report = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109 - as a text
        "script": sys.argv[0],
        "beside": sorted(path.name for path in Path(sys.argv[0]).resolve().parent.iterdir()),
        "channels": {
            channel: sorted(path.name for path in Path(os.environ[variable]).iterdir())
            for channel in json.loads(os.environ["SM_CHANNELS"])
            for variable in ["SM_CHANNEL_" + channel.upper()]
        },
        "imported": {name: str(importlib.import_module(name).__file__) for name in wanted},
    }
    target = Path(os.environ["SM_OUTPUT_DATA_DIR"], "report.json")
    target.write_text(json.dumps(report), encoding="utf-8")
    print("the report is written", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

"""`python -m tools.gpu_check prepare FOLDER`, and on the GPU's machine `... run FOLDER`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from builder.errors import DlcError

TARGET = "huggingface-pytorch-inference:2.13.0-transformers5.23.0-cpu-py311-debian12"


def main() -> int:
    """Run the command; its exit code. 1: something does not hold."""
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what runs is stopped on the way out
    try:
        if arguments.command == "prepare":
            from tools.gpu_check.prepare import prepare

            prepare(arguments.folder, arguments.target, arguments.python)
            return 0
        from tools.gpu_check.checks import run
        from tools.gpu_check.report import as_json, as_text, passed

        report = run(arguments.folder, arguments.device)
        print(as_json(report) if arguments.format == "json" else as_text(report))  # noqa: T201
        return 0 if passed(report) else 1
    except DlcError as error:
        print(f"gpu_check: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line. argparse, as the GPU's machine may have no click."""
    main = argparse.ArgumentParser(prog="python -m tools.gpu_check", description=__doc__)
    commands = main.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="pack what the GPU's machine lacks into FOLDER")
    prepare.add_argument("folder", type=Path, metavar="FOLDER", help="a folder to make, or empty")
    prepare.add_argument(
        "--target", default=TARGET, help="take packages and Java modules of this target"
    )
    prepare.add_argument(
        "--python", default="python3.12", help="a Python of the GPU machine's version, with headers"
    )
    run = commands.add_parser("run", help="start the stack, ask it and report")
    run.add_argument("folder", type=Path, metavar="FOLDER", help="the folder that prepare made")
    run.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    run.add_argument("--format", choices=("text", "json"), default="text")
    return main


if __name__ == "__main__":
    sys.exit(main())

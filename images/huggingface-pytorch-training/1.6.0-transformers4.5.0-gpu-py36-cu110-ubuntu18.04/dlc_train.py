"""The training toolkit's `train`, which fails if the training does.

By itself the toolkit ends with 0 after a script that failed, if it cannot write the file that says
so: /opt/ml/output is read-only, full or somebody else's. Here the reason goes to standard error as
well, and the exit code is that of the failure whatever can be written.

Standard library and the toolkit only, Python 3.6 and later: this file is the same in every image.
"""

import sys

NOT_WRITTEN = "dlc: the file that reports the training's {} cannot be written: {}"


def main():
    from sagemaker_training import files, trainer  # noqa: PLC0415 slow, and patched first

    files.write_success_file = or_say(files.write_success_file, "success")
    files.write_failure_file = or_say(files.write_failure_file, "failure")
    trainer._exit_processes = never_zero_after_an_error(trainer._exit_processes)
    trainer.train()


def or_say(write, what):
    """Write a report, or say on standard error that it cannot be, and what it would tell."""

    def write_or_say(*reason):
        try:
            write(*reason)
        except Exception as error:
            print(NOT_WRITTEN.format(what, error), *reason, sep="\n", file=sys.stderr, flush=True)

    return write_or_say


def never_zero_after_an_error(end):
    """The toolkit calls it in a `finally`, where an error that nobody caught is still known."""

    def end_with(code):
        error = sys.exc_info()[1]
        asked = isinstance(error, SystemExit) and error.code in (None, 0)
        if code == 0 and error is not None and not asked:
            print("dlc: the training ended with {!r}".format(error), file=sys.stderr, flush=True)
            code = 1
        end(code)

    return end_with


if __name__ == "__main__":
    main()

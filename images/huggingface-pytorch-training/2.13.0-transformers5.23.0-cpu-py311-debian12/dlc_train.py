"""The training toolkit's `train`, which fails if the training does and runs only what it was given.

By itself the toolkit ends with 0 after a script that failed, if it cannot write the file that says
so: /opt/ml/output is read-only, full or somebody else's. Here the reason goes to standard error as
well, and the exit code is that of the failure whatever can be written.

Toolkits from 4.0 to 5.1.2 let a shell read the script's arguments, which are hyperparameters: here
each arrives as it is. And an archive of code that would write outside of its folder is refused;
before 5.1.3 it does so, and later ones put it elsewhere.

Standard library and the toolkit only, Python 3.6 and later: this file is the same in every image.
"""

import os
import shlex
import sys
import tarfile

NOT_WRITTEN = "dlc: the file that reports the training's {} cannot be written: {}"


def main():
    from sagemaker_training import entry_point, files, process, trainer  # noqa: PLC0415 slow

    files.write_success_file = or_say(files.write_success_file, "success")
    files.write_failure_file = or_say(files.write_failure_file, "failure")
    trainer._exit_processes = never_zero_after_an_error(trainer._exit_processes)
    tarfile.TarFile.extractall = only_inside(tarfile.TarFile.extractall)
    if hasattr(files, "_safe_extractall"):  # since 5.1.3: it gives members other names first
        files._safe_extractall = only_inside(files._safe_extractall)
    if joins_for_a_shell(process):
        keep_arguments(entry_point, process)
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


# Archives


def only_inside(extract):
    """Unpack an archive unless something in it would be outside of the folder."""

    def extract_inside(archive, *arguments, **named):
        wrong = why_hostile(archive.getmembers())
        if wrong:
            raise ValueError("the archive {} is not unpacked: {}".format(archive.name, wrong))
        return extract(archive, *arguments, **named)

    return extract_inside


def why_hostile(members):
    """What would be outside of a folder, or no file at all, or nothing."""
    links = {os.path.normpath(member.name) for member in members if member.issym()}
    for member in members:
        where = os.path.dirname(member.name)
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            return "{} is a device".format(member.name)
        if leaves(member.name, links):
            return "{} is outside of its folder".format(member.name)
        if member.issym() and leaves(member.linkname, links, where):
            return "{} links to {}".format(member.name, member.linkname)
        if member.islnk() and leaves(member.linkname, links):
            return "{} links to {}".format(member.name, member.linkname)
    return None


def leaves(path, links, where=""):
    """Whether a path leads out of the folder, or by way of a link, which may do so later."""
    if path.startswith("/"):
        return True
    found = []
    for part in [*where.split("/"), *path.split("/")]:
        if part in ("", "."):
            continue
        if "/".join(found) in links:
            return True
        if part != "..":
            found.append(part)
        elif found:
            found.pop()
        else:
            return True
    return False


# Arguments


def joins_for_a_shell(process):
    """Whether this toolkit makes one text of a command and gives it to a shell."""
    run = getattr(process, "run_async", None)
    return run is not None and "create_subprocess_shell" in run.__code__.co_names


def keep_arguments(entry_point, process):
    """Quote the script and its arguments for the shell; the rest of a command is the toolkit's."""
    start, run_async = entry_point.run, process.run_async
    given = []

    def run(uri, user_entry_point, args, *more, **named):
        given[:] = [user_entry_point, *args]
        return start(uri, user_entry_point, args, *more, **named)

    def run_quoted(cmd, *more, **named):
        return run_async(quoted(list(cmd), given), *more, **named)

    entry_point.run, process.run_async = run, run_quoted


def quoted(command, script):
    """A command for a shell, of which the last words are a script and its arguments.

    A script that is no Python is in a text for another shell, which the toolkit puts in double
    quotes: there the first shell would look into the arguments.
    """
    words = list(map(shlex.quote, script))
    if command[:2] == ["/bin/sh", "-c"] and command[2].startswith('"./'):
        return [*command[:2], shlex.quote("./" + " ".join(words))]
    rest = command[: len(command) - len(script) + 1]
    if command[len(rest) :] != script[1:]:
        return command
    return (rest[:-1] + words[:1] if rest[-1] == script[0] else rest) + words[1:]


if __name__ == "__main__":
    main()

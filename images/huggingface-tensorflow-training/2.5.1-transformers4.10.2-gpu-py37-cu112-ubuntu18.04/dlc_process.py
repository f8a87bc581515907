"""Children of process 1: started, signalled, reaped, and at last swept.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import contextlib
import os
import signal
import sys
import time

STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}
FORWARDED = STOP | {signal.SIGUSR1, signal.SIGUSR2}
SWEEP_SECONDS = 0.5  # twice at most


def say(message):
    print("dockerd-entrypoint: " + message, file=sys.stderr, flush=True)


def watch_signals():
    """Hold signals back until they are waited for, so that none is lost; the mask before."""
    adopt_orphans()
    return signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED | {signal.SIGCHLD})


def adopt_orphans():
    """Orphans come to process 1; under `docker run --init` to that, unless asked for."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 an interpreter built without libffi lacks it

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


def next_signal(deadline):
    """The next signal; None at the deadline, in seconds of time.monotonic()."""
    watched = FORWARDED | {signal.SIGCHLD}
    if deadline is None:
        return signal.sigwait(watched)
    caught = signal.sigtimedwait(watched, max(0.0, deadline - time.monotonic()))
    return caught.si_signo if caught else None


def spawn(command, mask, foreground):
    """Start a child in a process group of its own; its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.setpgid(0, 0)
        if foreground and os.isatty(0):
            # The terminal's Ctrl-C and Ctrl-Z then reach the command, as from a shell.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
            os.tcsetpgrp(0, os.getpgrp())
        elif not foreground:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python, inherited by exec
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvp(command[0], command)  # noqa: S606
    except FileNotFoundError:
        say("{}: command not found in this image".format(command[0]))
        os._exit(127)
    except OSError as error:
        say("{}: {}".format(command[0], error.strerror))
        os._exit(126)


def reap():
    """The children that have ended, as pairs of process id and exit code."""
    ended = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        signalled = os.WIFSIGNALED(status)
        ended.append((pid, 128 + os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status)))


def send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def send_group(group, number):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def sweep(groups):
    """End what the server left behind, Java if the toolkit died first, and what ran beside it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in groups:
            send_group(group, number)
        deadline = time.monotonic() + SWEEP_SECONDS
        while time.monotonic() < deadline:
            reap()
            if not has_children():
                return
            time.sleep(0.02)


def has_children():
    try:  # one that has just ended counts too: others may go on
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True

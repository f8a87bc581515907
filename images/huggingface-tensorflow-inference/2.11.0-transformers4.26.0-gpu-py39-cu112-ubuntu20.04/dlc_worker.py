"""What multi-model-server starts for a model: it forks a worker for each connection and watches it.

It stands in the place of mms/model_service_worker.py, with that file's arguments, and does the same
but for four things. A worker that dies is reported with its exit code or signal, in the log and to
dlc_ready. The modules of Python itself come before those of the model's code that have their names.
The code sees no arguments, which are the server's. And no metrics go to the log, where the server
would leave them out.

Python 3.6 and later: this file is the same in every image, for multi-model-server 1.1.4 to 1.1.11.
"""

import contextlib
import faulthandler
import importlib.machinery
import logging
import mmap
import os
import select
import signal
import sys

from dlc_limits import clean
from dlc_memory import MEBIBYTE, kills_for_memory, memory_limit
from dlc_ready import forget_death, record_death

PYTHON_PATH = "DLC_PYTHONPATH"  # what dlc_serving wants to be found before Python's own packages
LEVEL = "DLC_LOG_LEVEL"
TAIL_LINES, TAIL_BYTES = 10, 4096
SCORE = "/proc/self/oom_score_adj"
# Thousandths of the limit that count as a worker's own: Java may have three quarters of it.
VICTIM = 800
STANDARD = (os.path.dirname(os.__file__), os.path.join(os.path.dirname(os.__file__), "lib-dynload"))


def main():
    # Imported before the model's code can be found.
    from mms import model_service_worker  # noqa: PLC0415
    from mms.arg_parser import ArgParser  # noqa: PLC0415

    # The server reads from this log that workers can be had, so that is there at any level.
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    given = ArgParser.model_service_worker_args().parse_args()
    sys.argv = sys.argv[:1]
    # Three lines of the log for each request, which the server would read and not write.
    model_service_worker.emit_metrics = lambda _: None
    forget_death(given.model_name)
    find_code(given.model_path)
    model = {"handler": given.handler, "modelPath": given.model_path, "modelName": given.model_name}
    request = {name: value.encode("utf-8") for name, value in model.items()}
    server = watching(model_service_worker.MXNetModelServiceWorker, given.model_name)(
        given.sock_type,
        given.sock_name,
        given.host,
        given.port,
        request,
        given.preload_model,
        given.tmp_dir,
    )
    try:
        server.run_server()
    except Exception:
        logging.exception("The process that starts workers ended")
    finally:
        with contextlib.suppress(OSError, TypeError):
            os.remove(given.sock_name)
    return 1


# Where modules are found


def find_code(model):
    """Let the model's code be imported, but not in the place of Python's own modules."""
    folders = [folder for folder in os.environ.get(PYTHON_PATH, "").split(os.pathsep) if folder]
    folders.append(model)
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    searched = [*folders, os.path.join(model, "code")]  # which the toolkit adds
    shadows = {name: path for folder in searched for name, path in standard_names(folder)}
    if shadows:
        sys.meta_path.insert(0, OwnFirst(shadows))
        for path in sorted(shadows.values()):
            logging.warning("%s has the name of a module of Python: better rename it", path)
    bad = {os.path.dirname(path) for path in shadows.values()}
    kept = [folder for folder in folders if folder not in bad]
    os.environ["PYTHONPATH"] = os.pathsep.join(kept)  # for what the code starts


def standard_names(folder):
    """The modules in a folder that are named like one of Python's own: pairs of name and path."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            path = os.path.join(folder, entry)
            name = entry.partition(".")[0]
            module = entry.endswith(tuple(importlib.machinery.all_suffixes()))
            package = name == entry and os.path.isfile(os.path.join(path, "__init__.py"))
            if (module or package) and standard(name):
                yield name, path


def standard(name):
    """Python's own module of a name, or nothing."""
    if name in sys.builtin_module_names:
        return importlib.machinery.BuiltinImporter.find_spec(name)
    return importlib.machinery.PathFinder.find_spec(name, list(STANDARD))


class OwnFirst:
    """Finds Python's own modules for all but the code that has some of the same names."""

    def __init__(self, shadows):
        self._names = shadows
        self._folders = tuple({os.path.dirname(path) + os.sep for path in shadows.values()})

    def find_spec(self, name, path=None, _target=None):
        if path is not None or name not in self._names or self._asked_by_the_code():
            return None
        return standard(name)

    def _asked_by_the_code(self):
        frame = sys._getframe(2)
        while frame is not None:
            file = frame.f_code.co_filename
            if not file.startswith("<frozen importlib") and "importlib" not in file:
                return file.startswith(self._folders)
            frame = frame.f_back
        return False


# The worker and its watcher


def watching(base, model):
    """multi-model-server's class, with a process between it and each worker."""

    def start_worker(self, cl_socket):
        self.sock.close()
        self._loaded = watch(model, cl_socket)  # goes on in the worker alone
        logging.getLogger().setLevel(os.environ.get(LEVEL, "info").upper())
        base.start_worker(self, cl_socket)

    def _remap_io(self):
        base._remap_io(self)
        self._loaded[0] = 1
        forget_death(model)

    return type("Server", (base,), {each.__name__: each for each in (start_worker, _remap_io)})


def watch(model, connection):
    """Return in a child, the worker, and tell here how it ended.

    What is returned are the bytes that parent and child share.
    """
    pipes = {}
    for number in (1, 2):
        reading, writing = os.pipe()
        pipes[reading] = (number, writing)
    loaded, kills = mmap.mmap(-1, 1), kills_for_memory()
    parent, worker = os.getpid(), os.fork()
    if worker == 0:
        for reading, (number, writing) in pipes.items():
            os.dup2(writing, number)
            os.close(writing)
            os.close(reading)
        prepare(parent)
        return loaded
    connection.close()  # the server is to see the worker's end
    for _, writing in pipes.values():
        os.close(writing)
    tail = pass_on({reading: number for reading, (number, _) in pipes.items()}, worker)
    code = wait(worker)
    if code != 0 or not loaded[0]:
        memory = kills_for_memory() > kills
        why = "{} while it {}".format(how(code, memory), "worked" if loaded[0] else "loaded")
        report(model, why, tail, loaded=bool(loaded[0]))
    os._exit(code if code >= 0 else 128 - code)


def prepare(watcher):
    """Let the worker end with its watcher, tell where it crashed, and be killed before Java."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 an interpreter built without libffi lacks it

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG of linux/prctl.h
        if os.getppid() != watcher:
            os._exit(1)
    with contextlib.suppress(OSError, ValueError), open(SCORE, "r+") as file:
        score = min(1000, int(file.read()) + VICTIM)
        file.seek(0)
        file.write(str(score))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        faulthandler.enable()


def pass_on(pipes, worker):
    """Pass on what the worker writes until it has another output or has ended; the end of it."""
    tail = b""
    while pipes:
        ready, _, _ = select.select(list(pipes), [], [], 0.5)
        for pipe in ready:
            piece = os.read(pipe, 65536)
            if not piece:
                os.close(pipe)
                del pipes[pipe]
                continue
            tail = (tail + piece)[-TAIL_BYTES:]
            with contextlib.suppress(OSError):
                write_all(pipes[pipe], piece)
        if not ready and has_ended(worker):  # something that it started still has the pipe
            break
    return tail.decode("utf-8", "replace")


def write_all(number, piece):
    while piece:
        piece = piece[os.write(number, piece) :]


def has_ended(worker):
    try:
        return os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def wait(worker):
    """The exit code, or less than nothing: a signal."""
    _, status = os.waitpid(worker, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def how(code, memory):
    """How a process ended, in words."""
    if code >= 0:
        return "ended with exit code {}".format(code)
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "signal {}".format(-code)
    if memory and code == -signal.SIGKILL:
        limit = memory_limit() // MEBIBYTE
        return "was killed as memory ran out (the limit is {} MiB)".format(limit)
    return "was killed by {}".format(name)


def report(model, why, tail, loaded):
    lines = [line.strip() for line in tail.splitlines() if line.strip()][-TAIL_LINES:]
    times = record_death(model, why, [clean(line) for line in lines], loaded)
    message = "dlc: the worker of model {} {}".format(model, why)
    message += " ({} times)".format(times) if times > 1 else ""
    message += "".join("\n  | " + line for line in lines)
    write_all(2, (message + "\n").encode("utf-8", "replace"))


if __name__ == "__main__":
    sys.exit(main())

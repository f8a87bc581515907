"""First process of an image: starts the model server or another command, and stops it well.

    dockerd-entrypoint.py serve        the SageMaker Hugging Face Inference Toolkit
    dockerd-entrypoint.py ready        exit code 0 once every model can answer, 1 and why not before
    dockerd-entrypoint.py COMMAND ...  any other command

As process 1 it forwards signals to its child, reaps orphans and ends with the child's exit code,
128 + n if signal n killed it. A server that was asked to stop ends with 0, one that ends by itself
never does.

`ready` is for Kubernetes exec probes and HEALTHCHECK: GET /ping answers 200 as soon as the port is
open, long before a model is loaded.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import sys
import tempfile
import time

TOOLKIT = "sagemaker_huggingface_inference_toolkit"
# Not `-m`: the module has a __main__ guard only from toolkit 2.0 on.
SERVER = [sys.executable, "-c", "from {}.serving import main; main()".format(TOOLKIT)]

STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}
FORWARDED = STOP | {signal.SIGUSR1, signal.SIGUSR2}

STOP_SECONDS = 7.0  # with SWEEP_SECONDS below the ten that `docker stop` waits before it kills
SWEEP_SECONDS = 1.0
ANSWER_SECONDS = 5.0

# In order of preference. The toolkit reads HF_API_TOKEN alone; huggingface_hub reads HF_TOKEN, and
# before 0.15 HUGGING_FACE_HUB_TOKEN; HF_HUB_TOKEN is the name of the newer inference toolkit.
TOKENS = ("HF_TOKEN", "HF_HUB_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_API_TOKEN")


def main(arguments):
    share_token(os.environ)
    if not arguments:
        say("nothing to run: give `serve`, `ready` or a command")
        return 2
    if arguments[0] == "ready":
        return ready()
    if arguments[0] == "serve":
        return serve()
    return run(arguments)


def say(message):
    print("dockerd-entrypoint: " + message, file=sys.stderr, flush=True)


def share_token(environment):
    """Give the user's token to every library, under each name that is not set yet."""
    tokens = [environment[name] for name in TOKENS if environment.get(name)]
    for name in TOKENS:
        if tokens and not environment.get(name):
            environment[name] = tokens[0]


# Any command


def run(command):
    """Run a command in the foreground; its exit code."""
    mask = watch_signals()
    child = spawn(command, mask, foreground=True)
    while True:
        number = signal.sigwait(FORWARDED | {signal.SIGCHLD})
        if number == signal.SIGCHLD:
            codes = dict(reap())
            if child in codes:
                return codes[child]
        else:
            send(child, number)


def watch_signals():
    """Hold signals back until they are waited for, so that none is lost; the mask before."""
    adopt_orphans()
    return signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED | {signal.SIGCHLD})


def adopt_orphans():
    """Orphans come to process 1; under `docker run --init` to that, unless asked for."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 an interpreter built without libffi lacks it

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


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


# The model server


def serve():
    """Run the model server; 0 if it was asked to stop, otherwise never 0."""
    wrong = why_no_server(os.environ)
    if wrong:
        say(wrong)
        return 1
    make_temporary_directory(os.environ)
    remove_pid_file()
    mask = watch_signals()
    child = spawn(SERVER, mask, foreground=False)
    monitor = start_monitor(os.environ, mask)
    stopping, deadline, java = False, None, None
    while True:
        number = next_signal(deadline)
        if number is None:
            say("the model server did not stop within {:.0f} s: killed".format(STOP_SECONDS))
            send_group(child, signal.SIGKILL)
            deadline = None
        elif number in STOP:
            stopping = True
            deadline = deadline or time.monotonic() + STOP_SECONDS
            send(child, signal.SIGTERM)  # the only one that the toolkit passes on to Java
        elif number != signal.SIGCHLD:
            send(child, number)
        else:
            codes = dict(reap())
            if monitor in codes and not stopping:
                say("neuron-monitor ended, exit code {}; not started again".format(codes[monitor]))
            if not stopping and java is None and java_pid() in codes:
                java = codes[java_pid()]
                why = ", most often because memory ran out" if java == 137 else ""
                say("the model server (Java) ended with exit code {}{}".format(java, why))
                # The toolkit may not have seen Java yet, and would look for it for ten minutes.
                send(child, signal.SIGTERM)
                deadline = time.monotonic() + STOP_SECONDS
            if child in codes:
                break
    stop_monitor(monitor, signal.SIGTERM)
    sweep(child)
    stop_monitor(monitor, signal.SIGKILL)
    if stopping:
        return 0
    if java is not None:
        return java or 1  # the toolkit's own code is only how it took our SIGTERM
    say("the model server ended by itself with exit code {}".format(codes[child]))
    return codes[child] or 1


def why_no_server(environment):
    """What is missing for `serve`, or nothing."""
    if importlib.util.find_spec(TOOLKIT) is None:
        return (
            "this is a training image, it has no model server; serve the model with the inference "
            "image of the same release, or give a command to run here"
        )
    home = environment.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else "java"
    if shutil.which(java) is None:
        return "the model server needs Java, and there is no {}; set JAVA_HOME or PATH".format(java)
    return None


def make_temporary_directory(environment):
    """The model server refuses to start where TEMP names no directory."""
    directory = environment.get("TEMP")
    if not directory or os.path.isdir(directory):
        return
    try:
        os.makedirs(directory)
    except OSError as error:
        say("TEMP={}: {}; left out".format(directory, error.strerror))
        del environment["TEMP"]


def pid_file():
    """Where multi-model-server writes Java's process id, see mms/model_server.py."""
    return os.path.join(tempfile.gettempdir(), ".model_server.pid")


def remove_pid_file():
    """A container that is started again has a stale one, and MMS may take it for a server."""
    with contextlib.suppress(OSError):
        os.remove(pid_file())


def java_pid():
    try:
        with open(pid_file()) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def next_signal(deadline):
    """The next signal; None at the deadline, in seconds of time.monotonic()."""
    watched = FORWARDED | {signal.SIGCHLD}
    if deadline is None:
        return signal.sigwait(watched)
    caught = signal.sigtimedwait(watched, max(0.0, deadline - time.monotonic()))
    return caught.si_signo if caught else None


def sweep(group):
    """End what the server left behind: Java if the toolkit died first, and busy workers."""
    send_group(group, signal.SIGTERM)
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        reap()
        if not has_children():
            return
        time.sleep(0.02)
    send_group(group, signal.SIGKILL)
    reap()


def has_children():
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


# Neuron's monitor: it writes metrics, its companion sends them to CloudWatch

MONITOR_PROGRAMS = ("neuron-monitor", "neuron-monitor-cloudwatch.py")
MONITOR = """
    neuron-monitor ${NEURON_MONITOR_CONFIG_FILE:+-c "$NEURON_MONITOR_CONFIG_FILE"} |
    neuron-monitor-cloudwatch.py --region "$NEURON_MONITOR_CW_REGION" \\
        ${NEURON_MONITOR_CW_NAMESPACE:+--namespace "$NEURON_MONITOR_CW_NAMESPACE"} >&2
"""


def start_monitor(environment, mask):
    """Send Neuron's metrics to CloudWatch if a region is named; the process group, or nothing."""
    if not environment.get("NEURON_MONITOR_CW_REGION"):
        return None
    missing = [name for name in MONITOR_PROGRAMS if shutil.which(name) is None]
    if missing:
        why = "NEURON_MONITOR_CW_REGION is set, but there is no {} on PATH; nothing is monitored"
        say(why.format(" and no ".join(missing)))
        return None
    return spawn(["sh", "-c", MONITOR], mask, foreground=False)


def stop_monitor(group, number):
    if group is not None:
        send_group(group, number)


# Readiness


def ready():
    """Say whether every model can answer; 0 if so, otherwise 1."""
    try:
        reason = why_not_ready(int(os.environ.get("SAGEMAKER_BIND_TO_PORT") or 8080))
    except (OSError, ValueError, KeyError, TypeError) as error:
        cause = getattr(error, "reason", error)
        reason = "the model server does not answer yet: {}".format(cause)
    print("not ready: " + reason if reason else "ready", flush=True)
    return 1 if reason else 0


def why_not_ready(port):
    """What the first model that cannot answer lacks, or nothing.

    OSError: no answer. ValueError, KeyError or TypeError: an answer that is not the model server's.
    """
    from urllib.parse import quote  # noqa: PLC0415 slow to import, and needed here only

    names = model_names(port)
    if not names and os.environ.get("SAGEMAKER_MULTI_MODEL") != "true":
        return "no model is registered yet"
    loaded = models_loaded()
    for name in names:
        workers = ask(port, "/models/" + quote(name, safe=""))["workers"]
        if not any(worker["status"] == "READY" for worker in workers):
            return "model {} has no worker".format(name)
        if name not in loaded:
            return "model {} is still loading".format(name)
    return None


def model_names(port):
    names, token = [], "0"
    while token:
        page = ask(port, "/models?next_page_token=" + token)
        names += [model["modelName"] for model in page["models"]]
        token = page.get("nextPageToken")
    return names


def ask(port, path):
    """The answer of the model server's management API, https://github.com/awslabs/multi-model-server."""
    import http.client  # noqa: PLC0415
    import json  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    # Without the caller's proxies: they cannot reach this container's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = "http://127.0.0.1:{}{}".format(port, path)
    try:
        with opener.open(url, timeout=ANSWER_SECONDS) as answer:
            return json.loads(answer.read().decode("utf-8"))
    except http.client.HTTPException as error:
        raise OSError("no whole answer: {!r}".format(error)) from None


def models_loaded():
    """Names of the models that at least one worker process has loaded.

    The management API says READY from the moment a worker's thread exists, so look at the worker:
    once it has reported its model as loaded, it turns its standard output to a pipe named
    *-stdout (_remap_io in mms/model_service_worker.py, the same in MMS 1.1.4 to 1.1.11).
    """
    names = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/{}/cmdline".format(pid), "rb") as file:
                words = file.read().decode("utf-8", "replace").split("\0")
            output = os.readlink("/proc/{}/fd/1".format(pid))
        except OSError:
            continue
        worker = any(word.endswith("model_service_worker.py") for word in words[:3])
        if worker and "--model-name" in words and re.search(r"-stdout( \(deleted\))?$", output):
            names.add(words[words.index("--model-name") + 1])
    return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

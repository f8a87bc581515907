"""`serve`: the model server with what stands before it, from its start to its end.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import contextlib
import glob
import os
import shutil
import signal
import socket
import sys
import tempfile
import time

from dlc_memory import processors
from dlc_process import (
    STOP,
    SWEEP_SECONDS,
    next_signal,
    reap,
    say,
    send,
    send_group,
    spawn,
    sweep,
    watch_signals,
)
from dlc_ready import MANAGEMENT_FILE, management_port, reason_not_ready
from dlc_room import choose_temporary_directory, leave_root, make_room, why_no_model

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = [sys.executable, os.path.join(HERE, "dlc_serving.py")]
FRONT = [sys.executable, os.path.join(HERE, "dlc_front.py")]

GRACE_SECONDS = 10.0  # that `docker stop` waits before it kills
STOP_SECONDS = 2.0  # of those, at least, for the server itself, after its requests
SPARE_SECONDS = 0.5
LEAST_STOP_SECONDS = 5.0

# The first is the default.
CHOICES = (
    ("DLC_PING", ("live", "ready")),
    ("DLC_LOG_LEVEL", ("info", "debug", "warning", "error")),
)


# From start to end


def serve():
    """Run the model server; 0 if it was asked to stop, otherwise never 0."""
    wrong = why_no_server(os.environ)
    if not wrong:
        leave_root(os.environ)
        wrong = make_room(os.environ)
    if wrong:
        say(wrong)
        return 1
    remove_pid_file()
    mask = watch_signals()
    front = start_front(os.environ, mask)
    child = spawn(SERVER, mask, foreground=False)
    monitor = start_monitor(os.environ, mask)
    stop, lost = Stop(child, front, stop_seconds(os.environ)), None
    while True:
        number = next_signal(stop.deadline)
        if number is None:
            stop.go_on()
        elif number in STOP:
            stop.begin()
        elif number != signal.SIGCHLD:
            send(child, number)
        else:
            codes = dict(reap())
            if stop.draining and front in codes:
                stop.end_server()
            elif not stop.begun and lost is None:
                say_if_monitor_ended(codes, monitor)
                lost = code_of_lost(codes, front)
                if lost is not None:
                    # The toolkit may not have seen Java yet, and would look for it for ten minutes.
                    stop.end_server()
            if child in codes:
                break
    sweep([group for group in (child, front, monitor) if group])
    if lost is None and not stop.begun:
        say("the model server ended by itself with exit code {}".format(codes[child]))
    # The toolkit's own code is only how it took our SIGTERM, if it got one.
    code = codes[child] if lost is None else lost
    return 0 if stop.begun else code or 1


class Stop:
    """How the server is brought to an end: first its requests, then itself, at last by force."""

    def __init__(self, child, front, seconds):
        self._child = child
        self._front = front
        self._seconds = seconds - 2 * SWEEP_SECONDS - SPARE_SECONDS
        self._last = 0.0
        self.begun = False
        self.draining = False
        self.deadline = None

    def begin(self):
        if not self.begun:
            self.begun = self.draining = True
            self._last = time.monotonic() + self._seconds
            self.deadline = self._last - STOP_SECONDS
            send(self._front, signal.SIGTERM)  # it ends once all that it has begun is answered

    def end_server(self):
        self.draining = False
        self.deadline = max(self._last, time.monotonic() + STOP_SECONDS)
        send(self._child, signal.SIGTERM)  # the only one that the toolkit passes on to Java

    def go_on(self):
        """The deadline has come."""
        if self.draining:
            seconds = self._seconds - STOP_SECONDS
            say("requests are still in flight after {:.1f} s: given up".format(seconds))
            self.end_server()
        else:
            say("the model server did not stop in time: killed")
            send_group(self._child, signal.SIGKILL)
            self.deadline = None


def stop_seconds(environment):
    """The seconds in which it is to stop, or nothing if they make no sense."""
    try:
        seconds = float(environment.get("DLC_STOP_SECONDS", GRACE_SECONDS))
    except ValueError:
        return None
    return seconds if LEAST_STOP_SECONDS <= seconds < 86400 else None


def code_of_lost(codes, front):
    """The exit code of Java or of what stands before it, if it has ended; it is said why."""
    java = java_pid()
    if java in codes:
        why = ", most often because memory ran out" if codes[java] == 137 else ""
        say("the model server (Java) ended with exit code {}{}".format(codes[java], why))
        return codes[java]
    if front in codes:
        say("what answers at the port (dlc_front.py) ended with exit code {}".format(codes[front]))
        return codes[front]
    return None


def why_no_server(environment):
    """What is missing for `serve`, or nothing."""
    wrong = why_no_model(environment)
    if wrong:
        return wrong
    for name, known in CHOICES:
        if name in environment and environment[name].lower() not in known:
            said = "{} is {!r}; it can be {}"
            return said.format(name, environment[name], " or ".join(known))
    if stop_seconds(environment) is None:
        said = "DLC_STOP_SECONDS is {!r}; it must be a number of seconds from {:.0f} on"
        return said.format(environment["DLC_STOP_SECONDS"], LEAST_STOP_SECONDS)
    home = environment.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else "java"
    if shutil.which(java) is None:
        return "the model server needs Java, and there is no {}; set JAVA_HOME or PATH".format(java)
    return None


# Readiness


def ready():
    """Say whether every model can answer; 0 if so, otherwise 1."""
    choose_temporary_directory(os.environ)
    port = management_port()
    with contextlib.suppress(OSError):  # what another user's processes have open is not for all
        owner = os.stat(os.path.join(tempfile.gettempdir(), "model-server", MANAGEMENT_FILE))
        if os.getuid() == 0 and owner.st_uid != 0:
            os.setgid(owner.st_gid)
            os.setuid(owner.st_uid)
    reason = reason_not_ready(port) if port else "the model server is not started"
    print("not ready: " + reason if reason else "ready", flush=True)
    return 1 if reason else 0


# What is started


def start_front(environment, mask):
    """Keep the server and its management on the loopback, with dlc_front at the port; its process.

    In multi-model mode those two are one port.
    """
    many = environment.get("SAGEMAKER_MULTI_MODEL") == "true"
    port, inner = environment.get("SAGEMAKER_BIND_TO_PORT") or "8080", free_port()
    given = environment.pop("MMS_INFERENCE_ADDRESS", "").rpartition(":")[2].strip("/")
    port = given if given.isdigit() else port
    management = inner if many else free_port(inner + 1)
    environment["DLC_MANAGEMENT_PORT"] = str(management)
    with open(MANAGEMENT_FILE, "w") as file:
        file.write(str(management))
    environment["SAGEMAKER_BIND_TO_PORT"] = environment["DLC_INNER_PORT"] = str(inner)
    workers = start_with_one_worker(environment)
    return spawn([*FRONT, port, str(inner), str(management), str(workers)], mask, foreground=False)


def start_with_one_worker(environment):
    """Do so where the number is left to the server; how many there are to be later, or 0."""
    count = processors()
    if not counts_processors(environment):
        return 0
    environment["SAGEMAKER_MODEL_SERVER_WORKERS"] = "1"
    return count if count > 1 else 0


def counts_processors(environment):
    """Whether the server would start a worker per processor: nothing else says how many."""
    said = ("SAGEMAKER_MODEL_SERVER_WORKERS", "SAGEMAKER_MODEL_SERVER_VMARGS")
    return (
        environment.get("SAGEMAKER_MULTI_MODEL") != "true"
        and not any(environment.get(name) for name in said)
        and not any(name.startswith("MMS_") for name in environment)
        and shutil.which("nvidia-smi") is None
        and not glob.glob("/dev/neuron*")
    )


def free_port(first=18080):
    """A port of the loopback; multi-model-server takes none above 49151."""
    for port in range(first, 49151):
        with contextlib.closing(socket.socket()) as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


# Java's process


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


def say_if_monitor_ended(codes, monitor):
    if monitor in codes:
        say("neuron-monitor ended, exit code {}; not started again".format(codes[monitor]))

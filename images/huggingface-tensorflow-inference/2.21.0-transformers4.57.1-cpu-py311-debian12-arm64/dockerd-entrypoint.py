"""First process of an image: starts the model server or another command, and stops it well.

    dockerd-entrypoint.py serve        the SageMaker Hugging Face Inference Toolkit
    dockerd-entrypoint.py ready        exit code 0 once every model can answer, 1 and why not before
    dockerd-entrypoint.py COMMAND ...  any other command

As process 1 it forwards signals to its child, reaps orphans and ends with the child's exit code,
128 + n if signal n killed it. A server that was asked to stop ends with 0, one that ends by itself
never does.

`ready` is for Kubernetes exec probes and HEALTHCHECK: GET /ping answers 200 as soon as the port is
open, long before a model is loaded. With DLC_PING=ready it answers 503 and why until then.

Its companions dlc_*.py are beside it.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import contextlib
import glob
import importlib.util
import math
import os
import pwd
import shutil
import signal
import socket
import sys
import tempfile
import time

TOOLKIT = "sagemaker_huggingface_inference_toolkit"
HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = [sys.executable, os.path.join(HERE, "dlc_serving.py")]
TRAIN = [sys.executable, os.path.join(HERE, "dlc_train.py")]
FRONT = [sys.executable, os.path.join(HERE, "dlc_front.py")]
USER = "model-server"  # of inference images
# Variables with folders that libraries write.
CACHES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "TORCH_HOME")
CGROUP = "/sys/fs/cgroup"
MANAGEMENT_FILE = "management-port"  # in the server's directory

TRAINING_IMAGE = (
    "this is a training image, it has no model server; serve the model with the inference "
    "image of the same release, or give a command to run here"
)

STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}
FORWARDED = STOP | {signal.SIGUSR1, signal.SIGUSR2}

GRACE_SECONDS = 10.0  # that `docker stop` waits before it kills
STOP_SECONDS = 2.0  # of those, at least, for the server itself, after its requests
SWEEP_SECONDS = 0.5  # twice at most
SPARE_SECONDS = 0.5
LEAST_STOP_SECONDS = 5.0

# The first is the default.
CHOICES = (
    ("DLC_PING", ("live", "ready")),
    ("DLC_LOG_LEVEL", ("info", "debug", "warning", "error")),
)

# In order of preference. The toolkit reads HF_API_TOKEN alone; huggingface_hub reads HF_TOKEN, and
# before 0.15 HUGGING_FACE_HUB_TOKEN; HF_HUB_TOKEN is the name of the newer inference toolkit.
TOKENS = ("HF_TOKEN", "HF_HUB_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_API_TOKEN")


# Of this image, and of what reads the environment in it.
OURS_AND_THEIRS = (
    *("DLC_", "HF_", "HUGGING_FACE_", "JAVA_HOME", "MMS_", "NEURON_", "OMP_NUM_THREADS"),
    *("SAGEMAKER_", "TEMP", "TF_", "TORCH_", "TRANSFORMERS_"),
)


def main(arguments):
    share_token(os.environ)
    forget_empty(os.environ)
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


def forget_empty(environment):
    """A variable set to nothing is one not set: Terraform, CDK and the SDK write defaults so.

    The toolkits would take an empty model, task, number or program for one.
    """
    for name in [name for name, value in environment.items() if not value.strip()]:
        if name.startswith(OURS_AND_THEIRS):
            del environment[name]


# Any command


def run(command):
    """Run a command in the foreground; its exit code."""
    mask = watch_signals()
    child = spawn(program_of(command), mask, foreground=True)
    while True:
        number = signal.sigwait(FORWARDED | {signal.SIGCHLD})
        if number == signal.SIGCHLD:
            codes = dict(reap())
            if child in codes:
                return codes[child]
        elif os.path.basename(command[0]) == "train":
            send_script(child, number)
        else:
            send(child, number)


def program_of(command):
    """The command, or ours in the place of the training toolkit's."""
    if command[0] == "train" and importlib.util.find_spec("sagemaker_training"):
        return [*TRAIN, *command[1:]]
    return command


def send_script(toolkit, number):
    """Signal what the training toolkit runs, else itself.

    The toolkit keeps signals from its script and dies of them, and the script would be killed at
    work. It ends with its script, though, and then says how that ended.
    """
    group = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid != toolkit]
    group = [pid for pid in group if in_group(pid, toolkit) and not is_toolkits_shell(pid, toolkit)]
    for pid in group or [toolkit]:
        send(pid, number)


def is_toolkits_shell(pid, toolkit):
    """Whether it is the shell by which sagemaker-training 4 starts a script: that would die of a
    signal, not as the script ends."""
    with contextlib.suppress(OSError):
        with open("/proc/{}/cmdline".format(pid), "rb") as file:
            command = file.read().split(b"\0")
        with open("/proc/{}/stat".format(pid), "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
        return parent == toolkit and command[:2] == [b"/bin/sh", b"-c"]
    return False


def in_group(pid, group):
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid) == group
    return False


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
    if importlib.util.find_spec(TOOLKIT) is None:
        return TRAINING_IMAGE
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


def leave_root(environment):
    """Go on as the image's own user, so that no request and no model's code runs as root.

    Where the server has to be root it stays so, and says why.
    """
    if os.getuid() != 0 or environment.get("DLC_USER") == "root":
        return
    try:
        user = pwd.getpwnam(USER)
    except KeyError:  # an image of somebody else's making
        return
    why = why_root(environment, user)
    if not why:
        try:
            become(user)
        except OSError as error:  # without the capabilities to
            why = "it may not change its user ({})".format(error.strerror)
    if why:
        say("the model server runs as root: " + why)
        return
    environment["HOME"], environment["USER"] = user.pw_dir, user.pw_name


def why_root(environment, user):
    """What only root can do for this server, or nothing."""
    model = model_folder(environment)
    if environment.get("SAGEMAKER_MULTI_MODEL") == "true":
        return "models come later, and may be for root alone to read"
    if os.path.exists(os.path.join(model, "code", "requirements.txt")):
        return "code/requirements.txt is to be installed"
    port = environment.get("SAGEMAKER_BIND_TO_PORT", "")
    if port.isdigit() and int(port) < 1024:
        return "SAGEMAKER_BIND_TO_PORT is below 1024"
    if glob.glob("/dev/neuron*"):
        return "it uses Neuron devices"
    caches = [environment[name] for name in CACHES if environment.get(name)]
    caches.append(os.path.join(environment.get("HOME") or "/root", ".cache"))
    for folder in caches:
        if os.path.isdir(folder) and not as_user(user, lambda path=folder: writable(path)):
            return "only root can write {}".format(folder)
    if os.path.isdir(model) and not as_user(user, lambda: readable(model)):
        return "only root can read {}".format(model)
    return None


def become(user):
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def as_user(user, question):
    """Whether something is so for another user, asked in a process of that user's."""
    child = os.fork()
    if child == 0:
        code = 2
        with contextlib.suppress(OSError):
            become(user)
            code = 1
            code = 0 if question() else 1
        os._exit(code)
    # 2: it cannot become that user, which is said elsewhere
    return os.WEXITSTATUS(os.waitpid(child, 0)[1]) != 1


def readable(folder):
    for parent, folders, files in os.walk(folder, onerror=fail):
        paths = [os.path.join(parent, name) for name in files]
        if not all(os.access(path, os.R_OK) for path in paths if os.path.isfile(path)):
            return False
        inner = [os.path.join(parent, name) for name in folders]
        if not all(os.access(path, os.R_OK | os.X_OK) for path in inner):
            return False
    return os.access(folder, os.R_OK | os.X_OK)


def fail(error):
    raise error


def model_folder(environment):
    return os.path.join(environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml", "model")


def why_no_model(environment):
    """That there is none, or nothing. A model's folder as HF_MODEL_ID is meant as a folder."""
    folder = model_folder(environment)
    given = environment.get("HF_MODEL_ID")
    if given and os.path.realpath(given) == os.path.realpath(folder):
        del environment["HF_MODEL_ID"]
        given = None
    if given or environment.get("SAGEMAKER_MULTI_MODEL") == "true":
        return None
    if os.path.isdir(folder) and os.listdir(folder):
        return None
    return "there is no model: mount one at {}, or set HF_MODEL_ID".format(folder)


def make_room(environment):
    """Let the server write in the temporary directory alone; what hinders that, or nothing."""
    wrong = choose_temporary_directory(environment)
    if wrong:
        return wrong
    room = os.path.join(environment["TEMP"], "model-server")
    failed = os.path.join(room, "failed")
    try:
        shutil.rmtree(failed, ignore_errors=True)  # of a container that is started again
        os.makedirs(failed)
        os.chdir(room)  # where the toolkit puts models of the Hub, and Java its logs
    except OSError as error:
        return "{}: {}; remove it or give another TEMP".format(room, error.strerror)
    make_home(environment, room)
    return None


def choose_temporary_directory(environment):
    """Make TEMP one that exists and can be written; what to do if there is none, or nothing.

    The model server refuses to start where TEMP names no directory, and puts its sockets there.
    """
    directory = environment.get("TEMP")
    if directory and not os.path.isdir(directory):
        with contextlib.suppress(OSError):
            os.makedirs(directory)
    if not directory or not writable(directory):
        environment.pop("TEMP", None)
    tempfile.tempdir = None  # what it was before TEMP was looked at
    try:
        environment["TEMP"] = tempfile.gettempdir()
    except OSError:
        return "no temporary directory can be written; mount a tmpfs or a volume at /tmp"
    return None


def make_home(environment, room):
    """Libraries keep caches at home and ask for the user's name; not every user id has those."""
    home = environment.get("HOME")
    if not home or not (writable(home) or os.path.isdir(os.path.join(home, ".cache"))):
        environment["HOME"] = room
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        environment.setdefault("USER", "model-server")


def writable(directory):
    return os.path.isdir(directory) and os.access(directory, os.W_OK | os.X_OK)


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


def processors():
    """How many this container may use at once: those that it sees, and its quota of time."""
    count = len(os.sched_getaffinity(0))
    for quota, period in (
        ("cpu.max", None),  # cgroup 2: both in one file
        ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
    ):
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = read(os.path.join(CGROUP, quota)).split()
            words += read(os.path.join(CGROUP, period)).split() if period else []
            share = int(words[0]) / int(words[1])
            if share > 0:
                count = min(count, max(1, math.ceil(share)))
    return count


def read(path):
    with open(path) as file:
        return file.read()


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


# Readiness


def ready():
    """Say whether every model can answer; 0 if so, otherwise 1."""
    try:
        from dlc_ready import management_port, reason_not_ready  # noqa: PLC0415 not in training
    except ImportError:
        say(TRAINING_IMAGE)
        return 1
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

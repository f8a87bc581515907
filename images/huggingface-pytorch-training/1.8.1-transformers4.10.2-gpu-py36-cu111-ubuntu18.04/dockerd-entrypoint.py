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
import importlib.util
import os
import signal
import sys

from dlc_process import FORWARDED, reap, say, send, spawn, watch_signals

HERE = os.path.dirname(os.path.abspath(__file__))
TRAIN = [sys.executable, os.path.join(HERE, "dlc_train.py")]

# Modules without which it can be neither.
NEEDED = {"ready": "dlc_server", "serve": "sagemaker_huggingface_inference_toolkit"}
TRAINING_IMAGE = (
    "this is a training image, it has no model server; serve the model with the inference "
    "image of the same release, or give a command to run here"
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
    if arguments[0] not in NEEDED:
        return run(arguments)
    if importlib.util.find_spec(NEEDED[arguments[0]]) is None:
        say(TRAINING_IMAGE)
        return 1
    import dlc_server  # noqa: PLC0415 not in training images

    return dlc_server.ready() if arguments[0] == "ready" else dlc_server.serve()


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Where the model server runs: as whom, in which folders, and with which model.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import contextlib
import glob
import os
import pwd
import shutil
import tempfile

from dlc_process import say

USER = "model-server"  # of inference images
# Variables with folders that libraries write.
CACHES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "TORCH_HOME")


# The user


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


# The model


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


# Folders


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

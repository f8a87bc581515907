"""Whether every model can answer, for the command `ready` and for dlc_front.

multi-model-server answers 200 to every GET /ping as soon as it listens, and hides why a model does
not load. So this looks at the processes of its workers, and at what dlc_handler and dlc_worker have
written of failures.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import contextlib
import os
import re
import sys
import tempfile

ANSWER_SECONDS = 5.0
POLL_SECONDS, FAILED_SECONDS = 0.2, 1.0
SCALE_TRIES = 10
FAILED = "did not load"
MANAGEMENT_FILE = "management-port"  # in the server's directory, of the entrypoint's


# What the handler found


def run_directory():
    """Where the server runs and writes; the entrypoint makes it."""
    return os.path.join(tempfile.gettempdir(), "model-server")


def failure_directory():
    return os.path.join(run_directory(), "failed")


def failure_file(model, pid):
    """Where a worker keeps why it could not load its model."""
    from urllib.parse import quote  # noqa: PLC0415 slow to import, and seldom needed

    return os.path.join(failure_directory(), "{}.{}".format(quote(model, safe=""), pid))


def why_not_loaded(model):
    """What a worker that still runs has written there, or nothing."""
    prefix = os.path.basename(failure_file(model, ""))
    try:
        names = os.listdir(failure_directory())
    except OSError:
        return None
    for name in names:
        pid = name[len(prefix) :]
        if name.startswith(prefix) and pid.isdigit() and os.path.exists("/proc/" + pid):
            with open(os.path.join(failure_directory(), name), encoding="utf-8") as file:
                return file.read()
    return None


# How workers ended


def death_file(model):
    return failure_file(model, "death")


def record_death(model, why, lines, loaded):
    """Keep how a model's worker ended, and its last lines; how many have so, one after another."""
    import json  # noqa: PLC0415

    before = death(model)
    times = before["times"] + 1 if before and before["loaded"] == loaded else 1
    record = {"why": why, "lines": lines, "loaded": loaded, "times": times}
    path = death_file(model)
    with contextlib.suppress(OSError):
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(record, file)
        os.replace(path + ".new", path)
    return times


def forget_death(model):
    with contextlib.suppress(OSError):
        os.remove(death_file(model))


def death(model):
    """How the model's last worker ended, if no other has loaded since; otherwise nothing."""
    import json  # noqa: PLC0415

    try:
        with open(death_file(model), encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def why_dead(model, lines=True):
    """That a model's worker died while it loaded and none has loaded since, or nothing."""
    found = death(model)
    if not found or found["loaded"] or model in models_loaded():
        return None
    text = "its worker {}".format(found["why"])
    if found["times"] > 1:
        text += ", {} times in a row".format(found["times"])
    if lines and found["lines"]:
        text += ": " + cut(" | ".join(found["lines"][-3:]))
    return text


def models_dead():
    """Names of models whose last worker died while it loaded."""
    from urllib.parse import unquote  # noqa: PLC0415

    try:
        names = os.listdir(failure_directory())
    except OSError:
        return []
    names = [unquote(name[: -len(".death")]) for name in names if name.endswith(".death")]
    return [name for name in names if why_dead(name)]


def one_line(error, limit=500):
    return cut(": ".join(filter(None, [type(error).__name__, " ".join(str(error).split())])), limit)


def cut(text, limit=500):
    return text if len(text) <= limit else text[: limit - 3] + "..."


# What the server says


def management_port():
    """Where the entrypoint put the server's management interface, or nothing."""
    given = os.environ.get("MMS_MANAGEMENT_ADDRESS", "").rpartition(":")[2].strip("/")
    if given.isdigit():
        return int(given)
    try:
        with open(os.path.join(run_directory(), MANAGEMENT_FILE)) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def reason_not_ready(port):
    """Why the server whose management is at a port is not ready, whatever it says, or nothing."""
    try:
        return why_not_ready(port)
    except (OSError, ValueError, KeyError, TypeError) as error:
        cause = getattr(error, "reason", error)
        return "the model server does not answer yet: {}".format(cause)


def why_not_ready(port):
    """What the first model that cannot answer lacks, or nothing.

    OSError: no answer. ValueError, KeyError or TypeError: an answer that is not the model server's.
    """
    from urllib.parse import quote  # noqa: PLC0415

    names = model_names(port)
    if not names and os.environ.get("SAGEMAKER_MULTI_MODEL") != "true":
        return "no model is registered yet"
    loaded = models_loaded()
    for name in names:
        why = why_not_loaded(name) or why_dead(name)
        if why:
            return "model {} {}: {}".format(name, FAILED, why)
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


def ask(port, path, method="GET"):
    """The answer of the model server's management API, https://github.com/awslabs/multi-model-server."""
    import http.client  # noqa: PLC0415
    import json  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    # Without the caller's proxies: they cannot reach this container's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = "http://127.0.0.1:{}{}".format(port, path)
    try:
        request = urllib.request.Request(url, method=method)  # noqa: S310
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return json.loads(answer.read().decode("utf-8"))
    except http.client.HTTPException as error:
        raise OSError("no whole answer: {!r}".format(error)) from None


def models_loaded():
    """Names of the models that at least one worker process has loaded, or failed to.

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
        name = model_of(words)
        if name and re.search(r"-stdout( \(deleted\))?$", output):
            names.add(name)
    return names


def model_of(words):
    """The model of a process with these arguments, if it is a worker of the server."""
    # An emulator of another machine puts two words before those of the program.
    worker = any(word.endswith("model_service_worker.py") for word in words[:5])
    if not worker or "--model-name" not in words[:-1]:
        return None
    return words[words.index("--model-name") + 1]


def wait_for_change(reason, port):
    """What to tell after a moment; the server logs each request, so it is asked at the end only."""
    import time  # noqa: PLC0415

    time.sleep(FAILED_SECONDS if FAILED in reason else POLL_SECONDS)
    loaded = models_loaded()
    for name in [*loaded, *models_dead()]:
        why = why_not_loaded(name) or why_dead(name)
        if why:
            return "model {} {}: {}".format(name, FAILED, why)
    if loaded or os.environ.get("SAGEMAKER_MULTI_MODEL") == "true":
        return reason_not_ready(port)
    return reason


# More workers


def more_workers(port, count):
    """Ask for so many workers of each model."""
    try:
        for name in model_names(port):
            path = "/models/{}?min_worker={}&max_worker={}".format(name, count, count)
            reason = scale(port, path)
            if reason:
                print("dlc: model {} keeps one worker: {}".format(name, reason), file=sys.stderr)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print("dlc: the models keep one worker each: {}".format(error), file=sys.stderr)


def scale(port, path):
    """Why the server does not take the number, or nothing."""
    import time  # noqa: PLC0415

    for _ in range(SCALE_TRIES):
        try:
            ask(port, path, method="PUT")
        except (OSError, ValueError) as error:
            reason = error
            time.sleep(1)
        else:
            return None
    return reason

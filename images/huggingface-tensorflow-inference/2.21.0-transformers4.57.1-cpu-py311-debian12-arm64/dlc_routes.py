"""Which requests pass dlc_front, and in which form.

multi-model-server's management interface can load any folder or URL with any handler, so who
reaches it runs code. What SageMaker's contract of multi-model mode needs passes here: load a folder
below /opt/ml/models or /opt/ml/model, list, describe, unload. Otherwise only inference passes.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import json
import os
import re
from urllib.parse import parse_qs, quote, unquote

from dlc_http import RefusedError
from dlc_requirements import why_not_met

MODELS = ("/opt/ml/models", "/opt/ml/model")
NAME = re.compile(r"(?!\.\.?$)[^/\\\x00-\x1f\x7f]{1,256}")


def allowed(request, many):
    """Make the request's target what the model server gets. RefusedError: it may not pass.

    The name of the model that is invoked, "" if it is not said, or nothing.
    """
    target = re.sub(r"^https?://[^/?#]*", "", request.target, flags=re.IGNORECASE) or "/"
    if not target.startswith("/") or re.search("%(?![0-9A-Fa-f]{2})", target):
        raise RefusedError(400, "The request's target is not that of a URL.")
    path, _, query = target.partition("?")
    names = unquote(path, errors="strict").strip("/").split("/")
    path = "/" + "/".join(quote(name, safe="") for name in names)
    if request.method == "OPTIONS" or path == "/":
        raise RefusedError(405, "Requested method is not allowed, please refer to API document.")
    if many and names == ["models"]:
        list_or_load(request, query)
        return None
    if many and names[0] == "models" and len(names) == 2:
        if request.method not in ("GET", "DELETE"):
            raise RefusedError(405, "Models are described by GET and unloaded by DELETE.")
        query = ""
    elif not passes(names):
        raise RefusedError(404, "Requested resource is not found, please refer to API document.")
    request.target = path + ("?" + query if query else "")
    if names == ["invocations"]:
        return ""
    return names[1] if len(names) == 3 or names[0] == "predictions" else None


def passes(names):
    """Whether a path of this many names is one of inference."""
    return (
        names in (["ping"], ["invocations"], ["execution-parameters"])
        or (names[0] == "predictions" and len(names) == 2)
        or (names[0] == "models" and len(names) == 3 and names[2] == "invoke")
    )


def list_or_load(request, query):
    request.target = "/models"
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    if request.method == "POST":
        request.loads = given
    elif request.method != "GET":
        raise RefusedError(405, "Models are listed by GET and loaded by POST.")
    elif not all(value.isdigit() for value in given.values()):
        raise RefusedError(400, "next_page_token and limit must be numbers.")
    else:
        known = [(name, given[name]) for name in ("next_page_token", "limit") if name in given]
        request.target += "?" * bool(known) + "&".join("=".join(pair) for pair in known)


def rewrite_load(request):
    """Make a request to load a model one that says no more than that."""
    given = dict(request.loads)
    if request.body.strip():
        try:
            body = json.loads(request.body.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            raise RefusedError(400, "The body is not JSON.") from None
        if not isinstance(body, dict):
            raise RefusedError(400, "The body must be a JSON object.")
        given.update(body)
    check_load(given)
    request.body = json.dumps(given).encode("utf-8")
    request.headers = [pair for pair in request.headers if pair[0].lower() != "content-type"]
    request.headers.append(("Content-Type", "application/json"))


def check_load(given):
    """What SageMaker sends, and no more: a name, and a folder of models."""
    if set(given) - {"model_name", "url"}:
        raise RefusedError(
            400, "A model is loaded by model_name and url; nothing else is accepted."
        )
    if not all(isinstance(value, str) for value in given.values()):
        raise RefusedError(400, "model_name and url must be texts.")
    name, url = given.get("model_name"), given.get("url")
    if name is not None and not NAME.fullmatch(name):
        raise RefusedError(400, "model_name must have 1 to 256 characters, none of them a slash.")
    if url is not None:
        inside = "\0" not in url and any(
            os.path.realpath(url).startswith(os.path.realpath(each) + os.sep) for each in MODELS
        )
        if not url.startswith("/") or not inside or os.path.isfile(url):
            raise RefusedError(400, "url must be the path of a folder below {}.".format(MODELS[0]))
        why = why_not_met(url)
        if why:
            raise RefusedError(400, why)

"""What a request may ask for, as numbers, and the error that says what was wrong with it.

Each limit is a variable of the container with a default; docs/security.md lists them.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import os
import re

from dlc_memory import memory_limit

LIMITS = {
    "DLC_MAX_AUDIO_SECONDS": 1800,
    "DLC_MAX_DOWNLOAD_MB": 20,
    "DLC_MAX_DOWNLOAD_SECONDS": 10,
    "DLC_MAX_JSON_DEPTH": 100,
    "DLC_MAX_NEW_TOKENS": 8192,
    "DLC_MAX_PIXELS": 50000000,
    "DLC_MAX_ROWS": 10000,
}
PIXEL_BYTES = 64  # of the container for each pixel: decoded, copied and scaled by two workers

TOKEN_NAMES = re.compile(
    r"TOKEN|SECRET|PASSW|CREDENTIAL|API_KEY|ACCESS_KEY|PRIVATE_KEY|AUTHORIZATION|DSN|SIGNATURE"
)
SECRET_LENGTH = 6  # shorter values are words: TOKENIZERS_PARALLELISM is true or false


BODY_BYTES = 6553500  # multi-model-server's own default


class RequestError(Exception):
    """The request cannot be answered: a status code, and a sentence for who sent it."""

    def __init__(self, message, code=400):
        self.message = message
        self.code = code
        super(RequestError, self).__init__(message)


def limit(name):
    """A limit, as the operator set it or by default."""
    value = os.environ.get(name)
    if not value:
        most = memory_limit() // PIXEL_BYTES if name == "DLC_MAX_PIXELS" else LIMITS[name]
        return min(LIMITS[name], most)
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number <= 0:
        raise ValueError("{} is {!r}; it must be a positive number".format(name, value))
    return number


def most_bytes(environment):
    """The largest body that the model server is set to take."""
    for name, factor in (("MMS_MAX_REQUEST_SIZE", 1), ("SAGEMAKER_MAX_PAYLOAD_IN_MB", 1048576)):
        if environment.get(name, "").isdigit():
            return int(environment[name]) * factor
    return BODY_BYTES


def check_limits():
    """What is wrong with the operator's limits, or nothing."""
    for name in sorted(LIMITS):
        try:
            limit(name)
        except ValueError as error:
            return str(error)
    return None


def too_large(what, found, name, code=413):
    """An error that names a limit, and the variable that raises it."""
    message = "{}: {}, and the limit is {} ({})"
    return RequestError(message.format(what, found, limit(name), name), code)


def split_names(variable):
    """The words of a variable that holds a list."""
    return [word for word in os.environ.get(variable, "").replace(",", " ").split() if word]


def clean(text):
    """A message for the client: UTF-8, and without folders and secrets of the container."""
    text = str(text).encode("utf-8", "replace").decode("utf-8")
    for name, value in os.environ.items():
        if TOKEN_NAMES.search(name) and len(value) >= SECRET_LENGTH:
            text = text.replace(value, "***")
    text = re.sub(r"://[^\s/@]+@", "://***@", text)
    return re.sub(r"(?<![\w/:.])(?:/[\w.+@-]+){2,}/?", "[path]", text)

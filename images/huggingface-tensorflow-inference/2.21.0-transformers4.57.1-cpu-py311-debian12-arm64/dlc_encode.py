"""Answers to bytes. JSON has one rule for what it cannot say itself, the same in every image:

numbers, arrays and tensors of any precision are numbers and lists, NaN and infinities are null,
bytes are base64, images are PNG in base64, times are texts, and keys are texts. Other characters
than ASCII are escaped, unless the client asks for UTF-8.

Python 3.6 and later: this file is the same in every image. NumPy is imported when it is used.
"""

import base64
import datetime
import io
import json
import math

PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")
DEPTH = 200


def encode_json(answer, utf8=False):
    """A JSON text; TypeError or ValueError if there is none for the answer."""
    try:
        return dumps(answer, utf8)
    except (ValueError, TypeError):  # NaN, a key that is no text, or none of what `known` knows
        return dumps(plain(answer), utf8)


def encode_json_lines(answer, utf8=False):
    """A line for each item of a list, or one for all."""
    rows = answer if isinstance(answer, list) else [answer]
    return "".join(encode_json(row, utf8) + "\n" for row in rows)


def encode_npy(answer, *_):
    """An array of numbers or texts; ValueError for any other answer: a client would unpickle it."""
    import numpy  # noqa: PLC0415

    array = numpy.asanyarray(answer)
    if array.dtype.hasobject:
        raise ValueError("an answer of Python objects cannot be an array of NumPy (.npy)")
    with io.BytesIO() as file:
        numpy.save(file, array, allow_pickle=False)
        return file.getvalue()


def dumps(value, utf8):
    return json.dumps(
        value, ensure_ascii=not utf8, allow_nan=False, separators=(",", ":"), default=known
    )


def known(value):
    """Something nearer to JSON than a value; TypeError if it is of a type without a rule."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode("ascii")
    if hasattr(value, "tolist"):  # NumPy's and pandas', tensors of PyTorch
        found = value.tolist()
        return float(value) if type(found) is type(value) else found  # a precision of its own
    if hasattr(value, "numpy"):  # tensors of TensorFlow
        return value.numpy()
    if isinstance(value, (datetime.date, datetime.time)):
        return str(value)
    if any(each.__module__ == "PIL.Image" for each in type(value).__mro__):
        return png(value)
    raise TypeError("the answer has a {}, which JSON cannot say".format(type(value).__name__))


def png(image):
    with io.BytesIO() as file:
        (image if image.mode in PNG_MODES else image.convert("RGB")).save(file, format="PNG")
        return base64.b64encode(file.getvalue()).decode("ascii")


def plain(value, depth=0):
    """The same of types that JSON has; slower than `dumps`, so only where that fails."""
    if depth > DEPTH:
        raise ValueError("the answer is nested in itself, or deeper than {}".format(DEPTH))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {key_of(key): plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each, depth + 1) for each in value]
    return plain(known(value), depth + 1)


def key_of(key):
    return key if key is None or isinstance(key, (str, bool, int)) else str(key)

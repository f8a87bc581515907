"""What a pipeline gets as inputs: content, never the name of something that it would open.

Pipelines for images, sound and video open a text as a file or an address. Here a text in such a
place is base64, or a URL that the operator allowed; a pipeline sees what was decoded from it.

Python 3.6 and later: this file is the same in every image.
"""

import base64
import contextlib
import os
import re
import tempfile

from dlc_decode import check_rows, check_seconds, read_image, read_sound
from dlc_fetch import NOT_ALLOWED, Budget, fetch, is_url
from dlc_limits import RequestError
from dlc_parameters import TASKS, usual_name

SOUND = ("audio-classification", "automatic-speech-recognition", "zero-shot-audio-classification")
VIDEO = ("video-classification",)
IMAGES = (
    "depth-estimation",
    "document-question-answering",
    "image-classification",
    "image-feature-extraction",
    "image-segmentation",
    "image-to-image",
    "image-to-text",
    "keypoint-matching",
    "mask-generation",
    "object-detection",
    "visual-question-answering",
    "zero-shot-image-classification",
    "zero-shot-object-detection",
)
MIXED = ("any-to-any", "image-text-to-text")
CHATS = ("conversational", "text-generation", *MIXED)
# What a pipeline raises where its inputs are of another shape than it takes.
OF_THE_INPUTS = (ValueError, TypeError, LookupError, AttributeError, AssertionError)
# Keys of inputs whose values are no media, and keys of media.
TEXTS = ("candidate_labels", "query", "question", "role", "text", "word_boxes")
MEDIA = ("image", "images", "inputs")
# A mapping becomes keywords of the tokenizer in this task.
PAIR = ("text", "text_pair")


class Inputs:
    """Decodes the media of one request; what it wrote is removed at its end."""

    def __init__(self, task, sampling_rate=None):
        self._task = usual_name(task)
        self._rate = sampling_rate
        self._files = []
        self._budget = Budget()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for path in self._files:
            with contextlib.suppress(OSError):
                os.remove(path)

    def safe(self, inputs):
        """The inputs with content in the place of its name; RequestError if that cannot be."""
        if isinstance(inputs, (list, tuple)):
            check_rows(len(inputs))
        if self._task in SOUND:
            return self._sound(inputs)
        if self._task in VIDEO:
            return self._video(inputs)
        if self._task in IMAGES:
            return self._image(inputs)
        if self._task in MIXED:
            return self._mixed(inputs)
        if self._task == "text-classification":
            check_pair(inputs)
        elif self._task == "text-generation" and isinstance(inputs, list):
            check_messages(inputs)
        elif self._task not in TASKS:
            check_names_nothing(inputs)
        return inputs

    def _sound(self, value):
        if isinstance(value, list):
            return [self._sound(each) for each in value]
        if isinstance(value, dict):
            return sound_samples(value)
        if isinstance(value, str):
            value = self._content(value)
        return read_sound(value, self._rate) if is_bytes(value) else value

    def _video(self, value):
        if isinstance(value, list):
            return [self._video(each) for each in value]
        if isinstance(value, str):
            value = self._content(value)
        if not is_bytes(value) or not is_video(value):
            raise RequestError("this is not a video that can be read: send MP4, WebM or AVI")
        handle, path = tempfile.mkstemp(suffix=".video")
        self._files.append(path)
        with os.fdopen(handle, "wb") as file:
            file.write(value)
        return path

    def _image(self, value):
        if isinstance(value, (list, tuple)):
            return [self._image(each) for each in value]
        if isinstance(value, dict):
            return {key: self._field(key, each) for key, each in value.items()}
        if isinstance(value, str):
            value = self._content(value)
        return read_image(value) if is_bytes(value) else value

    def _field(self, key, value):
        if key in MEDIA:
            return self._image(value)
        if key in TEXTS:
            return value
        message = "inputs have the key {!r}; accepted are {}"
        raise RequestError(message.format(key[:50], ", ".join(sorted(MEDIA + TEXTS))))

    def _mixed(self, value):
        """Images beside texts, or a conversation; a plain text is an image, as in the pipeline."""
        if is_chat(value):
            return [self._message(each) for each in value]
        if isinstance(value, list) and any(isinstance(each, list) for each in value):
            return [self._mixed(each) for each in value]
        texts = value.get("text") if isinstance(value, dict) else None
        if isinstance(texts, list) and any(map(is_message, texts)):
            value = dict(value, text=self._mixed(texts))
        return self._image(value)

    def _message(self, message):
        content = message.get("content")
        if isinstance(content, list):
            content = [self._part(part) for part in content]
        elif not isinstance(content, str):
            raise RequestError("the content of a message must be a text or a list of parts")
        return {"role": message["role"], "content": content}

    def _part(self, part):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            return {"type": "text", "text": part["text"]}
        if kind in ("image", "image_url"):
            given = [part[key] for key in ("image", "url", "base64", "image_url") if key in part]
            given = [each.get("url") if isinstance(each, dict) else each for each in given]
            if len(given) == 1 and isinstance(given[0], str):
                return {"type": "image", "image": read_image(self._content(given[0]))}
        raise RequestError("a part of a message must be a text, or one image in base64")

    def _content(self, text):
        """The bytes that a text stands for; a file's name stands for none."""
        found = re.match(r"data:[\w.+/-]{0,100};base64,", text)
        if not found and is_url(text):
            return fetch(text.strip(), self._budget)
        try:
            return base64.b64decode(
                "".join(text[found.end() if found else 0 :].split()), validate=True
            )
        except ValueError:
            message = "inputs must be content in base64, and paths of files are not opened; "
            raise RequestError(message + NOT_ALLOWED) from None


def inputs_of(task, data):
    """What of a body are the inputs: as the toolkit reads it, else all but the parameters.

    The messages of a chat may have their own key, as other servers have it.
    """
    rest = {key: value for key, value in data.items() if key != "parameters"}
    if "messages" not in rest or "inputs" in rest or usual_name(task) not in CHATS:
        return rest.get("inputs", rest)
    if len(rest) > 1:
        others = ", ".join(sorted(str(key)[:50] for key in rest if key != "messages"))
        message = "beside messages there is {}: what is to be done with them goes into parameters"
        raise RequestError(message.format(others))
    return rest["messages"]


def is_to_blame_for(error):
    """Whether a pipeline raises an error because of its inputs; a chat's template may, too."""
    names = [each.__name__ for each in type(error).__mro__]
    return isinstance(error, OF_THE_INPUTS) or "TemplateError" in names


def is_chat(value):
    """Whether inputs are the messages of one conversation."""
    return isinstance(value, list) and bool(value) and all(map(is_message, value))


def check_messages(inputs):
    """Refuse messages of a chat, or of several, that a pipeline takes for something else."""
    for each in inputs:
        if isinstance(each, list):
            check_messages(each)
        elif isinstance(each, dict):
            content = each.get("content")
            calls = content is None and "tool_calls" in each
            if not is_message(each) or not (calls or isinstance(content, (str, list))):
                raise RequestError("each message must have a role, and as content a text or parts")


def is_bytes(value):
    return isinstance(value, (bytes, bytearray))


def is_message(value):
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def is_video(content):
    """By its first bytes: a container, and not a list of addresses in one's disguise."""
    head = bytes(content[:12])
    return (
        (head[:1] == b"\0" and head[4:8] == b"ftyp")
        or head[:4] == b"\x1aE\xdf\xa3"
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    )


def sound_samples(value):
    """Samples that came as numbers, with their rate."""
    import numpy  # noqa: PLC0415

    given = [value[key] for key in ("raw", "array") if key in value]
    rate = value.get("sampling_rate")
    if len(given) != 1 or set(value) - {"raw", "array", "sampling_rate", "path", "stride"}:
        raise RequestError("sound in numbers has the keys raw and sampling_rate")
    if not isinstance(rate, int) or isinstance(rate, bool) or not 1000 <= rate <= 400000:
        raise RequestError("sampling_rate must be an integer from 1000 to 400000")
    try:
        samples = numpy.asarray(given[0], dtype="float32")
    except (TypeError, ValueError):
        samples = numpy.zeros((0, 0))
    if samples.ndim != 1:
        raise RequestError("raw must be a list of numbers")
    check_seconds(samples.shape[0], rate)
    found = {"raw": samples, "sampling_rate": rate}
    stride = value.get("stride")
    if stride is not None:
        if (
            not isinstance(stride, list)
            or len(stride) != 2
            or not all(isinstance(each, int) and 0 <= each <= samples.shape[0] for each in stride)
        ):
            raise RequestError("stride must be two numbers of samples")
        found["stride"] = tuple(stride)
    return found


def check_pair(inputs):
    for each in inputs if isinstance(inputs, list) else [inputs]:
        if isinstance(each, dict) and set(each) - set(PAIR):
            raise RequestError("inputs of this task are texts, or mappings of text and text_pair")


def check_names_nothing(value):
    """Refuse texts that name a file or an address, in a task that nobody described here."""
    if isinstance(value, str):
        if is_url(value):
            raise RequestError(NOT_ALLOWED)
        if len(value) < 4096 and os.path.exists(value.replace("\0", "")):
            raise RequestError("inputs cannot be paths of files: send the content itself")
    elif isinstance(value, dict):
        for each in value.values():
            check_names_nothing(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            check_names_nothing(each)

"""Content types of requests and answers, as clients write them.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import codecs
import re

from dlc_encode import encode_json
from dlc_inputs import IMAGES, MIXED, SOUND
from dlc_limits import RequestError
from dlc_parameters import usual_name

# What encoders raise where an answer is not of a kind: CSV without rows, an array of objects.
CANNOT_BE = (ValueError, TypeError, LookupError, AttributeError, AssertionError, OSError)
JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
LINES = (
    "application/jsonlines",
    "application/x-jsonlines",
    "application/jsonl",
    "application/x-ndjson",
    "application/ndjson",
)
TEXTS_OF_TOOLKIT = (JSON, CSV)  # which it hands to an input_fn as texts
TEXTS = TEXTS_OF_TOOLKIT + LINES
CHARSETS = ("utf-8", "ascii", "iso8859-1", "cp1252", "utf-16")
IMAGE, AUDIO = "image/x-image", "audio/x-audio"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
# What the toolkit calls otherwise, by what clients send.
ALIASES = {
    "application/csv": CSV,
    "application/x-image": IMAGE,
    "audio/aac": AUDIO,
    "audio/flac": "audio/x-flac",
    "audio/m4a": AUDIO,
    "audio/mp3": "audio/mpeg",
    "audio/mp4": AUDIO,
    "audio/vnd.wave": "audio/wave",
    "audio/wav": "audio/wave",
    "audio/webm": AUDIO,
    "audio/x-m4a": AUDIO,
    "audio/x-wav": "audio/wave",
    "image/jpg": "image/jpeg",
    "text/json": JSON,
}


def header(headers, name):
    """A header's value in whatever case its name came, or nothing."""
    for key, value in headers.items():
        if isinstance(value, str) and key.lower() == name and value.strip():
            return value.strip()
    return None


def bare(value):
    """A media type without its parameters, in lower case."""
    return value.partition(";")[0].strip().lower()


def why_no_body(given):
    """Why the model server took a request apart that has one, or that it has none."""
    if given and bare(given) in FORMS:
        return "a form is not read: send the body with Content-Type: application/json"
    return "the request has no body that can be read"


def kind_of(given, task, own_input):
    """The content type that the decoder, or the team's own input_fn, is told.

    None was given: JSON. An input_fn gets types that we do not know as they came.
    """
    if given is None:
        return JSON
    kind = bare(given)
    if kind in TEXTS or kind == NPY:
        return kind
    if own_input:
        return kind if re.match(r"(image|audio|video)/[\w.+*-]+$", kind) else given
    if kind in ("application/octet-stream", "binary/octet-stream") and task:
        task = usual_name(task)
        if task in SOUND:
            return AUDIO
        if task in IMAGES + MIXED:
            return IMAGE
    if kind.endswith("+json"):
        return JSON
    return usual(kind)


def usual(kind):
    """The toolkit's own name for a content type."""
    kind = ALIASES.get(kind, kind)
    if kind == "image/*":
        return IMAGE
    return AUDIO if kind == "audio/*" else kind


def charset(given):
    found = re.search(r";\s*charset\s*=\s*\"?([^\s\";]+)", given or "", re.IGNORECASE)
    if not found:
        return "utf-8"
    try:
        name = codecs.lookup(found.group(1)).name
    except (LookupError, ValueError):
        name = None
    if name not in CHARSETS:
        message = "the charset {!r} is not read: send UTF-8"
        raise RequestError(message.format(found.group(1)[:50]))
    return name


def best_first(given):
    """The entries of an Accept that the client takes, by their q."""
    entries = [each.strip() for each in given.split(",") if each.strip()]
    return [each for each in sorted(entries, key=weight, reverse=True) if weight(each) > 0]


def accepted_by_own(given):
    """The one type that a team's own output_fn is told, as it came if it is alone."""
    if given is None or given == "*/*":
        return JSON
    if "," not in given and ";" not in given:
        return given
    kinds = [bare(each) for each in best_first(given)]
    return JSON if not kinds or kinds[0] == "*/*" else kinds[0]


def accepted(given):
    """What the answer may be, best first, of the types that can be written here."""
    kinds = [bare(each) for each in best_first(given or "*/*")] or [JSON]
    found = [JSON if kind in ("*/*", "application/*") else usual(kind) for kind in kinds]
    found = [kind for kind in found if kind in LINES or encodes(kind)]
    if not found:
        check_encodes(kinds[0])
    return found


def wants_utf8(given):
    """Whether the client names UTF-8 as the charset of an answer."""
    charsets = re.findall(r";\s*charset\s*=\s*\"?([^\s\";,]+)", given or "", re.IGNORECASE)
    return any(each.lower() in ("utf-8", "utf8") for each in charsets)


def weight(entry):
    found = re.search(r";\s*q\s*=\s*([0-9.]+)", entry, re.IGNORECASE)
    try:
        return float(found.group(1)) if found else 1.0
    except ValueError:
        return 0.0


def in_utf8(kind, asked):
    """A kind of text with the charset that the client asked for, which it then is told."""
    return kind + "; charset=utf-8" if asked and kind in TEXTS else kind


def encodes(kind):
    from sagemaker_huggingface_inference_toolkit import decoder_encoder  # noqa: PLC0415

    return usual(kind) in decoder_encoder._encoder_map


def check_decodes(kind):
    from sagemaker_huggingface_inference_toolkit import decoder_encoder  # noqa: PLC0415

    known = sorted(decoder_encoder._decoder_map)
    if usual(kind) not in known:
        message = "Content type {} is not supported by this framework: send one of {}"
        raise RequestError(message.format(kind[:100], ", ".join(known)))


def check_encodes(kind):
    from sagemaker_huggingface_inference_toolkit import decoder_encoder  # noqa: PLC0415

    if not encodes(kind):
        known = ", ".join(sorted(decoder_encoder._encoder_map))
        message = "Content type {} is not supported by this framework: accept one of {}"
        raise RequestError(message.format(kind[:100], known))


def as_bytes(answer, kind, utf8):
    """An answer as it is sent, with its type.

    A team's code may give a pair of both, as for other images of SageMaker's. What cannot be of
    its type is JSON.
    """
    if isinstance(answer, tuple) and len(answer) == 2 and is_kind(answer[1]):
        answer, kind = answer
    if isinstance(answer, (bytes, bytearray, memoryview)):
        return bytes(answer), kind
    if isinstance(answer, str):
        return answer.encode("utf-8", "replace"), kind
    from sagemaker_huggingface_inference_toolkit import decoder_encoder  # noqa: PLC0415

    kind = usual(bare(kind))
    if kind == JSON or not encodes(kind):
        return encode_json(answer, utf8).encode("utf-8", "replace"), JSON
    try:
        text = decoder_encoder.encode(answer, kind)
    except CANNOT_BE:
        return encode_json(answer, utf8).encode("utf-8", "replace"), JSON
    return (text.encode("utf-8", "replace") if isinstance(text, str) else bytes(text)), kind


def is_kind(value):
    return isinstance(value, str) and re.match(r"[\w.+-]+/[\w.+*-]+\s*(;|$)", value) is not None


def plain(kind):
    """A content type that a header can hold."""
    return re.sub(r"[^\x20-\x7e]", "?", kind)

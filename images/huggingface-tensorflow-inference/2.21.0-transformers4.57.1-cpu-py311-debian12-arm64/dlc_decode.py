"""Bodies of requests to values: JSON, CSV, arrays, images and sound, none of which can run code.

The toolkit's decoders are replaced by these, also for whoever calls them from code of their own.
Arrays are read without pickle, sizes are looked at before memory is taken, and ffmpeg reads
containers of sound alone: neither playlists nor addresses.

Python 3.6 and later: this file is the same in every image. NumPy and Pillow are imported when used.
"""

import csv
import io
import json
import os
import re
import subprocess
import zipfile
import zlib

from dlc_encode import encode_json, encode_npy
from dlc_limits import RequestError, limit, most_bytes, too_large

HEADER_BYTES = 10000
DIGITS = 400
GZIP_PARTS = 100
UNPACKED_BYTES = 100000000
CSV_NAMES = ("inputs", "question", "context")
IMAGE_FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "BMP", "GIF", "WEBP")
SOUND_FORMATS = (
    "aac,ac3,aiff,amr,asf,au,caf,eac3,flac,matroska,mov,mp3,mp4,m4a,ogg,w64,wav,webm,3gp"
)
SOUND_SECONDS = 120  # that ffmpeg may take


# Any body


def inflated(content, coding):
    """A body without its content coding; what it unpacks to may be as large as a body may be."""
    names = [each.strip().lower() for each in (coding or "").split(",")]
    names = [each for each in names if each not in ("", "identity")]
    if not names:
        return content
    if names not in (["gzip"], ["x-gzip"]):
        message = "the content encoding {!r} is not read: send gzip, or none"
        raise RequestError(message.format(coding[:50]))
    most = most_bytes(os.environ)
    found, rest = bytearray(), bytes(content)
    try:
        for _ in range(GZIP_PARTS):
            part = zlib.decompressobj(zlib.MAX_WBITS | 16)
            found += part.decompress(rest, most + 1 - len(found))
            if len(found) > most:
                message = "the body is larger than {} bytes when unpacked {}"
                name = "(SAGEMAKER_MAX_PAYLOAD_IN_MB)"
                raise RequestError(message.format(most, name), 413)
            if not part.eof:
                raise zlib.error("it ends too early")
            rest = part.unused_data
            if not rest:
                return found
        raise zlib.error("it has more than {} parts".format(GZIP_PARTS))
    except zlib.error as error:
        raise RequestError("the body is not gzip: {}".format(error)) from None


# Text


def decode_json(content):
    """A JSON text; how deep it goes is looked at before it is parsed."""
    text = content if isinstance(content, str) else as_text(content)
    check_depth(text)
    whole = {"parse_int": parse_int} if re.search(r"\d{%d}" % DIGITS, text) else {}
    try:
        return json.loads(text, **whole)
    except ValueError as error:
        raise RequestError("the body is not JSON: {}".format(error)) from None


def as_text(content, charset="utf-8"):
    try:
        return bytes(content).decode("utf-8-sig" if charset == "utf-8" else charset)
    except UnicodeDecodeError as error:
        message = "the body is not {}: byte {} is invalid"
        raise RequestError(message.format(charset, error.start)) from None


def check_depth(text):
    most = limit("DLC_MAX_JSON_DEPTH")
    if text.count("[") + text.count("{") <= most:
        return
    depth = 0
    for found in re.finditer(r'[\[\]{}]|"(?:[^"\\]|\\.)*"', text, re.DOTALL):
        mark = found.group(0)[0]
        if mark in "[{":
            depth += 1
            if depth > most:
                raise too_large("how deep the JSON goes", "more", "DLC_MAX_JSON_DEPTH", 400)
        elif mark in "]}":
            depth -= 1


def parse_int(digits):
    if len(digits) > DIGITS:
        raise ValueError("a number has more than {} digits".format(DIGITS))
    return int(digits)


def decode_json_lines(content):
    """A value from each line: the inputs of all of them, with the parameters of the first."""
    text = content if isinstance(content, str) else as_text(content)
    # Not splitlines: JSON may have other ends of lines inside of texts.
    rows = [decode_json(line) for line in text.split("\n") if line.strip()]
    if not rows:
        raise RequestError("the body has no line of JSON")
    check_rows(len(rows))
    if not all(isinstance(row, dict) for row in rows):
        return {"inputs": rows}
    given = [row.pop("parameters", None) for row in rows]
    if any(each != given[0] for each in given):
        raise RequestError("all lines must have the same parameters")
    found = {"inputs": [row.pop("inputs", row) for row in rows]}
    if given[0] is not None:
        found["parameters"] = given[0]
    return found


def decode_csv(content):
    """Rows under a header that names `inputs`, or `question` and `context`."""
    text = content if isinstance(content, str) else as_text(content)
    text = text.lstrip("\ufeff")
    try:
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(rows, [])
        if not any(name in column.lower() for column in header for name in CSV_NAMES):
            message = "You need to provide the correct CSV with Header columns: inputs, or {}"
            raise RequestError(message.format("question and context"))
        found = []
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                message = "line {} of the CSV has {} columns, and its header has {}"
                raise RequestError(message.format(rows.line_num, len(row), len(header)))
            found.append(dict(zip(header, row)))
            check_rows(len(found))
    except csv.Error as error:
        raise RequestError("the body is not CSV: {}".format(error)) from None
    if not found:
        raise RequestError("the CSV has a header and no rows")
    if "inputs" in header:
        return {"inputs": [row["inputs"] for row in found]}
    return {"inputs": found}


def check_rows(count):
    if count > limit("DLC_MAX_ROWS"):
        raise too_large("rows of the request", "more", "DLC_MAX_ROWS")


# Arrays


def decode_npy(content):
    """An array of numbers or texts; one of Python objects would be code."""
    import numpy  # noqa: PLC0415

    data = bytes(content)
    try:
        shape, dtype, start = npy_header(data)
        count = 1
        for each in shape:
            count *= each
        if dtype.hasobject:
            raise RequestError("the array holds Python objects, which are not read: send numbers")
        if (
            min(shape or (0,)) < 0
            or dtype.itemsize == 0
            or count * dtype.itemsize > (len(data) - start)
        ):
            raise RequestError("the array's header tells of more than the body holds")
        return numpy.load(io.BytesIO(data), allow_pickle=False)
    except RequestError:
        raise
    except Exception as error:
        message = "the body is not an array of NumPy (.npy): {}"
        raise RequestError(message.format(type(error).__name__)) from None


def npy_header(data):
    """Shape, type and where the values start; ValueError if it is no header."""
    from numpy.lib import format as form  # noqa: PLC0415

    file = io.BytesIO(data)
    major, _ = form.read_magic(file)
    if major not in (1, 2):
        raise ValueError("a version that is not read")
    length = 2 if major == 1 else 4
    if int.from_bytes(data[8 : 8 + length], "little") > HEADER_BYTES:
        raise ValueError("too long a header")
    read = form.read_array_header_1_0 if major == 1 else form.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype, file.tell()


def decode_npz(content):
    """A sparse matrix, as SciPy saves it."""
    import scipy.sparse  # noqa: PLC0415

    data = bytes(content)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(each.file_size for each in archive.infolist()) > UNPACKED_BYTES:
                raise RequestError("the matrix is larger than it may be when unpacked", 413)
            for name in archive.namelist():
                decode_npy(archive.read(name))
        return scipy.sparse.load_npz(io.BytesIO(data))
    except RequestError:
        raise
    except Exception as error:
        message = "the body is not a sparse matrix (.npz): {}"
        raise RequestError(message.format(type(error).__name__)) from None


# Images


def read_image(content):
    """An image in RGB; its size is looked at before its pixels are."""
    from PIL import Image  # noqa: PLC0415

    try:
        image = Image.open(io.BytesIO(bytes(content)))
        kind, pixels = image.format, image.size[0] * image.size[1]
    except Exception:
        kind, pixels = None, 0
    if kind not in IMAGE_FORMATS:
        formats = ", ".join(name for name in IMAGE_FORMATS if name != "MPO")
        raise RequestError("this is not an image that can be read: send {}".format(formats))
    if pixels > limit("DLC_MAX_PIXELS"):
        found = "{} x {} = {}".format(image.size[0], image.size[1], pixels)
        raise too_large("pixels of the image", found, "DLC_MAX_PIXELS")
    try:
        return image.convert("RGB")
    except Exception as error:
        message = "the {} image cannot be decoded: {}"
        raise RequestError(message.format(kind, type(error).__name__)) from None


def decode_image(content):
    return {"inputs": read_image(content)}


# Sound


def decode_audio(content):
    """The bytes themselves: how many samples a second is known to the model only."""
    return {"inputs": bytes(content)}


def read_sound(content, sampling_rate):
    """Samples of one channel. It takes the place of what Transformers calls ffmpeg_read."""
    import numpy  # noqa: PLC0415

    seconds = limit("DLC_MAX_AUDIO_SECONDS")
    command = ["ffmpeg", "-protocol_whitelist", "pipe"]
    command += ["-format_whitelist", SOUND_FORMATS, "-t", str(seconds + 1), "-i", "pipe:0"]
    command += ["-map", "0:a:0", "-ac", "1", "-ar", str(int(sampling_rate)), "-f", "f32le"]
    command += ["-hide_banner", "-loglevel", "quiet", "pipe:1"]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except FileNotFoundError:
        raise ValueError("this image has no ffmpeg to read sound with") from None
    try:
        output = process.communicate(bytes(content), timeout=SOUND_SECONDS)[0]
    except subprocess.TimeoutExpired:
        message = "the sound takes longer than {} s to decode"
        raise RequestError(message.format(SOUND_SECONDS)) from None
    finally:
        process.kill()
        process.wait()
    samples = numpy.frombuffer(output[: len(output) // 4 * 4], numpy.float32)
    if samples.shape[0] == 0:
        raise RequestError("this is not sound that can be read: send WAV, FLAC, MP3, OGG or M4A")
    check_seconds(samples.shape[0], sampling_rate)
    return samples


def check_seconds(count, sampling_rate):
    if not count <= limit("DLC_MAX_AUDIO_SECONDS") * sampling_rate:
        raise too_large("seconds of sound", "more", "DLC_MAX_AUDIO_SECONDS")


# In the toolkit's place


def replace_decoders():
    """Put these where the toolkits keep theirs, by content type; no type is added."""
    from sagemaker_huggingface_inference_toolkit import decoder_encoder  # noqa: PLC0415
    from sagemaker_inference import decoder, encoder  # noqa: PLC0415

    # `decoder` makes arrays of JSON and CSV, as the other does of CSV in toolkit 1.0.
    arrays = {"application/x-npy": decode_npy, "application/x-npz": decode_npz}
    texts = {"application/json": decode_json}
    if hasattr(decoder_encoder, "decode_csv"):
        texts["text/csv"] = decoder_encoder.decode_csv = decode_csv
    decoder_encoder._encoder_map["application/json"] = lambda answer, *_: encode_json(answer)
    decoder_encoder.encode_json = lambda answer, *_: encode_json(answer)
    replace(decoder._decoder_map, arrays)
    replace(decoder_encoder._decoder_map, dict(arrays, **texts))
    for module in (encoder, decoder_encoder):
        module._encoder_map["application/x-npy"] = encode_npy
    for module in (decoder, decoder_encoder):
        module._npy_to_numpy = decode_npy
        module._npz_to_sparse = decode_npz
    decoder_encoder.decode_json = decode_json
    decoder_encoder.decode_image = decode_image


def replace(decoders, ours):
    for kind in list(decoders):
        if kind.startswith("image/"):
            decoders[kind] = decode_image
        elif kind.startswith("audio/"):
            decoders[kind] = decode_audio
        elif kind in ours:
            decoders[kind] = ours[kind]


def replace_sound_reader(modules):
    """Put ours where Transformers reads sound with ffmpeg, also for code of the team's own."""
    for name, module in list(modules.items()):
        if name.startswith("transformers.") and "ffmpeg_read" in vars(module):
            module.ffmpeg_read = read_sound

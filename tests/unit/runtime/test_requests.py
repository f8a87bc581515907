"""What may reach a pipeline: addresses, parameters, arrays and media of a request."""

import base64
import importlib
import io
import ipaddress
import pickle
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tests.quiet_server import QuietServer

FILES = Path(__file__).parents[3] / "runtime"


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FILES)
    for name in ("DLC_INPUT_URLS", "DLC_INPUT_NETWORKS", "DLC_ALLOW_PARAMETERS"):
        monkeypatch.delenv(name, raising=False)


def module(name: str) -> Any:
    return importlib.import_module(name)


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(module("dlc_limits").RequestError) as caught:
        call(*arguments)
    message: str = caught.value.message
    assert caught.value.code in (400, 413)
    return message


# Addresses


@pytest.mark.parametrize(
    ("url", "prefix", "same"),
    [
        ("https://a.example/b/c.png", "https://a.example/b/", True),
        ("https://a.example/b/c.png", "https://a.example/b", True),
        ("https://A.example:443/b/c", "https://a.example/", True),
        ("https://a.example", "https://a.example/", True),
        ("http://a.example/b", "https://a.example/", False),
        ("https://a.example.evil/b", "https://a.example/", False),
        ("https://a.example/bc", "https://a.example/b", False),
        ("https://a.example/b/../c", "https://a.example/b/", False),
        ("https://a.example/b/%2e%2e/c", "https://a.example/b/", False),
        ("https://a.example/b/%252e%252e/c", "https://a.example/b/", False),
        ("https://a.example/b\\..\\c", "https://a.example/b", False),
        ("https://a.example@evil/", "https://a.example/", False),
        ("https://x:y@a.example/", "https://a.example/", False),
        ("https://a.example:444/", "https://a.example/", False),
        ("https://a.example:x/", "https://a.example/", False),
        ("https://[::1/", "https://a.example/", False),
        ("https://a.example/\r\nHost: b", "https://a.example/", False),
        ("file:///etc/passwd", "file:///etc/", False),
    ],
)
def test_prefixes_of_urls(url: str, prefix: str, same: bool) -> None:
    assert module("dlc_fetch").matches(url, prefix) is same


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.1.1", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1"),  # noqa: S104
        *("::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "ff02::1"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not module("dlc_fetch").may_ask(ipaddress.ip_address(address), [])


def test_networks_that_the_operator_allows() -> None:
    may_ask = module("dlc_fetch").may_ask
    allowed = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("169.254.0.0/16")]
    assert may_ask(ipaddress.ip_address("10.1.2.3"), allowed)
    assert may_ask(ipaddress.ip_address("::ffff:10.1.2.3"), allowed)
    assert may_ask(ipaddress.ip_address("8.8.8.8"), [])
    assert not may_ask(ipaddress.ip_address("169.254.1.1"), allowed)  # never


class Files(BaseHTTPRequestHandler):
    """A server of files, one of which redirects, one is large, and one never ends."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        Files.asked.append(self.path)
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()
        try:
            if self.path == "/large":
                self.wfile.write(bytes(1_100_000))
            elif self.path == "/slow":
                for _ in range(600):
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            else:
                self.wfile.write(b"content")
        except OSError:
            pass  # the client has had enough

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def files() -> Iterator[str]:
    Files.asked.clear()
    with QuietServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def fetch(url: str) -> bytes:
    """A request with one URL."""
    found: bytes = module("dlc_fetch").fetch(url, module("dlc_fetch").Budget())
    return found


def test_nothing_is_fetched_by_default(files: str) -> None:
    assert "DLC_INPUT_URLS" in refused(fetch, f"{files}/good")
    assert Files.asked == []


def test_what_is_allowed_is_fetched(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_INPUT_URLS", f"https://other.example/ {files}/")
    assert "not public" in refused(fetch, f"{files}/good")
    assert Files.asked == []
    monkeypatch.setenv("DLC_INPUT_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("DLC_MAX_DOWNLOAD_MB", "1")
    monkeypatch.setenv("DLC_MAX_DOWNLOAD_SECONDS", "1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert fetch(f"{files}/good") == b"content"
    assert "redirects" in refused(fetch, f"{files}/redirect")
    assert "404" in refused(fetch, f"{files}/none")
    assert "DLC_MAX_DOWNLOAD_MB" in refused(fetch, f"{files}/large")
    assert "DLC_MAX_DOWNLOAD_SECONDS" in refused(fetch, f"{files}/slow")
    assert Files.asked == ["/good", "/redirect", "/none", "/large", "/slow"]


def test_a_host_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, 1, 6, "", (each, 80)) for each in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(module("dlc_fetch"), "download", lambda *_: pytest.fail("it was asked"))
    monkeypatch.setenv("DLC_INPUT_URLS", "http://a.example/")
    assert "not public" in refused(fetch, "http://a.example/x")


@pytest.fixture
def short(files: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server of files, allowed for a second or a megabyte."""
    monkeypatch.setenv("DLC_INPUT_URLS", f"{files}/")
    monkeypatch.setenv("DLC_INPUT_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("DLC_MAX_DOWNLOAD_SECONDS", "1")
    monkeypatch.setenv("DLC_MAX_DOWNLOAD_MB", "1")
    return files


def test_the_urls_of_a_request_share_its_limits(short: str) -> None:
    budget = module("dlc_fetch").Budget()
    budget.most = 12
    assert module("dlc_fetch").fetch(f"{short}/good", budget) == b"content"
    assert "DLC_MAX_DOWNLOAD_MB" in refused(module("dlc_fetch").fetch, f"{short}/good", budget)
    inputs = module("dlc_inputs")
    with inputs.Inputs("image-classification") as opened:
        assert "DLC_MAX_DOWNLOAD_SECONDS" in refused(opened.safe, f"{short}/slow")
        asked = list(Files.asked)
        assert "DLC_MAX_DOWNLOAD_SECONDS" in refused(opened.safe, [f"{short}/good"] * 2)
        assert Files.asked == asked


def test_a_name_server_that_does_not_answer(short: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(60))
    assert "DLC_MAX_DOWNLOAD_SECONDS" in refused(fetch, f"{short}/good")
    answered.set()


class Slow(threading.Thread):
    """A server by TLS that is slow to shake hands, and then sends a byte now and then for ever."""

    def __init__(self, context: ssl.SSLContext, pause: float) -> None:
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.context, self.pause, self.left = context, pause, threading.Event()

    def run(self) -> None:
        connection = self.listening.accept()[0]
        with self.listening, connection:
            time.sleep(self.pause)
            try:
                with self.context.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(4096)
                    secure.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    while not self.left.wait(0.1):
                        secure.sendall(b"x")
            except OSError:
                pass  # the client has had enough
        self.left.set()


@pytest.mark.parametrize("pause", [0.0, 0.9, 1.5])
def test_an_answer_that_never_ends(
    pause: float, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By TLS, and however late the handshake ends: its time-out is one of its own."""
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    monkeypatch.setattr(ssl, "create_default_context", lambda: client_side)
    server = Slow(server_side, pause)
    server.start()
    monkeypatch.setenv("DLC_INPUT_URLS", f"https://127.0.0.1:{server.port}/")
    assert "DLC_MAX_DOWNLOAD_SECONDS" in refused(fetch, f"https://127.0.0.1:{server.port}/x")
    assert server.left.wait(30)
    server.join(30)
    del short


# Parameters

LOADING = {
    "assistant_model": "a/b",
    "batch_size": 64,
    "custom_generate": "a/b",
    "device": 0,
    "model_kwargs": {"trust_remote_code": True},
    "num_workers": 12,
    "stopping_criteria": [],
    "tokenizer_encode_kwargs": {"chat_template": "{{ 1 }}"},
    "tesseract_config": "--x",
    "trust_remote_code": True,
}


@pytest.mark.parametrize("name", LOADING)
def test_parameters_that_load(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = module("dlc_parameters")
    given = {name: LOADING[name]}
    for task, options in [*parameters.TASKS.items(), ("a-task-of-our-own", {})]:
        assert repr(name) in refused(parameters.check_parameters, task, given)
        for nested, check in options.items():
            if isinstance(check, parameters.Options):
                inside = {nested: given}
                assert repr(name) in refused(parameters.check_parameters, task, inside)
    monkeypatch.setenv("DLC_ALLOW_PARAMETERS", f"other,{name}")
    parameters.check_parameters("text-generation", given)
    parameters.check_parameters("text-generation", {"generate_kwargs": given})


@pytest.mark.parametrize(
    ("task", "good"),
    [
        ("text-classification", {"top_k": None, "function_to_apply": "sigmoid", "padding": True}),
        ("sentiment-analysis", {"return_all_scores": True, "truncation": "longest_first"}),
        ("text-generation", {"max_new_tokens": 20, "do_sample": True, "temperature": 0.7}),
        ("text-generation", {"eos_token_id": [1, 2], "stop_sequence": "\n", "return_text": True}),
        ("summarization", {"min_length": 5, "max_length": 20, "num_beams": 4}),
        ("translation_en_to_fr", {"src_lang": "en_XX", "generate_kwargs": {"num_beams": 2}}),
        (
            "zero-shot-classification",
            {"candidate_labels": ["a"], "hypothesis_template": "a {}"},
        ),
        ("ner", {"aggregation_strategy": "simple", "ignore_labels": ["O"]}),
        ("automatic-speech-recognition", {"return_timestamps": "word", "chunk_length_s": 30}),
        (
            "automatic-speech-recognition",
            {"generate_kwargs": {"task": "translate"}},
        ),
        ("image-segmentation", {"threshold": 0.5, "subtask": "semantic"}),
        ("fill-mask", {"targets": ["a"], "tokenizer_kwargs": {"truncation": True}}),
        ("document-question-answering", {"lang": "deu", "word_boxes": [["a", [1, 2, 3, 4]]]}),
        ("text-to-image", {"num_inference_steps": 4, "negative_prompt": "x", "width": 512}),
        ("text-classification", None),
    ],
)
def test_parameters_of_the_documentation(task: str, good: Any) -> None:
    module("dlc_parameters").check_parameters(task, good)


@pytest.mark.parametrize(
    ("task", "bad", "why"),
    [
        ("text-generation", {"max_new_tokens": 10**9}, "an integer from 0 to 8192"),
        ("text-generation", {"max_new_tokens": "9"}, "parameters.max_new_tokens must be"),
        ("text-generation", {"num_return_sequences": 1000}, "from 1 to 16"),
        ("text-generation", {"temperature": float("nan")}, "a number"),
        ("text-generation", {"do_sample": 1}, "true or false"),
        ("text-generation", {"generate_kwargs": {"max_length": 1e9}}, "generate_kwargs.max_length"),
        ("text-generation", {"generate_kwargs": "x"}, "must be a JSON object"),
        ("text-classification", {"max_length": 10**9, "padding": "max_length"}, "max_length"),
        ("zero-shot-classification", {"hypothesis_template": "{:>4000000000}"}, "one {}"),
        ("zero-shot-classification", {"hypothesis_template": "{} {0.__class__}"}, "one {}"),
        ("zero-shot-classification", {"candidate_labels": ["a"] * 201}, "at most 200"),
        ("zero-shot-classification", {"candidate_labels": "a," * 200}, "at most 200 labels"),
        ("text-generation", {"stop_strings": ["a" * 33]}, "at most 32"),
        ("text-generation", {"generate_kwargs": {"stop_strings": ["a"] * 5}}, "at most 4"),
        ("document-question-answering", {"lang": "eng --psm 1"}, "language"),
    ],
)
def test_parameters_out_of_bounds(task: str, bad: Any, why: str) -> None:
    assert why in refused(module("dlc_parameters").check_parameters, task, bad)


class Features:
    """A pipeline of features of Transformers 4.22 and later, as far as it is looked at."""

    def _sanitize_parameters(self, truncation: Any, tokenize_kwargs: Any, **others: Any) -> None:
        """Nobody calls it: the names of what it takes are looked at."""


@pytest.mark.parametrize(
    ("task", "given", "taken"),
    [
        ("feature-extraction", {"max_length": 4}, {"tokenize_kwargs": {"max_length": 4}}),
        (
            "feature-extraction",
            {"truncation": True, "return_tensors": True, "tokenize_kwargs": {"max_length": 4}},
            {"return_tensors": True, "tokenize_kwargs": {"truncation": True, "max_length": 4}},
        ),
        ("feature-extraction", {"return_tensors": True}, {"return_tensors": True}),
        ("text-classification", {"max_length": 4}, {"max_length": 4}),
    ],
)
def test_parameters_as_a_pipeline_takes_them(
    task: str, given: dict[str, Any], taken: dict[str, Any]
) -> None:
    parameters = module("dlc_parameters")
    before = repr(given)
    assert parameters.as_taken(task, given, Features()) == taken
    assert parameters.as_taken(task, given, object()) == given  # a team's own, or an older one
    assert repr(given) == before


def test_a_parameter_that_is_given_twice() -> None:
    given = {"max_length": 4, "tokenize_kwargs": {"max_length": 5}}
    as_taken = module("dlc_parameters").as_taken
    assert refused(as_taken, "feature-extraction", given, Features()) == (
        "parameters.max_length is given twice, in tokenize_kwargs too"
    )


CHAT = [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(
    ("task", "body", "found"),
    [
        ("text-generation", {"inputs": "a", "parameters": {}}, "a"),
        ("text-generation", {"messages": CHAT, "parameters": {}}, CHAT),
        ("conversational", {"messages": CHAT}, CHAT),
        ("text-generation", {"inputs": "a", "messages": CHAT}, "a"),
        # No task of chats: as the toolkit reads it.
        ("text-classification", {"messages": CHAT}, {"messages": CHAT}),
        (
            "question-answering",
            {"question": "a", "context": "b"},
            {"question": "a", "context": "b"},
        ),
    ],
)
def test_the_inputs_of_a_body(task: str, body: dict[str, Any], found: Any) -> None:
    assert module("dlc_inputs").inputs_of(task, body) == found


def test_what_stands_beside_messages_is_not_passed_over() -> None:
    body = {"messages": CHAT, "model": "a", "max_tokens": 5, "parameters": {}}
    told = refused(module("dlc_inputs").inputs_of, "text-generation", body)
    assert told.startswith("beside messages there is max_tokens, model: ")


@pytest.mark.parametrize(
    "message", [{"role": "user"}, {"content": "a"}, {"role": 1, "content": "a"}, {}]
)
def test_messages_without_a_role_or_content(message: dict[str, Any]) -> None:
    inputs = module("dlc_inputs").Inputs("text-generation")
    for wrong in ([message], [*CHAT, message], [CHAT, [message]]):
        assert refused(inputs.safe, wrong).startswith("each message must have a role, and as conte")
    called: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": []}
    fine: tuple[Any, ...] = (CHAT, [*CHAT, called], ["a"], [CHAT, CHAT], "a")
    for right in fine:
        assert inputs.safe(right) == right


class TemplateError(Exception):
    """As jinja2's."""


def test_errors_that_the_inputs_are_to_blame_for() -> None:
    is_to_blame_for = module("dlc_inputs").is_to_blame_for
    mistaken = type("UndefinedError", (TemplateError,), {})
    errors = (ValueError(), KeyError(), TemplateError(), mistaken(), RuntimeError(), MemoryError())
    assert [is_to_blame_for(error) for error in errors] == [True] * 4 + [False] * 2


def leaves(options: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The names and checks of options, at every depth."""
    for name, check in options.items():
        if isinstance(check, module("dlc_parameters").Options):
            yield from leaves(check.options)
        else:
            yield name, check


def test_no_text_is_a_format_a_template_or_an_expression() -> None:
    """But for the one that is looked at as such; and no text may be longer than its use needs."""
    parameters = module("dlc_parameters")
    for options in parameters.TASKS.values():
        for name, check in leaves(options):
            if re.search("template|format|pattern|regex|expression|config", name):
                assert check is parameters.template, name
            assert check("x" * 100_000), name
            assert name == "use_cache" or "cache" not in name


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.data(), VALUES)
def test_any_value_is_taken_or_refused(data: st.DataObject, value: Any) -> None:
    parameters = module("dlc_parameters")
    task = data.draw(st.sampled_from(sorted(parameters.TASKS)))
    names = st.sampled_from(sorted(parameters.TASKS[task])) | st.text()
    try:
        parameters.check_parameters(task, {data.draw(names): value})
    except module("dlc_limits").RequestError as error:
        assert error.code == 400


# Arrays


class Ran:
    """A pickle that says so when it is read."""

    ran = False

    def __reduce__(self) -> Any:
        return setattr, (Ran, "ran", True)


def npy(header: str, values: bytes = b"", version: int = 1) -> bytes:
    text = header.encode() + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + values


def test_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = pytest.importorskip("numpy")
    decode = module("dlc_decode").decode_npy
    for array in (numpy.arange(6.0).reshape(2, 3), numpy.array(["a", "bc"]), numpy.array(1)):
        file = io.BytesIO()
        numpy.save(file, array)
        assert (decode(bytearray(file.getvalue())) == array).all()
    pickled = io.BytesIO()
    numpy.save(pickled, numpy.array([Ran()], dtype=object), allow_pickle=True)
    assert "Python objects" in refused(decode, pickled.getvalue())
    assert not Ran.ran
    head = "{'descr': %r, 'fortran_order': False, 'shape': %s}"
    for wrong in (
        pickle.dumps(Ran()),
        b"PK\x03\x04" + bytes(100),
        b"",
        npy(head % ("<f8", "(10**12,)")),
        npy(head % ("<f8", "(1000000000000,)"), bytes(8)),
        npy(head % ("<f8", "(-1,)"), bytes(8)),
        npy(head % ("|V0", "(1000000000,)"), bytes(8)),
        npy("(" * 20_000, version=2),
        npy(head % ("|O", "(1,)"), pickle.dumps(Ran())),
    ):
        refused(decode, wrong)
    assert not Ran.ran
    del monkeypatch


# Media


def test_media_are_never_names(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    inputs = module("dlc_inputs")
    monkeypatch.setattr(inputs, "read_image", lambda content: ("image", bytes(content)))
    monkeypatch.setattr(inputs, "read_sound", lambda content, rate: (rate, bytes(content)))
    names = ["http://a.example/x.png", "https://a.example/x", " file:///etc/passwd", "/etc/passwd"]
    names += ["../x.png", "concat:/a|/b", "data:text/plain,x", "s3://b/k", "pipe:0", "/"]
    for task in (*inputs.SOUND, *inputs.VIDEO, *inputs.IMAGES, *inputs.MIXED):
        safe = inputs.Inputs(task, 16_000).safe
        for name in names:
            for shape in (name, [name], [[name]]):
                refused(safe, shape)
            if task in inputs.SOUND:
                refused(safe, {"raw": name, "sampling_rate": 16_000})
                refused(safe, {"path": name})
            elif task not in inputs.VIDEO:
                refused(safe, {"image": name, "question": "what?"})
                refused(safe, {"url": name})
    part = {"type": "image", "url": names[0]}
    refused(inputs.Inputs("image-text-to-text").safe, [{"role": "user", "content": [part]}])


def test_media_in_base64(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = module("dlc_inputs")
    monkeypatch.setattr(inputs, "read_image", lambda content: ("image", bytes(content)))
    monkeypatch.setattr(inputs, "read_sound", lambda content, rate: (rate, bytes(content)))
    text = base64.encodebytes(b"content" * 20).decode()
    image = ("image", b"content" * 20)
    safe = inputs.Inputs("visual-question-answering").safe
    asked = {"image": text, "question": "/what?"}
    assert safe(asked) == {"image": image, "question": "/what?"}
    assert inputs.Inputs("image-classification").safe([text]) == [image]
    assert inputs.Inputs("image-classification").safe("data:image/png;base64," + text) == image
    assert inputs.Inputs("audio-classification", 8_000).safe(text) == (8_000, b"content" * 20)
    chat = [{"role": "user", "content": [{"type": "image", "base64": text}]}]
    assert inputs.Inputs("image-text-to-text").safe(chat) == [
        {"role": "user", "content": [{"type": "image", "image": image}]}
    ]


def test_texts_stay_texts() -> None:
    inputs = module("dlc_inputs")
    for task in ("text-generation", "translation_en_to_fr", "question-answering"):
        for value in ("https://a.example/", "/etc/passwd", {"question": "/etc/passwd"}):
            assert inputs.Inputs(task).safe(value) == value
    own = inputs.Inputs("a-task-of-our-own").safe
    assert own(["text", {"a": 1}]) == ["text", {"a": 1}]
    for named in ("https://a.example/", "/etc/passwd", {"a": ["/etc/passwd"]}):
        refused(own, named)


def test_sound_in_numbers() -> None:
    pytest.importorskip("numpy")
    safe = module("dlc_inputs").Inputs("automatic-speech-recognition", 16_000).safe
    found = safe({"raw": [0.0, 0.5], "sampling_rate": 8_000})
    assert (list(found["raw"]), found["sampling_rate"]) == ([0.0, 0.5], 8_000)
    for wrong in (
        {"raw": [0.0]},
        {"raw": [0.0], "sampling_rate": 1},
        {"raw": [[0.0]], "sampling_rate": 8_000},
        {"raw": ["a"], "sampling_rate": 8_000},
        {"raw": [0.0], "sampling_rate": 8_000, "url": "x"},
    ):
        refused(safe, wrong)


def test_a_video_is_one_by_its_first_bytes() -> None:
    inputs = module("dlc_inputs")
    with inputs.Inputs("video-classification") as opened:
        path = Path(opened.safe(base64.b64encode(b"\0\0\0\x18ftypmp42rest").decode()))
        assert path.read_bytes() == b"\0\0\0\x18ftypmp42rest"
    assert not path.exists()
    for wrong in (b"#EXTM3U\nhttp://a", b"    ftyp<MPD", b"<MPD>", b"ffconcat version 1.0"):
        refused(inputs.Inputs("video-classification").safe, base64.b64encode(wrong).decode())


def test_limits_of_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = module("dlc_limits")
    assert limits.check_limits() is None
    monkeypatch.setenv("DLC_MAX_ROWS", "")
    assert limits.limit("DLC_MAX_ROWS") == 10_000
    for wrong in ("0", "-1", "many"):
        monkeypatch.setenv("DLC_MAX_ROWS", wrong)
        assert limits.check_limits() == f"DLC_MAX_ROWS is {wrong!r}; it must be a positive number"

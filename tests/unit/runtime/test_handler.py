"""The handler of workers: what a pipeline gets of a request, and what the client is told."""

import gzip
import importlib
import json
import logging
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

FILES = Path(__file__).parents[3] / "runtime"
TOOLKIT = "sagemaker_huggingface_inference_toolkit"


class PredictionException(Exception):  # noqa: N818 multi-model-server's own name
    """As multi-model-server's."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        self.message = message
        self.error_code = error_code
        super().__init__(message)


class Pipeline:
    """Stands for one of Transformers: it answers with what it is called with."""

    model = None

    def __init__(self, task: str) -> None:
        self.task = task

    def __call__(self, inputs: Any, **parameters: Any) -> Any:
        if inputs == "raise":
            raise ValueError("/opt/venv/lib/x.py does not take it, token s3cret")
        if inputs == "exit":
            sys.exit("no more")
        return {"inputs": inputs, "parameters": parameters}


class Toolkit:
    """Stands for the toolkit's handler, with its methods as versions 1.0 to 2.6 have them."""

    failures = 0
    hooks: ClassVar[dict[str, Callable[..., Any]]] = {}
    made: Any = Pipeline("text-classification")

    def __init__(self) -> None:
        self.initialized = False
        self.context: Any = None

    def initialize(self, context: Any) -> None:
        self.context = context
        if Toolkit.failures:
            Toolkit.failures -= 1
            raise ValueError("no\nweights")
        for name, hook in Toolkit.hooks.items():
            setattr(self, name, hook)
        self.model = Toolkit.made
        self.initialized = True

    def preprocess(self, body: Any, kind: str, context: Any = None) -> Any:
        del context
        return sys.modules[f"{TOOLKIT}.decoder_encoder"]._decoder_map[kind](body)

    def predict(self, data: Any, model: Any, context: Any = None) -> Any:
        del context
        inputs = data.pop("inputs", data)
        return model(inputs, **(data.pop("parameters", None) or {}))

    def postprocess(self, prediction: Any, accept: str, context: Any = None) -> Any:
        del context
        return sys.modules[f"{TOOLKIT}.decoder_encoder"].encode(prediction, accept)

    def transform_fn(self, model: Any, body: Any, kind: str, accept: str) -> Any:
        data = self.preprocess(body, kind)
        return self.postprocess(self.predict(data, model), accept)

    def load(self, model_dir: str, context: Any = None) -> Any: ...


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.syspath_prepend(FILES)
    ready = importlib.import_module("dlc_ready")
    monkeypatch.setattr(ready, "failure_directory", lambda: str(tmp_path))
    monkeypatch.setattr(Toolkit, "failures", 0)
    monkeypatch.setattr(Toolkit, "hooks", {})
    monkeypatch.setattr(Toolkit, "made", Pipeline("text-classification"))
    return tmp_path


@pytest.fixture
def handler(room: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    del room

    def create(answer: Any, requests: Any, message: str, code: int, context: Any = None) -> Any:
        del requests, context
        return message.encode(), code, answer

    def encode(value: Any, kind: str) -> str:
        assert kind in maps["_encoder_map"]
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    kinds = ("application/json", "text/csv", "application/x-npy", "image/png", "audio/wave")
    maps: dict[str, Any] = {
        "_decoder_map": dict.fromkeys(kinds, None),
        "_encoder_map": dict.fromkeys(kinds[:3], encode),
    }
    modules: dict[str, dict[str, Any]] = {
        TOOLKIT: {},
        f"{TOOLKIT}.handler_service": {
            "HuggingFaceHandlerService": Toolkit,
            "get_pipeline": None,
            "infer_task_from_model_architecture": None,
        },
        f"{TOOLKIT}.decoder_encoder": {"decode_csv": None, "encode": encode, **maps},
        "transformers": {"is_torch_available": lambda: True},
        "transformers.pipelines": {"pipeline": None},
        "sagemaker_inference": {},
        "sagemaker_inference.decoder": {"_decoder_map": dict.fromkeys(kinds[:3], None)},
        "sagemaker_inference.encoder": {"_encoder_map": dict.fromkeys(kinds[:3], None)},
        "mms": {},
        "mms.service": {
            "PredictionException": PredictionException,
            "create_predict_response": create,
        },
    }
    for name, values in modules.items():
        module = types.ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)
    return importlib.import_module("dlc_handler").HandlerService()


class Context:
    """What multi-model-server hands a handler beside the data."""

    model_name = "org/a model"

    def __init__(self, **headers: str) -> None:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        properties = {"body": {"content-type": "x"}, **given}
        self.request_processor = [types.SimpleNamespace(get_request_properties=lambda: properties)]
        self.content_type = ""
        self.status = 200
        self.system_properties: dict[str, str] = {}

    def get_request_id(self, index: int) -> str:
        return f"request-{index}"

    def set_response_status(self, code: int, phrase: str, index: int) -> None:
        del phrase, index
        self.status = code

    def set_response_content_type(self, index: int, value: str) -> None:
        del index
        self.content_type = value


def ask(handler: Any, body: bytes | str | dict[str, Any], **headers: str) -> tuple[int, Any, str]:
    """Status, answer or message, and content type."""
    if isinstance(body, dict):
        body = json.dumps(body)
    context = Context(**headers)
    data = [{"body": bytearray(body.encode() if isinstance(body, str) else body)}]
    [answer] = handler.handle(data, context)
    assert isinstance(answer, bytes)
    if context.status == 200:
        return 200, answer.decode(), context.content_type
    assert context.content_type == "application/json"
    error = json.loads(answer.decode("ascii"))
    assert error.keys() == {"code", "type", "message", "request_id"}
    assert (error["code"], error["request_id"]) == (context.status, "request-0")
    return context.status, error["message"], ""


# Loading


def test_handler_that_loads_leaves_nothing(handler: Any, room: Path) -> None:
    handler.initialize(Context())
    assert ask(handler, {"inputs": "x"})[0] == 200
    assert list(room.iterdir()) == []


@pytest.mark.parametrize(("level", "told"), [("INFO", False), ("DEBUG", True)])
def test_seconds_of_each_step_are_for_debugging(
    handler: Any, caplog: pytest.LogCaptureFixture, level: str, *, told: bool
) -> None:
    toolkit = logging.getLogger("sagemaker_huggingface_inference_toolkit.handler_service")
    caplog.set_level(logging.NOTSET, toolkit.name)
    caplog.set_level(level)
    handler.initialize(Context())
    assert toolkit.isEnabledFor(logging.INFO) == told
    assert toolkit.isEnabledFor(logging.WARNING)


def test_handler_that_fails_keeps_the_reason_until_it_loads(
    handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ready = importlib.import_module("dlc_ready")
    Toolkit.failures = 2
    handler.initialize(Context())
    assert ready.why_not_loaded("org/a model") == "ValueError: no weights"
    assert ready.why_not_loaded("org") is None
    assert [record.getMessage() for record in caplog.records] == ["Model org/a model did not load"]
    assert ask(handler, {"inputs": "x"}) == (
        503,
        "the model did not load: ValueError: no weights",
        "",
    )
    assert ask(handler, {"inputs": "x"})[0] == 200
    assert ready.why_not_loaded("org/a model") is None


def test_a_model_that_ends_the_process_did_not_load(
    handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = importlib.import_module("dlc_ready")
    monkeypatch.setattr(Toolkit, "initialize", lambda *_: sys.exit("no licence key"))
    handler.initialize(Context())
    assert ready.why_not_loaded("org/a model") == "SystemExit: no licence key"
    assert ask(handler, {"inputs": "x"})[0] == 503


def test_a_client_is_told_all_tasks_where_a_model_has_none_of_them(
    handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "available tasks are " + "a-task, " * 100 + "text-classification"
    monkeypatch.setattr(Toolkit, "initialize", lambda *_: sys.exit(why))
    assert ask(handler, {"inputs": "x"})[1].endswith("text-classification")


def test_reason_of_a_worker_that_has_ended_does_not_count(room: Path) -> None:
    ready = importlib.import_module("dlc_ready")
    room.joinpath("a.999999999").write_text("gone")
    assert not Path("/proc/999999999").exists()
    assert ready.why_not_loaded("a") is None


def test_requirements_count_in_multi_model_mode(
    handler: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "model" / "code"
    folder.mkdir(parents=True)
    folder.joinpath("requirements.txt").write_text("no-such-package")
    context = Context()
    context.system_properties = {"model_dir": str(folder.parent)}
    handler.initialize(context)
    ready = importlib.import_module("dlc_ready")
    assert ready.why_not_loaded("org/a model") is None
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    handler.initialize(context)
    assert "asks for no-such-package" in ready.why_not_loaded("org/a model")


def test_toolkit_that_does_not_import_is_told(
    handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = importlib.import_module("dlc_ready")
    monkeypatch.setitem(sys.modules, f"{TOOLKIT}.handler_service", None)
    handler.initialize(Context())
    assert "handler_service" in ready.why_not_loaded("org/a model")
    assert ask(handler, {"inputs": "x"})[0] == 500


# Requests


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/json",
        "Application/JSON",
        'application/json; charset="utf-8"',
        "application/vnd.api+json",
        "text/json",
    ],
)
def test_json_by_any_name(handler: Any, kind: str) -> None:
    for body in (b'{"inputs": "x"}', b'\xef\xbb\xbf{"inputs": "x"}'):
        status, answer, told = ask(handler, body, **{"Content-Type": kind})
        assert (status, told) == (200, "application/json"), answer
        assert json.loads(answer) == {"inputs": "x", "parameters": {}}


def test_charsets(handler: Any) -> None:
    body = '{"inputs": "ä"}'
    for name in ("iso-8859-1", "utf-16", "UTF8"):
        kind = {"content-type": f"application/json;charset={name}"}
        assert json.loads(ask(handler, body.encode(name), **kind)[1])["inputs"] == "ä"
    for name in ("utf-7", "rot13", "zlib", "nothing\0"):
        kind = {"content-type": f"application/json;charset={name}"}
        status, message, _ = ask(handler, body, **kind)
        assert (status, "send UTF-8" in message) == (400, True)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/html, application/json;q=0.9, */*;q=0.8", "application/json"),
        ("application/json;q=0.1, TEXT/CSV", "text/csv"),
        ("application/json;q=0, text/csv;q=0.1", "text/csv"),
        ("application/json; charset=utf-8", "application/json; charset=utf-8"),
        ("image/webp, */*", "application/json"),
    ],
)
def test_the_best_type_that_the_client_accepts(handler: Any, accept: str, kind: str) -> None:
    assert ask(handler, {"inputs": "x"}, accept=accept)[::2] == (200, kind)


def test_types_that_are_not_supported(handler: Any) -> None:
    status, message, _ = ask(handler, {"inputs": "x"}, accept="text/html")
    assert (status, "accept one of application/json" in message) == (400, True)
    status, message, _ = ask(handler, "a=b", **{"content-type": "text/plain"})
    assert (status, "send one of application/json" in message) == (400, True)


def test_what_the_toolkit_cannot_decode_is_an_error_of_the_request(
    handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: Any) -> None:
        raise ValueError("line 3 has 2 columns")

    handler.initialize(Context())
    maps = sys.modules[f"{TOOLKIT}.decoder_encoder"]._decoder_map
    monkeypatch.setitem(maps, "text/csv", decode)
    status, message, _ = ask(handler, "a,b", content_type="text/csv")
    assert (status, message) == (400, "ValueError: line 3 has 2 columns")


def test_json_lines(handler: Any) -> None:
    kind = {"content-type": "application/jsonlines"}
    body = '{"inputs": "a"}\n\n{"inputs": "b"}\n'
    assert json.loads(ask(handler, body, **kind)[1])["inputs"] == ["a", "b"]
    assert ask(handler, "\n", **kind)[0] == 400
    Toolkit.hooks = {"predict": lambda *_: [{"a": 1}, {"a": 2}]}
    handler._service = None
    wanted = (200, '{"a":1}\n{"a":2}\n', "application/jsonlines")
    assert ask(handler, body, accept="application/jsonlines", **kind) == wanted


def test_lines_end_where_json_lines_do(handler: Any) -> None:
    body = '{"inputs": "a\u2028b\x85c"}\r\n{"inputs": "d"}'
    found = ask(handler, body, **{"content-type": "application/x-ndjson"})[1]
    assert json.loads(found)["inputs"] == ["a\u2028b\x85c", "d"]


def test_other_characters_are_escaped_unless_utf8_is_asked_for(handler: Any) -> None:
    body = {"inputs": "ä"}
    assert '"\\u00e4"' in ask(handler, body)[1]
    for accept in ("application/json;charset=UTF-8", 'x/y, application/jsonlines; charset="utf8"'):
        status, answer, kind = ask(handler, body, accept=accept)
        assert (status, '"ä"' in answer, kind.endswith("; charset=utf-8")) == (200, True, True)


def test_a_type_that_the_answer_cannot_be_is_passed_over(
    handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def image(answer: Any, kind: str) -> bytes:
        del kind
        saved: bytes = answer.save()
        return saved

    encoders = sys.modules[f"{TOOLKIT}.decoder_encoder"]._encoder_map
    monkeypatch.setitem(encoders, "image/webp", image)
    monkeypatch.setattr(
        sys.modules[f"{TOOLKIT}.decoder_encoder"], "encode", lambda value, k: encoders[k](value, k)
    )
    browser = "text/html,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
    assert ask(handler, {"inputs": "x"}, accept=browser)[::2] == (200, "application/json")
    status, message, _ = ask(handler, {"inputs": "x"}, accept="image/webp, text/html")
    assert (status, message) == (
        400,
        "the answer of this model cannot be image/webp: accept application/json",
    )


def test_a_type_that_nobody_writes_is_refused_before_the_model_is_asked(handler: Any) -> None:
    Toolkit.hooks = {"predict": lambda *_: pytest.fail("it was asked")}
    assert ask(handler, {"inputs": "x"}, accept="text/html")[0] == 400


def zipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def test_bodies_in_gzip(handler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    body = zipped(b'{"inputs": ') + zipped(b'"x"}')
    for coding in ("gzip", "GZIP", "x-gzip", "identity, gzip"):
        assert ask(handler, body, **{"content-encoding": coding})[0] == 200
    assert ask(handler, {"inputs": "x"}, **{"content-encoding": "identity"})[0] == 200
    refused = {
        "not gzip": (b"{}", zipped(b"{}")[:-1], body + b"?", zipped(b"") * 101),
        "send gzip": (body,),
    }
    for why, bodies in refused.items():
        for each in bodies:
            coding = "gzip" if why == "not gzip" else "br"
            status, message, _ = ask(handler, each, **{"content-encoding": coding})
            assert (status, why in message) == (400, True), message
    monkeypatch.setenv("MMS_MAX_REQUEST_SIZE", "1000")
    bomb = zipped(zipped(bytes(10_000_000)) + bytes(2_000))
    for each in (bomb, zipped(b"1" * 600) * 2):
        status, message, _ = ask(handler, each, **{"content-encoding": "gzip"})
        assert (status, "larger than 1000 bytes" in message) == (413, True), message
    assert ask(handler, zipped(b"1" * 1000), **{"content-encoding": "gzip"})[0] == 400


def test_a_form_is_told_what_to_send(handler: Any) -> None:
    context = Context(**{"content-type": "application/x-www-form-urlencoded"})
    [answer] = handler.handle([{"inputs": b"x"}], context)
    assert "send the body with Content-Type: application/json" in json.loads(answer)["message"]
    assert context.status == 400


def test_the_log_has_the_traceback_under_the_id(
    handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for given, told in (("raise", "request-0 refused"), ("exit", "request-0 could not")):
        caplog.clear()
        with caplog.at_level("INFO"):
            ask(handler, {"inputs": given})
        [record] = [each for each in caplog.records if told in each.getMessage()]
        assert record.exc_info
        assert record.exc_info[0] is not None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"[1]", "with the key inputs"),
        (b"\xff", "not utf-8: byte 0"),
        (b"[" * 101 + b"]" * 101, "limit is 100 (DLC_MAX_JSON_DEPTH)"),
        (b'{"inputs": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"inputs": "x", "parameters": [1]}', "must be a JSON object"),
        (b'{"inputs": {"text": "x", "max_length": 9}}', "text and text_pair"),
        (json.dumps({"inputs": ["x"] * 10_001}).encode(), "limit is 10000 (DLC_MAX_ROWS)"),
    ],
)
def test_bodies_that_are_refused(handler: Any, body: bytes, why: str) -> None:
    status, message, _ = ask(handler, body)
    assert status in (400, 413)
    assert why in message


def test_no_secret_and_no_path_in_an_error(handler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    assert ask(handler, {"inputs": "raise"})[:2] == (
        400,
        "ValueError: [path] does not take it, token ***",
    )


def test_a_word_is_no_secret(handler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    body = {"inputs": "x", "parameters": {"return_all_scores": 1}}
    assert ask(handler, body)[1].endswith("must be true or false")
    clean = importlib.import_module("dlc_handler").clean
    assert clean("no http://me:pw@proxy:1/x") == "no http://***@proxy:1/x"


def test_a_model_that_ends_the_process_is_an_error(handler: Any) -> None:
    assert ask(handler, {"inputs": "exit"})[:2] == (500, "SystemExit: no more")


def test_lone_surrogates_do_not_end_a_worker(handler: Any) -> None:
    body = b'{"inputs": "\\ud83d"}'
    assert ask(handler, body)[0] == 200
    status, message, _ = ask(handler, b'{"inputs": "x", "parameters": {"\\ud83d": 1}}')
    message.encode()
    assert status == 400


def test_an_answer_that_cannot_be_sent_is_an_error(handler: Any) -> None:
    handler.initialize(Context())
    create = sys.modules["mms.service"].create_predict_response
    assert create(None, {}, "good", 200) == (b"good", 200, None)
    assert create(None, {}, "\ud83d", 200) == (b"The answer cannot be sent", 500, None)


def test_parameters_of_what_the_toolkit_makes(
    handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrapped_pipeline(inputs: Any, **parameters: Any) -> Any:
        return {"generated_text": inputs["text"], **parameters}

    body = {"inputs": {"text": "Is it?"}, "parameters": {"max_length": 9}}
    wrong = {**body, "parameters": {"trust_remote_code": True}}
    for made in (wrapped_pipeline, lambda inputs, **parameters: (inputs, parameters)):
        monkeypatch.setattr(Toolkit, "made", made)
        handler._service = None
        assert ask(handler, body)[0] == 200
        assert "trust_remote_code" in ask(handler, wrong)[1]
        assert ask(handler, wrong)[0] == 400
    Toolkit.hooks = {"load": lambda *_: made}
    handler._service = None
    assert ask(handler, wrong)[0] == 200


# Hooks


def test_what_hooks_may_answer(handler: Any) -> None:
    answers = {
        "text": ("text", "text/x-own"),
        "bytes": (b"text", "text/x-own"),
        "pair": (("text", "text/x-other"), "text/x-own"),
    }
    for name, (answer, accept) in answers.items():
        Toolkit.hooks = {"postprocess": lambda *_, answer=answer: answer}
        handler._service = None
        wanted = "text/x-other" if name == "pair" else accept
        assert ask(handler, {"inputs": "x"}, accept=accept) == (200, "text", wanted)


def test_what_cannot_be_of_the_type_that_was_asked_for_is_json(handler: Any) -> None:
    def encode(*_: Any) -> None:
        raise ValueError("no matrix")

    Toolkit.hooks = {"postprocess": lambda *_: {"a": 1}}
    handler.initialize(Context())
    sys.modules[f"{TOOLKIT}.decoder_encoder"].encode = encode  # type: ignore[attr-defined]
    found = ask(handler, {"inputs": "x"}, accept="application/x-npy")
    assert found == (200, '{"a":1}', "application/json")


def test_the_type_of_an_answer_fits_in_a_header(handler: Any) -> None:
    Toolkit.hooks = {"postprocess": lambda *_: "x"}
    assert ask(handler, {"inputs": "x"}, accept="text/pl\xe4in")[2] == "text/pl?in"


def test_status_of_the_teams_exceptions(handler: Any) -> None:
    def limited(*_: Any) -> None:
        raise PredictionException("quota exceeded", 429)

    def broken(*_: Any) -> None:
        raise AssertionError

    Toolkit.hooks = {"predict": limited}
    assert ask(handler, {"inputs": "x"})[:2] == (429, "quota exceeded")
    for hook, status in (("predict", 500), ("postprocess", 500), ("preprocess", 400)):
        Toolkit.hooks = {hook: broken}
        handler._service = None
        assert ask(handler, {"inputs": "x"})[:2] == (status, "AssertionError")


def test_input_fn_gets_other_types_as_they_come(handler: Any) -> None:
    told: list[Any] = []

    def input_fn(body: Any, kind: str) -> dict[str, str]:
        told.append((type(body), kind))
        return {}

    Toolkit.hooks = {"preprocess": input_fn}
    for kind in ("multipart/x; boundary=B", "Application/JSON; a=b", "application/jsonlines"):
        ask(handler, {"inputs": "x"}, **{"content-type": kind})
    assert told == [
        (bytearray, "multipart/x; boundary=B"),
        (str, "application/json"),
        (bytearray, "application/jsonlines"),
    ]


HOOKS = {
    "data, model": False,
    "data, model, anything": True,
    "data, model, temperature=1.0": False,
    "data, model, context=None": True,
    "data, model, **kwargs": False,
    "*arguments": False,
    "data": None,
    "data, model, context, other": None,
    "data, model, *, deep": None,
}


@pytest.mark.parametrize("arguments", HOOKS)
def test_signatures_of_hooks(handler: Any, arguments: str) -> None:
    handler.initialize(Context())
    service, context = handler._service, HOOKS[arguments]
    hook = eval(f"lambda {arguments}: None")  # noqa: S307 texts of this file
    if context is None:
        with pytest.raises(TypeError, match="is given 2 arguments, or one more"):
            service.function_extra_arg(Toolkit.predict, hook)
    else:
        extra = service.function_extra_arg(Toolkit.predict, hook)
        assert extra == ([service.context] if context else [])


def test_a_hook_that_cannot_be_called_is_told_when_the_model_loads(handler: Any) -> None:
    Toolkit.hooks = {"predict": lambda data: data}
    handler.initialize(Context())
    status, message, _ = ask(handler, {"inputs": "x"})
    assert status == 503
    assert "(data) cannot be called: it is given 2 arguments" in message

"""Tasks whose pipelines Transformers removed: what is asked of a model, and made of its answer."""

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "runtime"
SETTINGS = ("max_length", "max_new_tokens", "num_beams", "pad_token_id")
# Of the test's models: what they say, each word a token.
WORDS = ["the", "a", "b", "c", "</s>", "hi", "there"]


class Settings:
    """Stands for a GenerationConfig: a setting that nobody gave is None."""

    def __init__(self, **given: Any) -> None:
        vars(self).update(dict.fromkeys(SETTINGS), **given)


class Tensor(list[Any]):
    """Stands for a tensor of PyTorch."""

    def to(self, device: str) -> "Tensor":
        assert device == "the device"
        return self

    def numpy(self) -> "Tensor":
        return self

    def tolist(self) -> list[Any]:
        return list(self)


class Model:
    """Generates the same each time, and keeps what it was asked."""

    device = "the device"
    framework = "pt"

    def __init__(self, *, config: dict[str, Any] | None = None, **settings: Any) -> None:
        self.config = types.SimpleNamespace(is_encoder_decoder=True, **(config or {}))
        self.generation_config = Settings(**settings)
        self.asked: dict[str, Any] = {}

    def generate(self, **asked: Any) -> Tensor:
        self.asked = asked
        ids = [] if self.config.is_encoder_decoder else asked["input_ids"][0]
        return Tensor([[*ids, 5, 6]] * (asked.get("num_return_sequences") or 1))


class Tokenizer:
    """Knows WORDS; another word is the first."""

    pad_token_id = 3
    eos_token_id = 4
    model_max_length = 100
    is_fast = True

    def __call__(self, texts: list[str], truncation: Any) -> dict[str, Any]:
        self.read, self.truncation = texts, truncation
        return {"input_ids": [self.encode(each) for each in texts], "token_type_ids": [[0]]}

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        ids = [WORDS.index(word) if word in WORDS else 0 for word in text.split()]
        return [*ids, 4] if add_special_tokens else ids

    def decode(
        self, ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str:
        assert skip_special_tokens
        text = " ".join(WORDS[each] for each in ids)
        return text.upper() if clean_up_tokenization_spaces else text


class OfLanguages(Tokenizer):
    """As NLLB's: one model for many languages."""

    def _build_translation_inputs(
        self, texts: list[str], return_tensors: None, **given: Any
    ) -> dict[str, Any]:
        assert return_tensors is None
        self.given = given
        return {**self(texts, given["truncation"]), "forced_bos_token_id": 7}


class Chatting(Tokenizer):
    """With a template for conversations."""

    chat_template = "as below"

    def apply_chat_template(
        self, chat: list[dict[str, str]], *, add_generation_prompt: bool, tokenize: bool
    ) -> str:
        assert add_generation_prompt
        assert not tokenize
        return " ".join(f"{each['role']}: {each['content']}" for each in chat)


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, with as much of PyTorch as it uses."""
    torch = types.ModuleType("torch")
    vars(torch).update(tensor=Tensor, no_grad=nullcontext)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.syspath_prepend(FILES)
    yield importlib.import_module("dlc_pipelines")
    sys.modules.pop("dlc_pipelines", None)


@pytest.fixture
def make(ours: Any) -> Callable[..., Any]:
    """A pipeline of a task, with a model of ours."""

    def made(task: str, model: Any = None, tokenizer: Any = None) -> Any:
        kind = ours.PIPELINES[ours.usual_name(task)]
        return kind(task, model or Model(), tokenizer or Tokenizer())

    return made


# A text of a text


@pytest.mark.parametrize(
    ("task", "key"),
    [
        ("summarization", "summary"),
        ("text2text-generation", "generated"),
        ("translation", "translation"),
        ("translation_en_to_de", "translation"),
    ],
)
def test_texts(make: Any, task: str, key: str) -> None:
    pipeline = make(task)
    found = {f"{key}_text": "hi there"}
    assert pipeline("a b") == [found]
    assert pipeline(["a b"]) == [found]
    assert pipeline(["a", "b"]) == [found, found]
    assert pipeline(["a", "b"], num_return_sequences=2) == [[found, found]] * 2
    assert pipeline("a", return_tensors=True, return_text=False) == [{f"{key}_token_ids": [5, 6]}]
    assert pipeline("a", clean_up_tokenization_spaces=True) == [{f"{key}_text": "HI THERE"}]
    assert pipeline([]) == []
    for wrong in ({"text": "a"}, 4, None, [["a"]]):
        with pytest.raises(ValueError, match="must be a text, or a list"):
            pipeline(wrong)


OF_TASKS = {"task_specific_params": {"summarization": {"max_length": 9, "prefix": "sum: "}}}
NEW = {"max_new_tokens": 256, "num_beams": 4}


@pytest.mark.parametrize(
    ("model", "given", "asked"),
    [
        (Model(), {}, NEW),
        (Model(), {"max_new_tokens": 8}, {**NEW, "max_new_tokens": 8}),
        (Model(), {"max_length": 8}, {"max_length": 8, "max_new_tokens": None, "num_beams": 4}),
        (Model(), {"max_length": None}, {**NEW, "max_length": None}),
        (Model(max_length=30), {}, {"num_beams": 4}),
        (Model(max_new_tokens=30, num_beams=2), {}, {}),
        (Model(num_beams=2), {"num_beams": 3}, {"max_new_tokens": 256, "num_beams": 3}),
        (
            Model(max_new_tokens=30),
            {"max_length": 8},
            {"max_length": 8, "max_new_tokens": None, "num_beams": 4},
        ),
        (Model(config=OF_TASKS), {}, {"max_length": 9, "max_new_tokens": None, "num_beams": 4}),
        (
            Model(config=OF_TASKS),
            {"max_new_tokens": 8},
            {**NEW, "max_length": 9, "max_new_tokens": 8},
        ),
        (Model(), {"stop_sequence": "b c"}, {**NEW, "eos_token_id": 2}),
        (Model(pad_token_id=1), {"top_k": 5}, {**NEW, "top_k": 5}),
    ],
)
def test_what_the_model_is_asked(
    make: Any, model: Any, given: dict[str, Any], asked: dict[str, Any]
) -> None:
    make("summarization", model)("a b", **given)
    pad = {} if model.generation_config.pad_token_id else {"pad_token_id": 3}
    prefix = [0] if hasattr(model.config, "task_specific_params") else []
    assert model.asked == {"input_ids": [[*prefix, 1, 2, 4]], **asked, **pad}


def test_what_the_tokenizer_is_asked(make: Any) -> None:
    tokenizer = Tokenizer()
    pipeline = make("text2text-generation", Model(config={"prefix": "say "}), tokenizer)
    pipeline("a")
    assert (tokenizer.read, tokenizer.truncation) == (["say a"], False)
    pipeline("a", truncation="only_first", stop_strings=["b"])
    assert tokenizer.truncation == "only_first"
    assert pipeline.model.asked["tokenizer"] is tokenizer


@pytest.mark.parametrize(
    ("task", "given", "languages"),
    [
        ("translation", {"src_lang": "en", "tgt_lang": "de"}, ("en", "de")),
        ("translation_fr_to_it", {"src_lang": "en", "tgt_lang": "de"}, ("en", "de")),
        ("translation_fr_to_it", {}, ("fr", "it")),
        ("translation", {"tgt_lang": "de"}, (None, "de")),
    ],
)
def test_languages(
    make: Any, task: str, given: dict[str, str], languages: tuple[str | None, str]
) -> None:
    tokenizer = OfLanguages()
    pipeline = make(task, tokenizer=tokenizer)
    pipeline("a", **given)
    assert tokenizer.given == {
        "src_lang": languages[0],
        "tgt_lang": languages[1],
        "truncation": False,
    }
    assert pipeline.model.asked["forced_bos_token_id"] == 7
    pipeline("a", forced_bos_token_id=8, **given)
    assert pipeline.model.asked["forced_bos_token_id"] == 8
    # One that knows a single pair is not told which.
    plain = make(task)
    plain("a", **given)
    assert not {"src_lang", "tgt_lang"} & plain.model.asked.keys()


# Conversations

TALKED = {"text": "c", "past_user_inputs": ["a"], "generated_responses": ["b"]}
REPLIED = {
    "generated_text": "HI THERE",
    "conversation": {"past_user_inputs": ["a", "c"], "generated_responses": ["b", "HI THERE"]},
}


def causal(**config: Any) -> Model:
    model = Model(config=config)
    model.config.is_encoder_decoder = False
    return model


@pytest.mark.parametrize(
    ("model", "tokenizer", "ids"),
    [
        (causal(), Tokenizer(), [1, 4, 2, 4, 3, 4]),
        (Model(), Tokenizer(), [1, 2, 3, 4]),
        (causal(), Chatting(), [0, 1, 0, 2, 0, 3]),
        (causal(max_position_embeddings=13), Tokenizer(), [4, 3, 4]),
        (causal(max_position_embeddings=5), Tokenizer(), [4]),
    ],
)
def test_conversations(make: Any, model: Model, tokenizer: Tokenizer, ids: list[int]) -> None:
    pipeline = make("conversational", model, tokenizer)
    assert pipeline(TALKED) == REPLIED
    assert pipeline([TALKED]) == [REPLIED]
    assert model.asked == {
        "input_ids": [ids],
        "attention_mask": [[1] * len(ids)],
        "max_new_tokens": 256,
        "pad_token_id": 3,
    }


def test_parameters_of_conversations(make: Any) -> None:
    pipeline = make("conversational", causal())
    first = pipeline({"text": "a"}, clean_up_tokenization_spaces=False)
    assert first["generated_text"] == "hi there"
    assert first["conversation"]["past_user_inputs"] == ["a"]
    pipeline(TALKED, max_length=12, minimum_tokens=9, min_length_for_response=3)
    asked = pipeline.model.asked
    assert (asked["input_ids"], asked["max_length"]) == ([[4, 3, 4]], 12)
    assert asked["max_new_tokens"] is None


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ("a", "keys text, past_user_inputs"),
        ({"past_user_inputs": ["a"]}, "keys text, past_user_inputs"),
        ({"text": "a", "file": "b"}, "keys text, past_user_inputs"),
        ({"text": 4}, "must be texts"),
        ({"text": "a", "past_user_inputs": ["b"]}, "past_user_inputs are 1, and generated_resp"),
    ],
)
def test_what_is_no_conversation(make: Any, inputs: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make("conversational")(inputs)


def said(*texts: str, first: int = 0) -> list[dict[str, str]]:
    """Messages of a user and an assistant in turn."""
    roles = ("user", "assistant")
    return [{"role": roles[(first + at) % 2], "content": text} for at, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("tokenizer", "ids"), [(Tokenizer(), [1, 4, 2, 4, 3, 4]), (Chatting(), [0, 1, 0, 2, 0, 3])]
)
def test_messages_are_a_conversation(make: Any, tokenizer: Tokenizer, ids: list[int]) -> None:
    pipeline = make("conversational", causal(), tokenizer)
    answer = [{"generated_text": said("a", "b", "c", "HI THERE")}]
    assert pipeline(said("a", "b", "c")) == answer
    assert pipeline.model.asked["input_ids"] == [ids]
    # As of text-generation, several are a list for each; the older form may be beside them.
    assert pipeline([said("a", "b", "c"), TALKED]) == [answer, REPLIED]


def test_a_template_reads_any_role(make: Any) -> None:
    system = {"role": "system", "content": "b"}
    pipeline = make("conversational", causal(), Chatting())
    assert pipeline([system, *said("a")])[0]["generated_text"][0] == system
    with pytest.raises(ValueError, match="without a chat template, messages are of user and"):
        make("conversational", causal())([system, *said("a")])


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (said("a", "b"), "the last message must be the user's"),
        ([{"role": "user"}], "the content of every message must be a text"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}]}], "must be a text"),
    ],
)
def test_messages_that_are_no_conversation(make: Any, messages: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make("conversational", causal(), Chatting())(messages)


# Where they are used


@pytest.fixture
def module(ours: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The toolkit's handler with ours, beside a Transformers that has some tasks."""

    def made(*tasks: str, torch: bool = True, tf: bool = False) -> Any:
        def pipeline(task: str, model: Any = None, dtype: Any = "auto") -> Any:
            """As in Transformers 4.57."""
            return task, model, dtype

        transformers = types.ModuleType("transformers")
        config = types.SimpleNamespace(is_encoder_decoder=False)
        vars(transformers).update(
            __version__="5.23.0",
            is_torch_available=lambda: torch,
            is_tf_available=lambda: tf,
            AutoConfig=Loads(config),
            AutoTokenizer=Loads(Tokenizer()),
            **{
                f"{prefix}AutoModelFor{name}": Loads(Moved(prefix + name))
                for name in ("Seq2SeqLM", "CausalLM", "QuestionAnswering")
                for prefix in ("", "TF")
            },
        )
        pipelines = types.ModuleType("transformers.pipelines")
        vars(pipelines).update(SUPPORTED_TASKS=dict.fromkeys(tasks), pipeline=pipeline)
        toolkit = types.ModuleType("sagemaker_huggingface_inference_toolkit")
        utils = types.SimpleNamespace(TRUST_REMOTE_CODE=False)
        vars(toolkit)["transformers_utils"] = utils
        weights = types.ModuleType("transformers.modeling_tf_pytorch_utils")
        vars(transformers)["modeling_tf_pytorch_utils"] = weights
        for each in (transformers, pipelines, toolkit, weights):
            monkeypatch.setitem(sys.modules, each.__name__, each)
        handler = types.SimpleNamespace(get_pipeline=lambda **given: given)
        ours.replace_pipelines(handler)
        return handler.get_pipeline

    return made


class Loads:
    """Stands for one of Transformers' Auto classes."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def from_pretrained(self, folder: str, *, trust_remote_code: bool) -> Any:
        assert (folder, trust_remote_code) == ("folder", False)
        return self.found


class Moved(Model):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.moved = name, ""

    def to(self, device: str) -> "Moved":
        self.moved = device
        return self


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("summarization", "Seq2SeqLM"),
        ("translation_en_to_de", "Seq2SeqLM"),
        ("question-answering", "QuestionAnswering"),
        ("conversational", "CausalLM"),
    ],
)
def test_what_is_gone_is_ours(module: Any, task: str, model: str) -> None:
    get = module("fill-mask")
    for device, moved in ((-1, ""), (1, "cuda:1")):
        found = get(task=task, device=device, model_dir="folder")
        assert (found.task, found.model.name, found.model.moved) == (task, model, moved)
    theirs = {"task": "fill-mask", "device": -1, "model_dir": "folder"}
    assert get(**theirs) == theirs


def test_what_is_there_is_theirs(module: Any) -> None:
    given = {"task": "translation_en_to_de", "device": -1, "model_dir": "folder", "feature": 1}
    assert module("translation")(**given) == given
    assert module(torch=False)(**given) == given
    assert module()(task=None, device=-1, model_dir="folder")["task"] is None


@pytest.mark.parametrize("task", ["summarization", "question-answering"])
def test_with_tensorflow_the_pipelines_are_theirs(module: Any, task: str) -> None:
    given = {"task": task, "device": -1, "model_dir": "folder"}
    assert module(torch=False, tf=True)(**given) == given


def test_conversations_with_tensorflow(
    module: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = module(torch=False, tf=True)
    # TensorFlow has put the model on the GPU by itself.
    found = get(task="conversational", device=0, model_dir="folder")
    assert (found.model.name, found.model.moved) == ("TFCausalLM", "")
    tensorflow = types.ModuleType("tensorflow")
    vars(tensorflow)["constant"] = Tensor
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    model = causal()
    model.framework = "tf"
    assert make("conversational", model)(TALKED) == REPLIED
    assert isinstance(model.asked["input_ids"], Tensor)


@pytest.mark.parametrize(("torch", "type_of_weights"), [(True, "auto"), (False, None)])
def test_no_type_of_pytorch_is_asked_for_without_it(
    ours: Any, module: Any, torch: bool, type_of_weights: str | None
) -> None:
    """From Transformers 4.53.3 on its `pipeline` ends with a NameError, else."""
    module(torch=torch, tf=True)

    def older(task: str, *, key: str = "auto", **more: Any) -> Any:
        return task, key, more

    def named_before(task: str, torch_dtype: Any = "auto", kind: str = "auto") -> Any:
        return task, torch_dtype, kind

    for each in (older, named_before):
        ours.ask_for_no_type(each)
    assert older("fill-mask") == ("fill-mask", "auto", {})
    assert named_before("fill-mask") == ("fill-mask", type_of_weights, "auto")
    assert named_before("fill-mask", "auto") == ("fill-mask", "auto", "auto")


def test_a_teams_own_code_asks_for_no_type_either(module: Any) -> None:
    module(torch=False, tf=True)
    load = sys.modules["transformers.pipelines"].pipeline
    assert load("fill-mask", "folder") == ("fill-mask", "folder", None)


class Opened:
    """Stands for an open file of safetensors, which cannot be gone through."""

    def keys(self) -> list[str]:
        return ["a", "b"]

    def get_tensor(self, name: str) -> str:
        return name.upper()


def test_tensorflow_loads_what_pytorch_saved(ours: Any) -> None:
    def load(model: str, weights: Any, *, more: bool) -> Any:
        read = weights.get_tensor if hasattr(weights, "get_tensor") else weights.get
        return model, [read(name) for name in weights], more

    module = types.SimpleNamespace(load_pytorch_state_dict_in_tf2_model=load)
    ours.let_weights_be_listed(module)
    load = module.load_pytorch_state_dict_in_tf2_model
    assert load("model", Opened(), more=True) == ("model", ["A", "B"], True)
    assert load("model", {"a": "c"}, more=False) == ("model", ["c"], False)
    older = types.SimpleNamespace()
    ours.let_weights_be_listed(older)
    assert vars(older) == {}


def test_each_task_has_parameters(ours: Any) -> None:
    allowed = importlib.import_module("dlc_parameters").TASKS
    assert set(ours.PIPELINES) <= set(allowed)


def test_question_answering_needs_offsets(make: Any) -> None:
    slow = Tokenizer()
    slow.is_fast = False
    with pytest.raises(ValueError, match="needs a tokenizer of the tokenizers library"):
        make("question-answering", tokenizer=slow)

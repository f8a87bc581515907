"""Make a tiny model for every kind of task, with random weights: `python tiny_tasks.py DIRECTORY`.

Runs inside an image, next to tiny_model.py and tiny_media.py, with the image's own Transformers
(4.6 and later) and framework: PyTorch, or TensorFlow where there is no PyTorch. Needs no network
and Python 3.6 or later. Writes DIRECTORY/<model>.tar.gz, all or those that TINY_TASKS names, each
with the files next to this one that are named on the command line, and prints a line of JSON: why a
model could not be made, and which programs there are. A model that wants a package the image lacks
is written without weights: its server must tell.
"""

import importlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import typing
from pathlib import Path

Maker = typing.Callable[[Path], None]

PROGRAMS = ("ffmpeg",)

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
ENTITIES = ("PERSON", "PLACE", "THING")
VERDICTS = ("contradiction", "neutral", "entailment")

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "initializer_range": 0.2,  # ten times the default, so that answers depend on the input
}


def labels(names: "typing.Sequence[str]") -> "dict[str, typing.Any]":
    """What a configuration says of a model's labels."""
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
    }


def build(name: str, config: typing.Any) -> typing.Any:
    """A model with random weights, always the same ones; `name` is that of its PyTorch class."""
    transformers = importlib.import_module("transformers")
    if transformers.is_torch_available():
        importlib.import_module("torch").manual_seed(0)
        return getattr(transformers, name)(config)
    importlib.import_module("tensorflow").random.set_seed(0)
    model = getattr(transformers, "TF" + name)(config)
    if hasattr(model, "build_in_name_scope"):
        model.build_in_name_scope()
    else:
        model(model.dummy_inputs)  # Keras makes the weights at the first call
    return model


def without_weights(config: typing.Any, directory: Path) -> None:
    """For a model whose class cannot be used: the server gets as far as to want to."""
    config.save_pretrained(str(directory))
    if importlib.import_module("transformers").is_torch_available():
        importlib.import_module("torch").save({}, str(directory / "pytorch_model.bin"))
    else:
        (directory / "tf_model.h5").write_bytes(b"")


def mute(model: typing.Any, number: int) -> None:
    """Let a model that generates never say its first tokens, the special ones."""
    layer = model.get_input_embeddings()
    # In newer Transformers TensorFlow's is Keras's own.
    weight = layer.weight if hasattr(layer, "weight") else layer.embeddings
    if hasattr(weight, "assign"):
        values = weight.numpy()
        values[:number] = 0
        weight.assign(values)
    else:
        weight.data[:number] = 0


def lean(layer: typing.Any, first: int, last: int, value: float) -> None:
    """Add a value to the bias of a layer's outputs from `first` up to `last`."""
    if hasattr(layer.bias, "assign"):
        values = layer.bias.numpy()
        values[first:last] = value
        layer.bias.assign(values)
    else:
        layer.bias.data[first:last] = value


def alphabet() -> "list[str]":
    """The signs that stand for the 256 bytes in byte-level vocabularies."""
    try:
        module = importlib.import_module("transformers.models.gpt2.tokenization_gpt2")
        signs = module.bytes_to_unicode()
    except AttributeError:  # Transformers 5
        module = importlib.import_module("transformers.convert_slow_tokenizer")
        signs = module.bytes_to_unicode()
    return [sign for _, sign in sorted(signs.items())]


def byte_vocabulary(directory: Path, tokens: "list[str]") -> None:
    """Write a vocabulary of bytes, without any that are longer."""
    text = json.dumps({token: index for index, token in enumerate(tokens)})
    (directory / "vocab.json").write_text(text, encoding="utf-8")
    (directory / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def wordpieces(directory: Path) -> int:
    """Write a tokenizer of tiny_model.py's vocabulary; its size."""
    words = importlib.import_module("tiny_model").vocabulary()
    (directory / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    transformers = importlib.import_module("transformers")
    transformers.DistilBertTokenizerFast.from_pretrained(
        str(directory), model_max_length=512
    ).save_pretrained(str(directory))
    return len(words)


def distilbert(head: str, names: "tuple[str, ...]" = ()) -> Maker:
    def make(directory: Path) -> None:
        transformers = importlib.import_module("transformers")
        config = transformers.DistilBertConfig(
            vocab_size=wordpieces(directory),
            max_position_embeddings=512,
            dim=32,
            hidden_dim=64,
            n_heads=2,
            n_layers=2,
            initializer_range=0.2,
            **(labels(names) if names else {}),
        )
        build("DistilBert" + head, config).save_pretrained(str(directory))

    return make


def text_classification(directory: Path) -> None:
    importlib.import_module("tiny_model").make(directory)


def seq2seq(directory: Path) -> None:
    transformers = importlib.import_module("transformers")
    tokens = list(SPECIAL) + alphabet()
    byte_vocabulary(directory, tokens)
    transformers.BartTokenizerFast.from_pretrained(
        str(directory), model_max_length=1024
    ).save_pretrained(str(directory))
    model = build(
        "BartForConditionalGeneration",
        transformers.BartConfig(
            vocab_size=len(tokens),
            max_position_embeddings=1024,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            init_std=0.2,
        ),
    )
    mute(model, len(SPECIAL))
    model.save_pretrained(str(directory))


def causal(directory: Path) -> None:
    transformers = importlib.import_module("transformers")
    tokens = ["<|endoftext|>", *alphabet()]
    byte_vocabulary(directory, tokens)
    transformers.GPT2TokenizerFast.from_pretrained(
        str(directory), model_max_length=1024
    ).save_pretrained(str(directory))
    model = build(
        "GPT2LMHeadModel",
        transformers.GPT2Config(
            vocab_size=len(tokens),
            n_positions=1024,
            n_embd=32,
            n_layer=2,
            n_head=2,
            initializer_range=0.2,
            bos_token_id=0,
            eos_token_id=0,
            task_specific_params={"conversational": {"max_length": 200}},
        ),
    )
    mute(model, 1)
    model.save_pretrained(str(directory))


def chat(directory: Path) -> None:
    """The causal one, with a template for messages that refuses a role."""
    causal(directory)
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["chat_template"] = (
        "{% for message in messages %}"
        "{% if message['role'] == 'tool' %}{{ raise_exception('no tools are known here') }}"
        "{% endif %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    path.write_text(json.dumps(settings), encoding="utf-8")


def table(directory: Path) -> None:
    transformers = importlib.import_module("transformers")
    words = [*importlib.import_module("tiny_model").vocabulary(), "[EMPTY]"]
    (directory / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    # Not by the tokenizer itself: it cannot be used without pandas.
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "TapasTokenizer", "model_max_length": 512}),
        encoding="utf-8",
    )
    config = transformers.TapasConfig(
        vocab_size=len(words),
        num_aggregation_labels=4,
        aggregation_labels={0: "NONE", 1: "SUM", 2: "AVERAGE", 3: "COUNT"},
        **SMALL,
    )
    try:
        model = build("TapasForQuestionAnswering", config)
        if transformers.is_torch_available():
            model.output_bias.data.fill_(20.0)  # it always finds cells
        model.save_pretrained(str(directory))
    except ImportError:
        without_weights(config, directory)


def makers() -> "dict[str, Maker]":
    """What makes each model, by its name."""
    media = importlib.import_module("tiny_media")
    text = {
        "causal": causal,
        "chat": chat,
        "features": distilbert("Model"),
        "mask": distilbert("ForMaskedLM"),
        "questions": distilbert("ForQuestionAnswering"),
        "seq2seq": seq2seq,
        "table": table,
        "text-classification": text_classification,
        "tokens": distilbert("ForTokenClassification", ENTITIES),
        "zero-shot": distilbert("ForSequenceClassification", VERDICTS),
    }
    return dict(text, **media.MAKERS)


def pack(directory: Path, more: "list[Path]", target: Path) -> None:
    for path in more:
        shutil.copy(str(path), str(directory))
    with tarfile.open(str(target), "w:gz", compresslevel=1) as archive:
        for path in sorted(directory.iterdir()):
            archive.add(str(path), arcname=path.name)


def main(target: Path, more: "list[Path]") -> None:
    target.mkdir(parents=True)
    failed = {}
    only = os.environ.get("TINY_TASKS", "").split()
    for name, make in sorted(makers().items()):
        if only and name not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                make(Path(folder))
                pack(Path(folder), more, target / (name + ".tar.gz"))
            except Exception as error:  # any: the others must be made, and this one told of
                failed[name] = f"{type(error).__name__}: {error}".strip()
    programs = [name for name in PROGRAMS if shutil.which(name)]
    sys.stdout.write(json.dumps({"failed": failed, "programs": programs}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(__file__).with_name(name) for name in sys.argv[2:]])

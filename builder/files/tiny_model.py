"""Make a tiny text-classification model with random weights: `python - DIRECTORY < tiny_model.py`.

Runs inside an image, with the image's own Transformers (4.4 and later) and framework: PyTorch, or
TensorFlow where there is no PyTorch. Needs no network and Python 3.6 or later. The same image
always makes the same weights.
"""

import importlib
import string
import sys
from pathlib import Path

LABELS = ("NEGATIVE", "POSITIVE")

# Single letters, so that any English text is tokenised, and a few words for the look of it.
WORDS = "the a i you it is was this that and not very good bad great love hate like movie film"


def vocabulary() -> "list[str]":
    """The wordpieces, in the order of their ids: about a hundred."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    signs = string.ascii_lowercase + string.digits
    words = [word for word in WORDS.split() if len(word) > 1]
    return special + list(signs + ".,!?'-") + ["##" + sign for sign in signs] + words


def make(directory: Path) -> None:
    """Write configuration, weights and tokenizer files into the directory, which is made."""
    transformers = importlib.import_module("transformers")
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary_file = directory / "vocab.txt"
    vocabulary_file.write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    tokenizer = transformers.DistilBertTokenizerFast.from_pretrained(
        str(directory), model_max_length=512
    )
    tokenizer.save_pretrained(str(directory))
    config = transformers.DistilBertConfig(
        vocab_size=len(vocabulary()),
        max_position_embeddings=512,
        dim=32,
        hidden_dim=64,
        n_heads=2,
        n_layers=2,
        initializer_range=0.2,  # ten times the default, so that answers depend on the input
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    if transformers.is_torch_available():
        importlib.import_module("torch").manual_seed(0)
        model = transformers.DistilBertForSequenceClassification(config)
    else:
        importlib.import_module("tensorflow").random.set_seed(0)
        model = transformers.TFDistilBertForSequenceClassification(config)
        model(model.dummy_inputs)  # Keras makes the weights at the first call
    model.save_pretrained(str(directory))


if __name__ == "__main__":
    make(Path(sys.argv[1]))

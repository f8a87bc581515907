"""Makes the two models of the check, with random weights: `python models.py FOLDER`.

Runs with the PyTorch and Transformers of the GPU's machine, in a process of its own.

FOLDER/classifier   text-classification by a tiny BERT with a very wide layer, so that a batch of
                    some kilobytes needs more memory than any GPU has
FOLDER/generator    text-generation by a tiny GPT-2, with inference.py as its code
"""

from __future__ import annotations

import importlib
import shutil
import string
import sys
from pathlib import Path
from typing import Any

__all__ = ["BATCH", "LONG_TEXT", "POSITIONS", "WIDTH"]

POSITIONS = 512
WIDTH = 131072  # of the feed-forward layer
BATCH = 2000  # POSITIONS * WIDTH * BATCH numbers of 4 bytes: 537 GB
LONG_TEXT = " ".join(["a"] * (POSITIONS - 2))  # two positions are for [CLS] and [SEP]


def main(folder: Path) -> None:
    """Write both models, each below a folder of its own as SAGEMAKER_BASE_DIR wants it."""
    transformers = importlib.import_module("transformers")
    importlib.import_module("torch").manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *string.ascii_lowercase, "like", "you", "hello"]

    classifier = folder / "classifier" / "model"
    tokenizer(words).save_pretrained(str(classifier))
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=WIDTH,
        max_position_embeddings=POSITIONS,
        num_labels=2,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(str(classifier))

    generator = folder / "generator" / "model"
    tokenizer(words).save_pretrained(str(generator))
    config = transformers.GPT2Config(
        vocab_size=len(words), n_embd=32, n_layer=2, n_head=2, bos_token_id=2, eos_token_id=3
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(str(generator))
    (generator / "code").mkdir()
    shutil.copy(Path(__file__).with_name("inference.py"), generator / "code")


def tokenizer(words: list[str]) -> Any:
    """One token a word; each text between [CLS] and [SEP]."""
    tokenizers = importlib.import_module("tokenizers")
    model = tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, **named("unk"))
    result = tokenizers.Tokenizer(model)
    result.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    result.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return importlib.import_module("transformers").PreTrainedTokenizerFast(
        tokenizer_object=result,
        model_max_length=POSITIONS,
        **named("pad", "unk", "cls", "sep"),
    )


def named(*names: str) -> dict[str, str]:
    """Special tokens by the names that Transformers has for them."""
    return {f"{name}_token": f"[{name.upper()}]" for name in names}


if __name__ == "__main__":
    main(Path(sys.argv[1]))

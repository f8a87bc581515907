"""Fine-tune a tiny model for a few steps: `python tiny_training.py MODEL OUTPUT`.

Runs inside a training image, with its own Transformers (4.4 and later), datasets and framework, on
Python 3.6 and later, on the CPU and without a network. MODEL is what tiny_model.py made. Prints one
JSON object: the steps, the losses, whether the weights changed and which files were saved.
"""

import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

STEPS = 4
TEXTS = ["i love this movie", "it was very good", "i hate this film", "it was bad"] * 4
LABELS = [1, 1, 0, 0] * 4


def examples(model: Path) -> Any:
    """The texts through datasets and the model's tokenizer, padded."""
    transformers = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(model))
    rows = importlib.import_module("datasets").Dataset.from_dict({"text": TEXTS, "label": LABELS})
    return rows.map(
        lambda row: tokenizer(row["text"], padding="max_length", truncation=True, max_length=16)
    )


def train_pytorch(model: Path, output: Path) -> "dict[str, Any]":
    """A few steps of Transformers' Trainer."""
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    found = transformers.AutoModelForSequenceClassification.from_pretrained(str(model))
    before = [weights.detach().clone() for weights in found.parameters()]
    trainer = transformers.Trainer(
        model=found,
        args=transformers.TrainingArguments(
            output_dir=str(output),
            max_steps=STEPS,
            per_device_train_batch_size=4,
            learning_rate=1e-3,
            logging_steps=1,
            report_to="none",
        ),
        train_dataset=examples(model),
    )
    trainer.train()
    trainer.save_model(str(output))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    after = [weights.detach().cpu() for weights in found.parameters()]
    changed = not all(map(torch.equal, before, after))
    return {"steps": trainer.state.global_step, "losses": losses, "changed": changed}


def train_tensorflow(model: Path, output: Path) -> "dict[str, Any]":
    """A few steps of Keras's fit."""
    numpy = importlib.import_module("numpy")
    tensorflow = importlib.import_module("tensorflow")
    transformers = importlib.import_module("transformers")
    found = transformers.TFAutoModelForSequenceClassification.from_pretrained(str(model))
    before = found.get_weights()
    rows = examples(model)
    features = {name: numpy.array(rows[name]) for name in ("input_ids", "attention_mask")}
    batches = tensorflow.data.Dataset.from_tensor_slices((features, numpy.array(rows["label"])))
    found.compile(
        optimizer=tensorflow.keras.optimizers.Adam(1e-3),
        loss=tensorflow.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    history = found.fit(batches.batch(4), epochs=STEPS, steps_per_epoch=1, verbose=0)
    found.save_pretrained(str(output))
    changed = not all(map(numpy.array_equal, before, found.get_weights()))
    return {"steps": STEPS, "losses": history.history["loss"], "changed": changed}


def main(model: Path, output: Path) -> "dict[str, Any]":
    """Train with the image's framework; what it came to."""
    transformers = importlib.import_module("transformers")
    train = train_pytorch if transformers.is_torch_available() else train_tensorflow
    report = train(model, output)
    report["finite"] = all(math.isfinite(loss) for loss in report["losses"])
    report["files"] = sorted(path.name for path in output.iterdir() if path.is_file())
    return report


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))  # noqa: T201

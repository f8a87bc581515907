"""Fine-tune a text-classification model, as the script of a training job.

Runs inside a training image, on Python 3.6 and later, with the image's own Transformers (4.4 and
later), datasets and framework, on the CPU and without a network. The channels are `train` and
`test` (a data.csv of text and label each) and `model`. A checkpoint is written every few steps, and
training goes on from the last one that is there.
"""

import argparse
import importlib
import inspect
import json
import os
import re
import time
from pathlib import Path
from typing import Any

LENGTH = 16


def say(text: str) -> None:
    """Write a line at once."""
    print(text, flush=True)  # noqa: T201


def data(name: str, tokenizer: Any) -> Any:
    """The rows of a channel, through datasets and the tokenizer, padded."""
    file = Path(os.environ["SM_CHANNEL_" + name.upper()], "data.csv")
    found = importlib.import_module("datasets").load_dataset(
        "csv",
        data_files={name: str(file)},
        cache_dir="/tmp/datasets",  # noqa: S108 - a container's
    )[name]
    return found.map(
        lambda row: tokenizer(row["text"], padding="max_length", truncation=True, max_length=LENGTH)
    )


def scores(labels: Any, found: Any) -> "dict[str, float]":
    """What notebooks look at."""
    metrics = importlib.import_module("sklearn.metrics")
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, found, average="binary", zero_division=0
    )
    accuracy = metrics.accuracy_score(labels, found)
    return {"accuracy": accuracy, "f1": f1, "precision": precision, "recall": recall}


def either(function: Any, new: str, old: str) -> str:
    """The name of a parameter that was renamed."""
    return new if new in inspect.signature(function).parameters else old


def train_pytorch(options: Any, tokenizer: Any) -> "dict[str, Any]":
    """With Transformers' Trainer."""
    transformers = importlib.import_module("transformers")
    last_checkpoint = importlib.import_module("transformers.trainer_utils").get_last_checkpoint

    class Recorder(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
        """Tells of checkpoints, takes its time, and knows where training began."""

        first = 0

        def on_train_begin(self, _options: Any, state: Any, _control: Any, **_more: Any) -> None:
            self.first = state.global_step + 1
            say(f"first step {self.first}")

        def on_step_end(self, _options: Any, _state: Any, _control: Any, **_more: Any) -> None:
            time.sleep(options.pause)

        def on_save(self, _options: Any, state: Any, _control: Any, **_more: Any) -> None:
            say(f"saved step {state.global_step}")

    arguments = transformers.TrainingArguments
    recorder = Recorder()
    trainer = transformers.Trainer(
        model=transformers.AutoModelForSequenceClassification.from_pretrained(
            os.environ["SM_CHANNEL_MODEL"]
        ),
        args=arguments(
            output_dir=options.checkpoints,
            max_steps=options.steps,
            per_device_train_batch_size=8,
            learning_rate=options.learning_rate,
            logging_steps=1,
            save_steps=options.save_steps,
            save_total_limit=2,
            report_to="none",
            **{either(arguments, "eval_strategy", "evaluation_strategy"): "epoch"},
        ),
        train_dataset=data("train", tokenizer),
        eval_dataset=data("test", tokenizer),
        compute_metrics=lambda found: scores(found.label_ids, found.predictions.argmax(-1)),
        callbacks=[recorder],
        **{either(transformers.Trainer, "processing_class", "tokenizer"): tokenizer},
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(options.checkpoints))
    found = trainer.evaluate()
    trainer.save_model(os.environ["SM_MODEL_DIR"])
    return {
        "first": recorder.first,
        "last": trainer.state.global_step,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "accuracy": found["eval_accuracy"],
    }


def train_tensorflow(options: Any, tokenizer: Any) -> "dict[str, Any]":
    """With Keras; an epoch is a step here."""
    numpy = importlib.import_module("numpy")
    tensorflow = importlib.import_module("tensorflow")
    transformers = importlib.import_module("transformers")
    keras = tensorflow.keras
    tensorflow.random.set_seed(0)

    def batches(name: str) -> Any:
        rows = data(name, tokenizer)
        features = {key: numpy.array(rows[key]) for key in ("input_ids", "attention_mask")}
        slices = tensorflow.data.Dataset.from_tensor_slices((features, numpy.array(rows["label"])))
        return slices.batch(8)

    checkpoints = Path(options.checkpoints)

    class Recorder(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        """Writes checkpoints, tells of them, and takes its time."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            time.sleep(options.pause)
            if (epoch + 1) % options.save_steps == 0:
                self.model.save_weights(str(checkpoints / "new.h5"))
                # Whole or not at all, whenever the job is stopped.
                (checkpoints / "new.h5").replace(checkpoints / f"weights-{epoch + 1}.h5")
                say(f"saved step {epoch + 1}")

    model = transformers.TFAutoModelForSequenceClassification.from_pretrained(
        os.environ["SM_CHANNEL_MODEL"]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(options.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    done = 0
    for path in checkpoints.glob("weights-*.h5"):
        done = max(done, int(re.sub(r"\D", "", path.stem)))
    if done:
        model.load_weights(str(checkpoints / f"weights-{done}.h5"))
    say(f"first step {done + 1}")
    history = model.fit(
        batches("train"),
        validation_data=batches("test"),
        initial_epoch=done,
        epochs=options.steps,
        callbacks=[Recorder()],
        verbose=2,
    )
    model.save_pretrained(os.environ["SM_MODEL_DIR"])
    return {
        "first": done + 1,
        "last": done + len(history.epoch),
        "losses": history.history["loss"],
        "accuracy": history.history["val_accuracy"][-1],
    }


def main() -> None:
    """Train, save the model with its tokenizer, and write down how it went."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--save_steps", type=int, default=1000)
    parser.add_argument("--learning_rate", type=float, default=5e-3)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that a step waits")
    parser.add_argument("--checkpoints", default="/opt/ml/checkpoints")
    options = parser.parse_args()
    Path(options.checkpoints).mkdir(parents=True, exist_ok=True)
    transformers = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(os.environ["SM_CHANNEL_MODEL"])
    train = train_pytorch if transformers.is_torch_available() else train_tensorflow
    report = train(options, tokenizer)
    tokenizer.save_pretrained(os.environ["SM_MODEL_DIR"])
    target = Path(os.environ["SM_OUTPUT_DATA_DIR"], "report.json")
    target.write_text(json.dumps(report, default=float), encoding="utf-8")


if __name__ == "__main__":
    main()

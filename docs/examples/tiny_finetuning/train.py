"""Fine-tune a model to classify texts: the script of a SageMaker training job.

Channel `model`: a folder that save_pretrained() wrote. Channel `train`: CSV files with the columns
text and label, a label's number.
"""

import argparse
import os
from pathlib import Path

from datasets import load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


def main():
    options = read_options()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForSequenceClassification.from_pretrained(options.model)

    files = sorted(str(path) for path in Path(options.train).glob("*.csv"))
    texts = load_dataset("csv", data_files=files, split="train")
    tokens = texts.map(lambda row: tokenizer(row["text"], truncation=True))

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=options.output_data_dir,
            num_train_epochs=options.epochs,
            learning_rate=options.learning_rate,
            per_device_train_batch_size=options.batch_size,
            logging_strategy="epoch",
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=tokens,
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    trainer.train()

    # What is left here becomes model.tar.gz. An endpoint needs the tokenizer too.
    trainer.save_model(options.model_dir)
    tokenizer.save_pretrained(options.model_dir)
    # safetensors lets the owner only read its files: root, which you may not be in local mode.
    for path in Path(options.model_dir).glob("*.safetensors"):
        path.chmod(0o644)


def read_options():
    parser = argparse.ArgumentParser()
    # The estimator's hyperparameters.
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--batch_size", type=int, default=8)
    # Where SageMaker puts the channels, and what it takes away.
    parser.add_argument("--model", default=os.environ["SM_CHANNEL_MODEL"])
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    parser.add_argument("--model_dir", default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--output_data_dir", default=os.environ["SM_OUTPUT_DATA_DIR"])
    return parser.parse_args()


if __name__ == "__main__":
    main()

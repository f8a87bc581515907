"""Which task a model is for, by its config.json, where neither HF_TASK nor the Hub tells.

The toolkit looks at how the name of the model's class ends. That is right for text, and wrong for
classes that see or hear and end alike: Whisper's ends as T5's. For these, tables of Transformers
tell what each class is for.

Python 3.6 and later: this file is the same in every image. Transformers is imported when used.
"""

import json
import os

# Models that say what is in an image, and take no question.
CAPTIONS = ("blip", "blip-2", "git", "pix2struct", "vision-encoder-decoder")
SEES = ("IMAGE_TEXT_TO_TEXT", "VISION_2_SEQ")
# Tasks, best first, of the classes in Transformers' tables, which are looked at in this order.
TABLES = (
    (("automatic-speech-recognition",), ("SPEECH_SEQ_2_SEQ", "CTC")),
    (("image-text-to-text", "image-to-text"), SEES),
    (("audio-classification",), ("AUDIO_CLASSIFICATION",)),
    (("image-classification",), ("IMAGE_CLASSIFICATION",)),
    (("object-detection",), ("OBJECT_DETECTION",)),
    (("image-segmentation",), ("IMAGE_SEGMENTATION", "SEMANTIC_SEGMENTATION")),
    (("depth-estimation",), ("DEPTH_ESTIMATION",)),
    (("video-classification",), ("VIDEO_CLASSIFICATION",)),
    (("visual-question-answering",), ("VISUAL_QUESTION_ANSWERING",)),
)


def replace_guess(module):
    """Put ours before the toolkit's own, in the module of its handler."""
    guess = module.infer_task_from_model_architecture

    def guess_by_tables(path, *arguments, **named):
        task = task_of_config(path)
        if task is None:
            return guess(path, *arguments, **named)
        os.environ["HF_TASK"] = task  # as the toolkit does
        return task

    module.infer_task_from_model_architecture = guess_by_tables


def task_of_config(path):
    """The task of a model that sees or hears; nothing for another; ValueError if it has none."""
    import transformers  # noqa: PLC0415

    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise ValueError("config.json does not say what the model is (architectures): set HF_TASK")
    name, version = names[0], transformers.__version__
    if not hasattr(transformers, name) and "auto_map" not in config:
        message = (
            "config.json names the architecture {}, which Transformers {} does not have: take an "
            "image of a release that has it, or set HF_TASK if code/inference.py loads the model"
        )
        raise ValueError(message.format(name, version))
    tasks = tasks_of_class(name, config.get("model_type"))
    if not tasks:
        return None
    known = [task for task in tasks if can_do(task)]
    if not known:
        message = "config.json names the architecture {}, which does {}; Transformers {} of this "
        message += "image cannot do that: set HF_TASK to what it is to do"
        raise ValueError(message.format(name, " or ".join(tasks), version))
    return known[0]


def tasks_of_class(name, family):
    """What a class that sees or hears is for, best first; nothing for another."""
    from transformers.models.auto import modeling_auto  # noqa: PLC0415

    for tasks, tables in TABLES:
        for table in tables:
            classes = getattr(modeling_auto, "MODEL_FOR_{}_MAPPING_NAMES".format(table), {})
            for value in classes.values():
                if name == value or (isinstance(value, (tuple, list)) and name in value):
                    return tasks[::-1] if tables == SEES and family in CAPTIONS else tasks
    return ()


def can_do(task):
    """Whether Transformers has a pipeline for a task, with a model of this image's framework."""
    import transformers  # noqa: PLC0415
    from transformers.pipelines import SUPPORTED_TASKS  # noqa: PLC0415

    # Transformers 5 has no framework but PyTorch.
    torch = getattr(transformers, "is_torch_available", lambda: True)()
    return bool(SUPPORTED_TASKS.get(task, {}).get("pt" if torch else "tf"))

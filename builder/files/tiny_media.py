"""The tiny models of tiny_tasks.py that see and hear. PyTorch alone, but for CLIP."""

import importlib
import json
import typing
from pathlib import Path

ANIMALS = ("cat", "dog", "bird")
SPOKEN = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ")

SIDE = 32
SURE = 20.0


def kit() -> typing.Any:
    return importlib.import_module("tiny_tasks")


def processor(model: str, **options: typing.Any) -> typing.Any:
    """What prepares pictures for a model, by its newer name where there is one."""
    transformers = importlib.import_module("transformers")
    newer = model + "ImageProcessor"
    if newer in dir(transformers):
        try:
            return getattr(transformers, newer)(**options)
        except ImportError:  # Transformers 5 has another that needs no torchvision
            return getattr(transformers, newer + "Pil")(**options)
    return getattr(transformers, model + "FeatureExtractor")(**options)


def image_classification(directory: Path) -> None:
    transformers = importlib.import_module("transformers")
    config = transformers.ViTConfig(
        image_size=SIDE, patch_size=8, **dict(kit().labels(ANIMALS), **kit().SMALL)
    )
    kit().build("ViTForImageClassification", config).save_pretrained(str(directory))
    processor("ViT", size=SIDE).save_pretrained(str(directory))


def detr(directory: Path) -> None:
    """The one model for these tasks in older Transformers; it wants timm, and PyTorch."""
    importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    config = transformers.DetrConfig(**kit().labels(ANIMALS))
    kit().without_weights(config, directory)
    processor("Detr").save_pretrained(str(directory))


def object_detection(directory: Path) -> None:
    transformers = importlib.import_module("transformers")
    if not hasattr(transformers, "YolosForObjectDetection"):
        detr(directory)
        return
    config = transformers.YolosConfig(
        image_size=[SIDE, SIDE],
        patch_size=8,
        num_detection_tokens=4,
        **dict(kit().labels(ANIMALS), **kit().SMALL),
    )
    if transformers.is_torch_available():
        model = kit().build("YolosForObjectDetection", config)
        # Only what a model is sure of is told.
        kit().lean(model.class_labels_classifier.layers[-1], 0, 1, SURE)
        model.save_pretrained(str(directory))
    else:  # it has no such model
        config.architectures = ["YolosForObjectDetection"]
        kit().without_weights(config, directory)
    size = {"shortest_edge": SIDE, "longest_edge": SIDE}
    processor("Yolos", size=size).save_pretrained(str(directory))


def image_segmentation(directory: Path) -> None:
    transformers = importlib.import_module("transformers")
    if not hasattr(transformers, "AutoModelForSemanticSegmentation"):
        detr(directory)
        return
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        initializer_range=0.2,
        **kit().labels(ANIMALS),
    )
    model = kit().build("SegformerForSemanticSegmentation", config)
    model.save_pretrained(str(directory))
    try:
        processor("Segformer", size=2 * SIDE).save_pretrained(str(directory))
    except ImportError:  # whoever loads the model is to be told of it
        kind = {"image_processor_type": "SegformerImageProcessor"}
        (directory / "preprocessor_config.json").write_text(json.dumps(kind), encoding="utf-8")


def zero_shot_image_classification(directory: Path) -> None:
    transformers = importlib.import_module("transformers")
    signs = kit().alphabet()
    tokens = signs + [sign + "</w>" for sign in signs] + ["<|startoftext|>", "<|endoftext|>"]
    kit().byte_vocabulary(directory, tokens)
    transformers.CLIPTokenizerFast.from_pretrained(
        str(directory), model_max_length=77
    ).save_pretrained(str(directory))
    last = len(tokens) - 1
    text = transformers.CLIPTextConfig(
        vocab_size=len(tokens), bos_token_id=last - 1, eos_token_id=last, **kit().SMALL
    )
    vision = transformers.CLIPVisionConfig(image_size=SIDE, patch_size=8, **kit().SMALL)
    if hasattr(transformers.CLIPConfig, "from_text_vision_configs"):
        config = transformers.CLIPConfig.from_text_vision_configs(text, vision, projection_dim=16)
    else:  # Transformers 5
        config = transformers.CLIPConfig(
            text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16
        )
    kit().build("CLIPModel", config).save_pretrained(str(directory))
    processor("CLIP", size=SIDE, crop_size=SIDE).save_pretrained(str(directory))


def wav2vec2(**options: typing.Any) -> typing.Any:
    transformers = importlib.import_module("transformers")
    return transformers.Wav2Vec2Config(
        conv_dim=(8, 8),
        conv_kernel=(10, 8),
        conv_stride=(8, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=16,
        **dict(options, **kit().SMALL),
    )


def listener(directory: Path) -> None:
    transformers = importlib.import_module("transformers")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(str(directory))


def audio_classification(directory: Path) -> None:
    config = wav2vec2(**kit().labels(ANIMALS))
    kit().build("Wav2Vec2ForSequenceClassification", config).save_pretrained(str(directory))
    listener(directory)


def speech_recognition(directory: Path) -> None:
    transformers = importlib.import_module("transformers")
    vocabulary = json.dumps({token: index for index, token in enumerate(SPOKEN)})
    (directory / "vocab.json").write_text(vocabulary, encoding="utf-8")
    transformers.Wav2Vec2CTCTokenizer.from_pretrained(str(directory)).save_pretrained(
        str(directory)
    )
    model = kit().build("Wav2Vec2ForCTC", wav2vec2(vocab_size=len(SPOKEN), pad_token_id=0))
    kit().lean(model.lm_head, 0, SPOKEN.index("A"), -SURE)  # it always hears letters
    model.save_pretrained(str(directory))
    listener(directory)


MAKERS = {
    "audio-classification": audio_classification,
    "image-classification": image_classification,
    "image-segmentation": image_segmentation,
    "object-detection": object_detection,
    "speech-recognition": speech_recognition,
    "zero-shot-image": zero_shot_image_classification,
}

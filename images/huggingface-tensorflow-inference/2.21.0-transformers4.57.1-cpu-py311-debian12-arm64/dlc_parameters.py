"""Which `parameters` of a request a pipeline gets: those that its documentation names, bounded.

Pipelines hand what they do not know to tokenizers, models and `generate`, where some keywords load
code, files or repositories. So this is a list of what may pass, for each task, made from the
documented parameters of Transformers 4.4 to 5; what the version at hand does not know, it says
itself. DLC_ALLOW_PARAMETERS lets more through, by name and at every depth.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

from inspect import signature

from dlc_limits import RequestError, limit, split_names

ALLOW = "DLC_ALLOW_PARAMETERS"
MOST_LABELS = 200


# What a value may be. Each checks a value and returns what is accepted, if it is not.


def flag(value):
    return None if isinstance(value, bool) else "true or false"


def number(low, high):
    def check(value):
        ok = isinstance(value, (int, float)) and not isinstance(value, bool)
        return None if ok and low <= value <= high else "a number from {} to {}".format(low, high)

    return check


def whole(low, high):
    def check(value):
        most = high() if callable(high) else high
        ok = isinstance(value, int) and not isinstance(value, bool) and low <= value <= most
        return None if ok else "an integer from {} to {}".format(low, most)

    return check


def tokens():
    return limit("DLC_MAX_NEW_TOKENS")


def text(most):
    def check(value):
        ok = isinstance(value, str) and len(value) <= most
        return None if ok else "a text of at most {} characters".format(most)

    return check


def one_of(*names):
    def check(value):
        return None if value in names and isinstance(value, str) else "one of " + ", ".join(names)

    return check


def either(*checks):
    def check(value):
        wrong = [check_one(value) for check_one in checks]
        return None if None in wrong else ", or ".join(wrong)

    return check


def list_of(check_one, most, least=0):
    def check(value):
        if not isinstance(value, list) or not least <= len(value) <= most:
            return "a list of at most {}".format(most)
        wrong = [each for each in map(check_one, value) if each]
        return "a list, each of it " + wrong[0] if wrong else None

    return check


def template(value):
    """A sentence with one plain `{}`: str.format would do what a format in it asks for."""
    ok = isinstance(value, str) and len(value) <= 1000 and value.count("{}") == 1
    rest = value.replace("{}", "") if ok else "{"
    return "a text with one {} and no other brace" if "{" in rest or "}" in rest else None


def language(value):
    ok = isinstance(value, str) and len(value) <= 50 and value.replace("_", "").isalnum()
    return None if ok else "the name of a language"


def names_in_text(value):
    """Labels in one text: pipelines take it apart at each comma."""
    ok = text(10000)(value) is None and value.count(",") < MOST_LABELS
    return None if ok else "a text of at most {} labels".format(MOST_LABELS)


class Options:
    """A mapping of options, each of which has a check of its own."""

    def __init__(self, options):
        self.options = options


ID = whole(-1, 10000000)
IDS = list_of(ID, 10000)
LABELS = either(names_in_text, list_of(text(1000), MOST_LABELS))
PROBABILITY = number(0, 1)
SOME = whole(1, 10000)
LENGTH = whole(0, tokens)
# `generate` compares each with each token of the vocabulary, at every place: few and short.
STOPS = either(text(32), list_of(text(32), 4))
FUNCTION = one_of("sigmoid", "softmax", "none", "default")
TRUNCATION = either(
    flag,
    one_of("longest_first", "only_first", "only_second", "do_not_truncate", "drop_rows_to_fit"),
)
PADDING = either(flag, one_of("longest", "max_length", "do_not_pad"))

TOKENIZER = {
    "add_special_tokens": flag,
    "max_length": LENGTH,
    "padding": PADDING,
    "truncation": TRUNCATION,
}

GENERATION = {
    "bad_words_ids": list_of(IDS, 1000),
    "begin_suppress_tokens": IDS,
    "bos_token_id": ID,
    "decoder_start_token_id": ID,
    "diversity_penalty": number(0, 100),
    "do_sample": flag,
    "early_stopping": either(flag, one_of("never")),
    "encoder_no_repeat_ngram_size": whole(0, 1000),
    "encoder_repetition_penalty": number(0, 100),
    "eos_token_id": either(ID, IDS),
    "epsilon_cutoff": PROBABILITY,
    "eta_cutoff": PROBABILITY,
    "exponential_decay_length_penalty": list_of(number(0, 100000), 2, 2),
    "forced_bos_token_id": ID,
    "forced_decoder_ids": list_of(list_of(ID, 2, 2), 100),
    "forced_eos_token_id": either(ID, IDS),
    "guidance_scale": number(0, 100),
    "language": language,
    "length_penalty": number(-100, 100),
    "max_length": LENGTH,
    "max_new_tokens": LENGTH,
    "max_time": number(0, 3600),
    "min_length": LENGTH,
    "min_new_tokens": LENGTH,
    "min_p": PROBABILITY,
    "no_repeat_ngram_size": whole(0, 1000),
    "num_beam_groups": whole(1, 16),
    "num_beams": whole(1, 16),
    "num_return_sequences": whole(1, 16),
    "pad_token_id": ID,
    "penalty_alpha": PROBABILITY,
    "prompt_lookup_num_tokens": whole(1, 100),
    "remove_invalid_values": flag,
    "renormalize_logits": flag,
    "repetition_penalty": number(0.01, 100),
    "stop_strings": STOPS,
    "suppress_tokens": IDS,
    "task": one_of("transcribe", "translate"),
    "temperature": number(0, 100),
    "top_k": whole(0, 10000),
    "top_p": PROBABILITY,
    "typical_p": PROBABILITY,
    "use_cache": flag,
}
GENERATE = {"generate_kwargs": Options(GENERATION), "max_new_tokens": LENGTH}
TEXT_OUT = {
    "clean_up_tokenization_spaces": flag,
    "generate_kwargs": Options(GENERATION),
    "return_tensors": flag,
    "return_text": flag,
    "stop_sequence": text(200),
    "truncation": TRUNCATION,
}
TEXT_TO_TEXT = dict(GENERATION, src_lang=language, tgt_lang=language, **TEXT_OUT)
QUESTION = {
    "align_to_words": flag,
    "doc_stride": SOME,
    "handle_impossible_answer": flag,
    "max_answer_len": SOME,
    "max_question_len": SOME,
    "max_seq_len": SOME,
    "padding": PADDING,
    "top_k": SOME,
    "topk": SOME,
}
CLASSES = {"function_to_apply": FUNCTION, "top_k": SOME}
CANDIDATES = {"candidate_labels": LABELS, "hypothesis_template": template}
SECONDS = {"timeout": number(0, 60)}

TASKS = {
    "any-to-any": dict(
        GENERATE,
        continue_final_message=flag,
        generation_mode=one_of("text", "image", "audio"),
        return_full_text=flag,
        return_tensors=flag,
        stop_sequence=text(200),
        text=LABELS,
    ),
    "audio-classification": CLASSES,
    "automatic-speech-recognition": dict(
        GENERATE,
        chunk_length_s=number(0, 1800),
        return_language=flag,
        return_timestamps=either(flag, one_of("char", "word")),
        stride_length_s=either(number(0, 1800), list_of(number(0, 1800), 2, 2)),
    ),
    "conversational": dict(
        GENERATION,
        clean_up_tokenization_spaces=flag,
        min_length_for_response=LENGTH,
        minimum_tokens=LENGTH,
    ),
    "depth-estimation": SECONDS,
    "document-question-answering": dict(
        QUESTION,
        lang=language,
        word_boxes=list_of(
            list_of(either(text(1000), list_of(number(-100000, 100000), 4, 4)), 2, 2), 10000
        ),
    ),
    "feature-extraction": dict(TOKENIZER, return_tensors=flag, tokenize_kwargs=Options(TOKENIZER)),
    "fill-mask": {"targets": LABELS, "tokenizer_kwargs": Options(TOKENIZER), "top_k": SOME},
    "image-classification": dict(CLASSES, **SECONDS),
    "image-feature-extraction": dict(SECONDS, pool=flag, return_tensors=flag),
    "image-segmentation": dict(
        SECONDS,
        mask_threshold=PROBABILITY,
        overlap_mask_area_threshold=PROBABILITY,
        subtask=one_of("panoptic", "instance", "semantic"),
        threshold=PROBABILITY,
    ),
    "image-text-to-text": dict(
        GENERATE,
        continue_final_message=flag,
        return_full_text=flag,
        return_tensors=flag,
        stop_sequence=text(200),
        text=LABELS,
    ),
    "image-to-image": SECONDS,
    "image-to-text": dict(GENERATE, prompt=text(10000), **SECONDS),
    "keypoint-matching": dict(SECONDS, threshold=PROBABILITY),
    "mask-generation": dict(
        SECONDS,
        crop_n_points_downscale_factor=whole(1, 16),
        crop_overlap_ratio=PROBABILITY,
        crops_n_layers=whole(0, 2),
        crops_nms_thresh=PROBABILITY,
        mask_threshold=number(-100, 100),
        output_bboxes_mask=flag,
        output_rle_mask=flag,
        points_per_batch=whole(1, 256),
        pred_iou_thresh=PROBABILITY,
        stability_score_offset=number(-100, 100),
        stability_score_thresh=PROBABILITY,
    ),
    "object-detection": dict(SECONDS, threshold=PROBABILITY),
    "question-answering": QUESTION,
    "summarization": TEXT_TO_TEXT,
    "table-question-answering": {"padding": PADDING, "sequential": flag, "truncation": TRUNCATION},
    "text-classification": dict(CLASSES, return_all_scores=flag, **TOKENIZER),
    "text-generation": dict(
        GENERATION,
        add_special_tokens=flag,
        continue_final_message=flag,
        handle_long_generation=one_of("hole"),
        padding=PADDING,
        prefix=text(10000),
        return_full_text=flag,
        **TEXT_OUT,
    ),
    "text-to-audio": {
        "forward_params": Options(GENERATION),
        "generate_kwargs": Options(GENERATION),
    },
    "text-to-image": {
        "clip_skip": whole(0, 12),
        "eta": PROBABILITY,
        "guidance_rescale": PROBABILITY,
        "guidance_scale": number(0, 100),
        "height": whole(8, 2048),
        "max_sequence_length": whole(1, 1024),
        "negative_prompt": text(10000),
        "negative_prompt_2": text(10000),
        "num_images_per_prompt": whole(1, 16),
        "num_inference_steps": whole(1, 500),
        "prompt_2": text(10000),
        "true_cfg_scale": number(0, 100),
        "width": whole(8, 2048),
    },
    "text2text-generation": TEXT_TO_TEXT,
    "token-classification": {
        "aggregation_strategy": one_of("none", "simple", "first", "average", "max"),
        "delimiter": text(100),
        "grouped_entities": flag,
        "ignore_labels": list_of(text(1000), 1000),
        "ignore_subwords": flag,
        "is_split_into_words": flag,
        "stride": SOME,
    },
    "translation": TEXT_TO_TEXT,
    "video-classification": dict(
        CLASSES, frame_sampling_rate=whole(1, 1000), num_frames=whole(1, 1000)
    ),
    "visual-question-answering": dict(SECONDS, padding=PADDING, top_k=SOME, truncation=TRUNCATION),
    "zero-shot-audio-classification": CANDIDATES,
    "zero-shot-classification": dict(
        CANDIDATES, multi_class=flag, multi_label=flag, truncation=TRUNCATION
    ),
    "zero-shot-image-classification": dict(CANDIDATES, **SECONDS),
    "zero-shot-object-detection": dict(
        SECONDS, candidate_labels=LABELS, threshold=PROBABILITY, top_k=SOME
    ),
}
OTHER_NAMES = {
    "ner": "token-classification",
    "sentiment-analysis": "text-classification",
    "text-to-speech": "text-to-audio",
    "vqa": "visual-question-answering",
}


def usual_name(task):
    task = OTHER_NAMES.get(task, task)
    return "translation" if task.startswith("translation_") else task


def check_parameters(task, parameters):
    """Refuse what a request gives beside its inputs, if the task does not document it."""
    if parameters is None:
        return
    allowed = TASKS.get(usual_name(task))
    if allowed is None:  # a task of the team's own, or of a later version
        allowed = {name: check for options in TASKS.values() for name, check in options.items()}
    check_options("parameters", parameters, allowed, set(split_names(ALLOW)))


def as_taken(task, parameters, model):
    """The parameters as a pipeline takes them: Transformers passes over some without a word.

    What is for the tokenizer has a place of its own in a later pipeline of features.
    """
    taken = getattr(model, "_sanitize_parameters", None)
    if usual_name(task) != "feature-extraction" or taken is None:
        return parameters
    if "tokenize_kwargs" not in signature(taken).parameters:
        return parameters
    own = {name: parameters[name] for name in TOKENIZER if name in parameters}
    rest = {name: value for name, value in parameters.items() if name not in own}
    given = rest.get("tokenize_kwargs") or {}
    twice = sorted(set(own) & set(given))
    if twice:
        message = "parameters.{0} is given twice, in tokenize_kwargs too"
        raise RequestError(message.format(twice[0]))
    return dict(rest, tokenize_kwargs=dict(given, **own)) if own else parameters


def check_options(where, options, allowed, opened):
    if not isinstance(options, dict):
        raise RequestError("{} must be a JSON object".format(where))
    for name in sorted(options, key=str):
        value = options[name]
        if name in opened or (value is None and name in allowed):
            continue
        if name not in allowed:
            message = "{} has {!r}, which is not accepted here; accepted are {}. {}"
            accepted = ", ".join(sorted(allowed)) or "none"
            hint = "The operator of this endpoint can allow more with " + ALLOW
            raise RequestError(message.format(where, name[:50], accepted, hint))
        inside = "{}.{}".format(where, name)
        if isinstance(allowed[name], Options):
            check_options(inside, value, allowed[name].options, opened)
            continue
        wrong = allowed[name](value)
        if wrong:
            raise RequestError("{} must be {}".format(inside, wrong))

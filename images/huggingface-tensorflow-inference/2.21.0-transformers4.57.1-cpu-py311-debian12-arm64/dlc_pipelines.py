"""Pipelines that Transformers removed, on models that it still has.

Transformers 4.42 has no pipeline for conversations, and 5.3 none that makes a text of a text or
answers questions; a client of 4.6 still asks for them. These take what those of 4.57 took, and
answer as they did, but for one thing: what a request (`max_length`) or the model's own
generation_config.json says goes before the defaults of the task.

Python 3.6 and later: this file is the same in every image. Transformers is imported when used.
"""

import logging
from inspect import Parameter, signature

from dlc_inputs import is_chat
from dlc_parameters import usual_name
from dlc_questions import Spans, question_of

NEW_TOKENS = 256  # of an answer, where neither the model nor the request says how many
BEAMS = 4
LEAST_REPLY = 10  # tokens that a long conversation leaves for its reply
POSITIONAL = Parameter.POSITIONAL_OR_KEYWORD
TYPES = ("dtype", "torch_dtype")  # what `pipeline` calls the type of the weights
ROLES = ("user", "assistant")
NO_LIMIT = 10**6  # tokenizers that know no limit have one above this


class Pipeline:
    """A model, its tokenizer, and the task they are for.

    The handler knows it by its name and attributes, as it knows the pipelines of Transformers.
    """

    heads = ("AutoModelForSeq2SeqLM",)

    def __init__(self, task, model, tokenizer):
        self.task, self.model, self.tokenizer = task, model, tokenizer

    def __call__(self, inputs, **parameters):
        """The answer to the inputs, or one for each of a list.

        What the task does not take raises ValueError, TypeError or LookupError, which the handler
        tells the client.
        """
        if isinstance(inputs, list):
            return [self.answer(each, **parameters) for each in inputs]
        return self.answer(inputs, **parameters)

    def answer(self, inputs, **parameters):
        raise NotImplementedError

    def of_task(self):
        """What config.json says for this task alone."""
        tasks = getattr(self.model.config, "task_specific_params", None) or {}
        return dict(tasks.get(self.task) or {})

    def generate(self, encoded, options, **defaults):
        """The tokens that the model generates, a list for each text."""
        own = self.model.generation_config
        usual = type(own)()
        of_model = {
            name
            for name in ("max_length", *defaults)
            if getattr(own, name, None) != getattr(usual, name, None)
        }
        given = self.of_task()
        given.pop("prefix", None)
        given.update(options)
        if given.get("max_length") is not None:
            given.setdefault("max_new_tokens", None)  # else the model's own would go before it
        if "max_length" in of_model:
            defaults.pop("max_new_tokens", None)
        for name, value in defaults.items():
            if name not in of_model:
                given.setdefault(name, value)
        if getattr(own, "pad_token_id", None) is None:
            given.setdefault("pad_token_id", self.tokenizer.pad_token_id)
        if given.get("stop_strings"):
            given["tokenizer"] = self.tokenizer
        return self.run(self.model.generate, encoded, **given).tolist()

    def run(self, function, encoded, **more):
        """What the model makes of what a tokenizer made: lists, or the setting for a language."""
        if getattr(self.model, "framework", "") == "tf":  # only to generate: conversations
            import tensorflow  # noqa: PLC0415

            lists = {name: tensorflow.constant(value) for name, value in encoded.items()}
            return function(**dict(lists, **more)).numpy()
        import torch  # noqa: PLC0415

        named = {}
        for name, value in encoded.items():
            is_tokens = isinstance(value, list)
            named[name] = torch.tensor(value).to(self.model.device) if is_tokens else value
        with torch.no_grad():
            return function(**dict(named, **more))


class TextToText(Pipeline):
    """A text of a text: a summary, a translation, or what the model was made for."""

    key = "generated"

    def __call__(self, inputs, **parameters):
        answers = super().__call__(inputs, **parameters)
        if isinstance(inputs, list) and all(len(each) == 1 for each in answers):
            return [each[0] for each in answers]
        return answers

    def answer(
        self,
        inputs,
        clean_up_tokenization_spaces=None,
        return_tensors=None,
        return_text=None,  # noqa: ARG002 has never said anything that return_tensors does not
        stop_sequence=None,
        truncation=None,
        **options,
    ):
        if not isinstance(inputs, str):
            raise ValueError("inputs of this task must be a text, or a list of texts")
        encoded = dict(self.encode(inputs, truncation or False, options))
        encoded.pop("token_type_ids", None)  # of some tokenizers, and nothing for `generate`
        if stop_sequence:
            stop = self.tokenizer.encode(stop_sequence, add_special_tokens=False)
            options["eos_token_id"] = stop[0]
        found = self.generate(encoded, options, max_new_tokens=NEW_TOKENS, num_beams=BEAMS)
        if return_tensors:
            return [{self.key + "_token_ids": each} for each in found]
        clean = bool(clean_up_tokenization_spaces)
        return [{self.key + "_text": text_of(self.tokenizer, each, clean)} for each in found]

    def encode(self, text, truncation, options):  # noqa: ARG002
        prefix = self.of_task().get("prefix", getattr(self.model.config, "prefix", None))
        return self.tokenizer([(prefix or "") + text], truncation=truncation)


class Summarization(TextToText):
    key = "summary"


class Translation(TextToText):
    key = "translation"

    def encode(self, text, truncation, options):
        words = self.task.split("_")  # translation, xx, to, yy
        languages = {key: options.pop(key, None) for key in ("src_lang", "tgt_lang")}
        if len(words) == 4 and languages == {"src_lang": None, "tgt_lang": None}:
            languages = {"src_lang": words[1], "tgt_lang": words[3]}
        build = getattr(self.tokenizer, "_build_translation_inputs", None)
        if not build:  # the model knows one pair of languages, or is told by the prefix
            return super().encode(text, truncation, options)
        return build([text], return_tensors=None, truncation=truncation, **languages)


class Conversation(Pipeline):
    """A reply to the last of what a user said, and the conversation with it, as the toolkit's.

    A list of messages is a conversation, too, and comes back as the pipeline of text-generation has
    it.
    """

    heads = ("AutoModelForSeq2SeqLM", "AutoModelForCausalLM")

    def __call__(self, inputs, **parameters):
        if is_chat(inputs):
            return [self.answer(inputs, **parameters)]
        if isinstance(inputs, list):
            return [self(each, **parameters) for each in inputs]
        return self.answer(inputs, **parameters)

    def answer(
        self,
        inputs,
        clean_up_tokenization_spaces=None,
        min_length_for_response=None,  # noqa: ARG002 has never said anything
        minimum_tokens=None,
        **options,
    ):
        messages = isinstance(inputs, list)
        said = talk_of(inputs) if messages else messages_of(*talk(inputs))
        ids = self.prompt(said)
        most = dict(self.of_task(), **options).get("max_length")
        limits = [most, getattr(self.model.config, "max_position_embeddings", None)]
        limits.append(getattr(self.tokenizer, "model_max_length", None))
        limits = [each for each in limits if isinstance(each, int) and each < NO_LIMIT]
        if limits:  # what was said first is forgotten first
            ids = ids[-max(1, min(limits) - (minimum_tokens or LEAST_REPLY)) :]
        encoded = {"input_ids": [ids], "attention_mask": [[1] * len(ids)]}
        found = self.generate(encoded, options, max_new_tokens=NEW_TOKENS)[0]
        new = found if self.model.config.is_encoder_decoder else found[len(ids) :]
        reply = text_of(self.tokenizer, new, clean_up_tokenization_spaces is not False)
        said.append({"role": "assistant", "content": reply})
        if messages:
            return {"generated_text": said}
        texts = [each["content"] for each in said]
        known = {"past_user_inputs": texts[::2], "generated_responses": texts[1::2]}
        return {"generated_text": reply, "conversation": known}

    def prompt(self, chat):
        """Ids of all that was said, as the model was taught to read it."""
        tokenizer = self.tokenizer
        if getattr(tokenizer, "chat_template", None):
            text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            return tokenizer.encode(text, add_special_tokens=False)
        roles = [each["role"] for each in chat]
        if roles != [ROLES[at % 2] for at in range(len(chat))]:
            raise ValueError("without a chat template, messages are of user and assistant in turn")
        said = [each["content"] for each in chat]
        if self.model.config.is_encoder_decoder:  # Blenderbot's: a space marks what a user says
            texts = [text if at % 2 else " " + text for at, text in enumerate(said)]
            return tokenizer.encode("  ".join(texts))
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        encoded = [tokenizer.encode(text, add_special_tokens=False) + end for text in said]
        return [each for ids in encoded for each in ids]


class QuestionAnswering(Pipeline):
    """Parts of a context that answer a question, by the likelihood of their ends."""

    heads = ("AutoModelForQuestionAnswering",)

    def __init__(self, task, model, tokenizer):
        super().__init__(task, model, tokenizer)
        if not tokenizer.is_fast:  # the others do not say where in the text a token is
            raise ValueError("question answering needs a tokenizer of the tokenizers library")

    def __call__(self, inputs, **parameters):
        if isinstance(inputs, list) and len(inputs) == 1:
            inputs = inputs[0]
        return super().__call__(inputs, **parameters)

    def answer(self, inputs, **parameters):
        spans = Spans(self.tokenizer, *question_of(inputs), **parameters)
        for window, encoded in spans.windows():
            output = self.run(self.model, encoded)
            scores = (output[key][0].float().cpu() for key in ("start_logits", "end_logits"))
            spans.add(window, *(each.numpy() for each in scores))
        return spans.best()


PIPELINES = {
    "conversational": Conversation,
    "question-answering": QuestionAnswering,
    "summarization": Summarization,
    "text2text-generation": TextToText,
    "translation": Translation,
}


def messages_of(users, replies):
    """What was said in turn, as messages."""
    said = [text for pair in zip(users, replies) for text in pair] + users[-1:]
    return [{"role": ROLES[at % 2], "content": text} for at, text in enumerate(said)]


def talk_of(messages):
    """The messages of a chat that a user speaks last in; ValueError if it is not one."""
    said = [{"role": each["role"], "content": each.get("content")} for each in messages]
    if not all(isinstance(each["content"], str) for each in said):
        raise ValueError("the content of every message must be a text")
    if said[-1]["role"] != ROLES[0]:
        raise ValueError("the last message must be the user's")
    return said


def talk(inputs):
    """What a user said and what was replied, in turn; ValueError if it is no conversation."""
    keys = ("text", "past_user_inputs", "generated_responses")
    if not isinstance(inputs, dict) or not {"text"} <= set(inputs) <= set(keys):
        raise ValueError("inputs of this task must have the keys " + ", ".join(keys))
    users = [*(inputs.get(keys[1]) or []), inputs["text"]]
    replies = list(inputs.get(keys[2]) or [])
    if not all(isinstance(each, str) for each in users + replies):
        raise ValueError("all that was said must be texts")
    if len(users) != len(replies) + 1:
        message = "past_user_inputs are {}, and generated_responses {}: to each one reply"
        raise ValueError(message.format(len(users) - 1, len(replies)))
    return users, replies


def text_of(tokenizer, ids, clean):
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=clean)


def replace_pipelines(module):
    """Put ours where Transformers has none, in the module of the toolkit's handler."""
    from transformers.pipelines import pipeline  # noqa: PLC0415

    ask_for_no_type(pipeline)
    if has("tf") and not has("torch"):
        from transformers import modeling_tf_pytorch_utils  # noqa: PLC0415

        let_weights_be_listed(modeling_tf_pytorch_utils)
    get_pipeline = module.get_pipeline

    def get_any_pipeline(task, device, model_dir, **named):
        kind = missing(task)
        if kind is None:
            return get_pipeline(task=task, device=device, model_dir=model_dir, **named)
        return load(kind, task, device, model_dir)

    module.get_pipeline = get_any_pipeline


def ask_for_no_type(pipeline):
    """Let Transformers' `pipeline` load models where TensorFlow is without PyTorch.

    From 4.53.3 on it asks for the type of the weights by default, and looks that up in PyTorch's
    module, which is not there. Changed in the function itself, which a team's own code calls too.
    """
    if has("torch"):
        return
    given = signature(pipeline).parameters.values()
    given = [each for each in given if each.kind == POSITIONAL and each.default is not each.empty]
    pipeline.__defaults__ = tuple(
        None if each.name in TYPES and each.default == "auto" else each.default for each in given
    )


class Weights:
    """An open file of safetensors whose names can be gone through."""

    def __init__(self, opened):
        self.get_tensor, self.names = opened.get_tensor, opened.keys

    def __iter__(self):
        return iter(self.names())


def let_weights_be_listed(module):
    """Let TensorFlow load what PyTorch saved as safetensors, as nearly all models of the Hub are.

    Transformers 4.57 goes through the file as through a dict, which it is not. Changed in its
    module, for a team's own code.
    """
    load = getattr(module, "load_pytorch_state_dict_in_tf2_model", None)

    def load_any(model, weights, *arguments, **named):
        if hasattr(weights, "get_tensor") and not hasattr(weights, "__iter__"):
            weights = Weights(weights)
        return load(model, weights, *arguments, **named)

    if load:
        module.load_pytorch_state_dict_in_tf2_model = load_any


def has(framework):
    """Whether Transformers can use `torch` or `tf`; of the latter, 5 knows nothing."""
    import transformers  # noqa: PLC0415

    return bool(getattr(transformers, "is_{}_available".format(framework), bool)())


def missing(task):
    """Our pipeline for a task, if Transformers has none and a framework for it is there."""
    from transformers.pipelines import SUPPORTED_TASKS  # noqa: PLC0415

    name = usual_name(task) if isinstance(task, str) else None
    kind = PIPELINES.get(name)
    usable = has("torch") or (kind is Conversation and has("tf"))
    return kind if usable and name not in SUPPORTED_TASKS else None


def load(kind, task, device, folder):
    """A pipeline with the model in a folder, on a GPU if `device` is the number of one."""
    import transformers  # noqa: PLC0415
    from sagemaker_huggingface_inference_toolkit import transformers_utils  # noqa: PLC0415

    trusted = {"trust_remote_code": transformers_utils.TRUST_REMOTE_CODE}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trusted)
    head = kind.heads[0]
    if kind.heads[1:]:
        config = transformers.AutoConfig.from_pretrained(folder, **trusted)
        head = kind.heads[0 if config.is_encoder_decoder else 1]
    torch = has("torch")  # TensorFlow itself takes a GPU that is there
    model = getattr(transformers, head if torch else "TF" + head)
    model = model.from_pretrained(folder, **trusted)
    if torch and device is not None and device >= 0:
        model = model.to("cuda:{}".format(device))
    logging.info(
        "Transformers %s has no pipeline for %s; served by %s",
        transformers.__version__,
        task,
        kind.__name__,
    )
    return kind(task, model, tokenizer)

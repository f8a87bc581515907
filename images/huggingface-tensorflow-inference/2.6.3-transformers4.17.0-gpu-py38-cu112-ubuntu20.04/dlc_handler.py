"""The handler of the model server's workers: the toolkit's, with requests looked at first.

multi-model-server imports this file by name in each worker and takes the one class in it. Models
are loaded, and hooks of a team's code called, as the toolkit does. What differs: bodies are decoded
by dlc_decode, a pipeline gets what dlc_inputs and dlc_parameters let pass, errors of the client
have another status than errors of the model, and no answer can end the worker.

Python 3.6 and later: this file is the same in every image, for toolkits 1.0 to 2.6 and
multi-model-server 1.1.4 to 1.1.11.
"""

import importlib
import json
import logging
import os
import sys
from http.client import responses
from inspect import Parameter, signature

import dlc_content
import dlc_decode
import dlc_inputs
import dlc_parameters
import dlc_pipelines
import dlc_tasks
from dlc_encode import encode_json, encode_json_lines
from dlc_limits import RequestError, clean
from dlc_memory import most_answered
from dlc_ready import failure_file, one_line
from dlc_requirements import why_not_met

TOOLKIT = "sagemaker_huggingface_inference_toolkit"
ERROR = "InternalServerException"  # what multi-model-server calls every error of a handler
HOOKS = (("preprocess", 2), ("predict", 2), ("postprocess", 2), ("transform_fn", 4))
LOADING = 2000  # characters of why a model does not load: Transformers names all tasks in it
POSITIONAL = Parameter.POSITIONAL_OR_KEYWORD


class HandlerService:
    """The toolkit's handler; if it cannot load its model, it says so in the log and to `ready`.

    multi-model-server swallows what `initialize` raises, and version 1.1.4 does not even log it.
    A request tries to load once more, as the toolkit does, and is told what failed.
    """

    def __init__(self):
        self._service = None
        self._failed = False

    def initialize(self, context):
        try:
            self._load(context)
        except (Exception, SystemExit) as error:
            self._keep(context, error)
            logging.exception("Model %s did not load", context.model_name)
            if isinstance(error, MemoryError):  # the one that multi-model-server handles
                raise

    def handle(self, data, context):
        from mms.service import PredictionException  # noqa: PLC0415 not for the server's process

        name = context.get_request_id(0)
        try:
            return [self._answer(data, context)]
        except RequestError as error:
            message, code = error.message, error.code
            cause = error.__cause__ is not None
            logging.info("Request %s refused: %s", name, clean(message), exc_info=cause)
        except PredictionException as error:
            message, code = error.message, status(error.error_code)
            logging.exception("Request %s refused by the model's code", name)
        except (Exception, SystemExit) as error:
            message, code = one_line(error), 500
            logging.exception("Request %s could not be answered", name)
        return [refusal(context, name, clean(message), code)]

    def _answer(self, data, context):
        service = self._loaded(context)
        headers = context.request_processor[0].get_request_properties()
        given = dlc_content.header(headers, "content-type")
        body = data[0].get("body")
        if body is None:
            raise RequestError(dlc_content.why_no_body(given))
        body = dlc_decode.inflated(body, dlc_content.header(headers, "content-encoding"))
        own_input = overridden(service, "preprocess") or overridden(service, "transform_fn")
        own_output = overridden(service, "postprocess") or overridden(service, "transform_fn")
        kind = dlc_content.kind_of(given, task_of(service.model), own_input)
        if kind in (dlc_content.TEXTS if not own_input else dlc_content.TEXTS_OF_TOOLKIT):
            body = dlc_decode.as_text(body, dlc_content.charset(given))
        given = dlc_content.header(headers, "accept")
        service.utf8 = dlc_content.wants_utf8(given)
        service.kinds = [] if own_output else dlc_content.accepted(given)
        accept = dlc_content.accepted_by_own(given) if own_output else service.kinds[0]
        extra = getattr(service, "transform_extra_arg", [])
        answer = service.transform_fn(service.model, body, kind, accept, *extra)
        kind = accept if own_output else dlc_content.in_utf8(service.kinds[0], service.utf8)
        answer, kind = dlc_content.as_bytes(answer, kind, service.utf8)
        context.set_response_content_type(0, dlc_content.plain(kind))
        if len(answer) > most_answered():  # multi-model-server would give up the worker
            message = "the answer has {} bytes, and the limit is {} (MMS_MAX_RESPONSE_SIZE)"
            raise RequestError(message.format(len(answer), most_answered()), 500)
        return answer

    def _loaded(self, context):
        """The toolkit's service with its model."""
        service = self._toolkit()
        if not service.initialized:
            try:
                self._load(context)
            except (Exception, SystemExit) as error:
                logging.exception("Model %s did not load", context.model_name)
                why = "the model did not load: " + one_line(error, LOADING)
                raise RequestError(why, 503) from None
        if self._failed:  # it did load this time
            self._failed = False
            os.remove(failure_file(context.model_name, os.getpid()))
        return service

    def _load(self, context):
        service = self._toolkit()
        if os.environ.get("SAGEMAKER_MULTI_MODEL") == "true":  # alone, the toolkit installs them
            why = why_not_met(context.system_properties.get("model_dir"))
            if why:
                raise ValueError(why)
        service.initialize(context)
        service.initialized = False  # until its hooks are looked at
        for name, count in HOOKS:  # toolkits before 2.3 do not look at signatures
            if overridden(service, name):
                takes_context(getattr(service, name), count)
        service.initialized = True
        if not logging.getLogger().isEnabledFor(
            logging.DEBUG
        ):  # how long each request's steps took
            logging.getLogger(TOOLKIT + ".handler_service").setLevel(logging.WARNING)
        dlc_decode.replace_sound_reader(sys.modules)
        if overridden(service, "preprocess"):
            service.preprocess = blaming_the_request(service.preprocess)

    def _toolkit(self):
        if self._service is None:
            module = importlib.import_module(TOOLKIT + ".handler_service")
            dlc_decode.replace_decoders()
            dlc_tasks.replace_guess(module)
            dlc_pipelines.replace_pipelines(module)
            keep_worker_alive()
            self._service = guarded(module.HuggingFaceHandlerService)()
        return self._service

    def _keep(self, context, error):
        try:
            path = failure_file(context.model_name, os.getpid())
            with open(path, "w", encoding="utf-8") as file:
                file.write(one_line(error))
            self._failed = True
        except OSError as reason:
            logging.warning("The reason cannot be kept for `ready`: %s", reason)


def guarded(toolkit):
    """The toolkit's class of services with a `predict` that looks at what a pipeline gets.

    A team's own predict_fn takes its place, as it does that of the toolkit's.
    """

    def preprocess(self, body, kind, *context):
        if kind in dlc_content.LINES:
            return dlc_decode.decode_json_lines(body)
        dlc_content.check_decodes(kind)
        decode = blaming_the_request(toolkit.preprocess)  # toolkit 1.0 has its own for CSV
        return decode(self, body, dlc_content.usual(kind), *context)

    def predict(self, data, model, *context):
        task = task_of(model)
        if task is None and overridden(self, "load"):  # the team's own, which knows what it takes
            return toolkit.predict(self, data, model, *context)
        task = os.environ.get("HF_TASK", "") if task is None else task
        if not isinstance(data, dict):
            raise RequestError("the body must be a JSON object with the key inputs")
        dlc_parameters.check_parameters(task, data.get("parameters"))
        with dlc_inputs.Inputs(task, sampling_rate(model)) as inputs:
            safe = {"inputs": inputs.safe(dlc_inputs.inputs_of(task, data))}
            if data.get("parameters") is not None:
                safe["parameters"] = dlc_parameters.as_taken(task, data["parameters"], model)
            try:
                return toolkit.predict(self, safe, model, *context)
            except Exception as error:
                if dlc_inputs.is_to_blame_for(error):
                    raise RequestError(one_line(error)) from error
                raise

    def postprocess(self, prediction, accept, *context):
        # Kinds that the answer cannot be are left out, so that the first is what it is.
        for kind in list(self.kinds):
            if kind == dlc_content.JSON:
                return encode_json(prediction, self.utf8)
            if kind in dlc_content.LINES:
                return encode_json_lines(prediction, self.utf8)
            try:
                return toolkit.postprocess(self, prediction, kind, *context)
            except dlc_content.CANNOT_BE:
                logging.info("The answer cannot be %s", kind, exc_info=True)
                self.kinds.remove(kind)
        message = "the answer of this model cannot be {}: accept application/json"
        raise RequestError(message.format(accept))

    def function_extra_arg(self, default, function):
        count = len(signature(default).parameters) - 2  # without `self` and the context
        return [self.context] if takes_context(function, count) else []

    methods = (preprocess, predict, postprocess, function_extra_arg)
    return type("GuardedService", (toolkit,), {each.__name__: each for each in methods})


def takes_context(function, count):
    """Whether a hook takes the server's context after its other arguments; TypeError if not these.

    An argument with a default is the team's own, unless it is named so.
    """
    given = list(signature(function).parameters.values())
    places = [each for each in given if each.kind in (each.POSITIONAL_ONLY, POSITIONAL)]
    needed = [each for each in places if each.default is each.empty]
    more = any(each.kind == each.VAR_POSITIONAL for each in given)
    words = [
        each for each in given if each.kind == each.KEYWORD_ONLY and each.default is each.empty
    ]
    if len(needed) > count + 1 or (len(places) < count and not more) or words:
        message = "{}{} cannot be called: it is given {} arguments, or one more for the context"
        raise TypeError(message.format(function.__name__, signature(function), count))
    return len(needed) > count or (len(places) > count and places[count].name == "context")


def blaming_the_request(input_fn):
    """A team's own input_fn or a decoder, of which an error is one of the request."""
    from mms.service import PredictionException  # noqa: PLC0415

    def call(*arguments):
        try:
            return input_fn(*arguments)
        except (RequestError, PredictionException, MemoryError):
            raise
        except Exception as error:
            raise RequestError(one_line(error)) from error

    return call


def task_of(model):
    """The task of a pipeline of Transformers or of the toolkit; of another model, nothing."""
    if getattr(model, "__name__", "") == "wrapped_pipeline":  # toolkits 1.1 to 2.4
        return "conversational"
    names = [each.__name__ for each in type(model).__mro__]
    if "SMDiffusionPipelineForText2Image" in names:
        return "text-to-image"
    if "Pipeline" not in names or not hasattr(model, "model"):
        return None
    return getattr(model, "task", None) or os.environ.get("HF_TASK", "")


def sampling_rate(model):
    extractor = getattr(model, "feature_extractor", None)
    return getattr(extractor, "sampling_rate", None) or 16000


def overridden(service, name):
    """Whether a team's own function is in the place of a method."""
    return name in vars(service)


# Around the toolkit and multi-model-server


def keep_worker_alive():
    """Answer what cannot be sent with an error: what fails in there ends the worker."""
    from mms import service  # noqa: PLC0415

    create = service.create_predict_response

    def create_or_say(answer, requests, message, code, context=None):
        try:
            return create(answer, requests, message, code, context=context)
        except Exception:
            logging.exception("The answer cannot be sent")
            return create(None, requests, "The answer cannot be sent", 500)

    service.create_predict_response = create_or_say


def refusal(context, name, message, code):
    """The body of an error, in the form of the model server's, with the id that the log has."""
    context.set_response_status(code, responses.get(code, ""), 0)
    context.set_response_content_type(0, dlc_content.JSON)
    error = {"code": code, "type": ERROR, "message": message, "request_id": name}
    return json.dumps(error, indent=2).encode("ascii") + b"\n"


def status(code):
    """The status of an exception of the team's own, if HTTP has it."""
    return code if isinstance(code, int) and 400 <= code <= 599 else 500

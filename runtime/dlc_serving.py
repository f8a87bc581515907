"""The toolkit's model server, started with what an image needs; and the handler of its workers.

As a program it is the toolkit's `serve`, but for four things. It starts Java without importing the
framework first. It writes nothing outside the current directory, which the entrypoint makes in the
temporary one. Its log is standard output alone. And its workers use the handler below, which keeps
the reason when a model does not load.

As a module it is that handler: multi-model-server imports it by name in each worker and takes the
one class in it.

Standard library and the toolkit only, Python 3.6 and later: this file is the same in every image,
for toolkits 1.0 to 2.6 and multi-model-server 1.1.4 to 1.1.11.
"""

import importlib
import logging
import os
import sys
import types

from dlc_ready import failure_file, one_line

TOOLKIT = "sagemaker_huggingface_inference_toolkit"
HANDLER = "dlc_serving"  # this file, as a module
# Set by the entrypoint: the port where only this container's loopback reaches the model server.
INNER_PORT = "DLC_INNER_PORT"

# What the toolkit's own configuration writes to standard output, without its six files beside that.
LEVELS = (
    ("ACCESS_LOG", "info"),
    ("MMS_METRICS", "warn"),
    ("MODEL_LOG", "warn"),
    ("MODEL_METRICS", "warn"),
    ("com.amazonaws.ml.mms", "info"),
    ("io.netty", "error"),
    ("org.apache", "off"),
)
LINE = "%d{ISO8601} [%-5p] %t %c - %m%n"


# The server


def main():
    put_on_python_path(os.path.dirname(os.path.abspath(__file__)))
    defer("sagemaker_inference.default_handler_service")
    defer(TOOLKIT + ".handler_service")
    defer(
        TOOLKIT + ".transformers_utils",
        functions=("_load_model_from_hub", "is_aws_neuron_available"),
        HF_API_TOKEN=os.environ.get("HF_API_TOKEN"),
        HF_MODEL_REVISION=os.environ.get("HF_MODEL_REVISION"),
    )
    from sagemaker_inference import model_server  # noqa: PLC0415 after what it need not import

    model_server.MMS_CONFIG_FILE = os.path.abspath("mms.properties")
    model_server.DEFAULT_MMS_LOG_FILE = write_log_configuration()
    properties = model_server._generate_mms_config_properties

    def more_properties(*arguments, **named):
        return properties(*arguments, **named) + inner_address(os.environ.get(INNER_PORT))

    model_server._generate_mms_config_properties = more_properties
    serving = importlib.import_module(TOOLKIT + ".serving")
    serving.HANDLER_SERVICE = HANDLER
    serving.main()


def put_on_python_path(folder):
    """The workers import this file from it; multi-model-server hands the variable on."""
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = folder + (os.pathsep + others if others else "")


def defer(name, functions=(), **values):
    """Put an empty module in the place of one that imports the framework, which takes seconds.

    The server needs its name, some values that are known, and functions that import it if called.
    """
    module = types.ModuleType(name)
    vars(module).update(values)

    def later(function):
        def call(*arguments, **named):
            if sys.modules.get(name) is module:
                del sys.modules[name]
            return getattr(importlib.import_module(name), function)(*arguments, **named)

        return call

    for function in functions:
        setattr(module, function, later(function))
    sys.modules[name] = module


def inner_address(port):
    """Properties that keep the model server on the loopback; the last of a name is the one."""
    if not port:
        return ""
    keys = ("inference_address", "management_address")
    return "".join("{}=http://127.0.0.1:{}\n".format(key, port) for key in keys)


def write_log_configuration():
    """Write it in the language of multi-model-server's log4j, 1 or 2; the path of the file."""
    from mms.version import __version__  # noqa: PLC0415 only the server's process needs it

    old = tuple(map(int, __version__.split(".")[:3])) < (1, 1, 5)
    path = os.path.abspath("log4j.properties" if old else "log4j2.xml")
    with open(path, "w") as file:
        file.write(log4j_1() if old else log4j_2())
    return path


def log4j_1():
    lines = [
        "log4j.rootLogger=WARN, console",
        "log4j.appender.console=org.apache.log4j.ConsoleAppender",
        "log4j.appender.console.Target=System.out",
        "log4j.appender.console.layout=org.apache.log4j.PatternLayout",
        "log4j.appender.console.layout.ConversionPattern=" + LINE,
    ]
    lines += ["log4j.logger.{}={}".format(name, level.upper()) for name, level in LEVELS]
    return "\n".join(lines) + "\n"


def log4j_2():
    loggers = "".join('<Logger name="{}" level="{}"/>'.format(*pair) for pair in LEVELS)
    return (
        '<Configuration><Appenders><Console name="STDOUT" target="SYSTEM_OUT">'
        '<PatternLayout pattern="' + LINE + '"/></Console></Appenders>'
        "<Loggers>" + loggers + '<Root level="warn"><AppenderRef ref="STDOUT"/></Root></Loggers>'
        "</Configuration>\n"
    )


# The handler


class HandlerService:
    """The toolkit's handler; if it cannot load its model, it says so in the log and to `ready`.

    multi-model-server swallows what `initialize` raises, and version 1.1.4 does not even log it.
    Requests keep the toolkit's answer: it tries to load once more and tells the client what failed.
    """

    def __init__(self):
        self._service = None
        self._failed = False

    def initialize(self, context):
        try:
            self._toolkit().initialize(context)
        except Exception as error:
            self._keep(context, error)
            logging.exception("Model %s did not load", context.model_name)
            if isinstance(error, MemoryError):  # the one that multi-model-server handles
                raise

    def handle(self, data, context):
        from mms.service import PredictionException  # noqa: PLC0415 not for the server's process

        try:
            service = self._toolkit()
        except Exception as error:
            raise PredictionException(str(error), 400) from error
        answer = service.handle(data, context)
        if self._failed:  # it did load this time
            self._failed = False
            os.remove(failure_file(context.model_name, os.getpid()))
        return answer

    def _toolkit(self):
        if self._service is None:
            module = importlib.import_module(TOOLKIT + ".handler_service")
            self._service = module.HuggingFaceHandlerService()
        return self._service

    def _keep(self, context, error):
        try:
            path = failure_file(context.model_name, os.getpid())
            with open(path, "w", encoding="utf-8") as file:
                file.write(one_line(error))
            self._failed = True
        except OSError as reason:
            logging.warning("The reason cannot be kept for `ready`: %s", reason)


if __name__ == "__main__":
    main()

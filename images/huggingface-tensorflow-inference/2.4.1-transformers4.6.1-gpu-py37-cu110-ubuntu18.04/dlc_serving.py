"""The toolkit's model server, started with what an image needs.

It is the toolkit's `serve`, but for six things. It starts Java without importing the framework
first. It writes nothing outside the current directory, which the entrypoint makes in the temporary
one. Its log is standard output alone. Its management interface is on the loopback. Its workers use
the handler in dlc_handler.py. And code in a model of the Hub is removed, and no token of the Hub is
written, unless the operator trusts that code.

Standard library and the toolkit only, Python 3.6 and later: this file is the same in every image,
for toolkits 1.0 to 2.6 and multi-model-server 1.1.4 to 1.1.11.
"""

import importlib
import importlib.machinery
import os
import sys
import types

from dlc_limits import check_limits

TOOLKIT = "sagemaker_huggingface_inference_toolkit"
HANDLER = "dlc_handler"  # a module beside this file
# Set by the entrypoint: ports that only this container's loopback reaches. The first is there if
# something else stands at the server's own.
INNER_PORT = "DLC_INNER_PORT"
MANAGEMENT_PORT = "DLC_MANAGEMENT_PORT"
TRUST = ("y", "yes", "t", "true", "on", "1")

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
    wrong = check_limits()
    if wrong:
        sys.exit("dlc: " + wrong)
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
        return properties(*arguments, **named) + loopback_addresses(os.environ)

    model_server._generate_mms_config_properties = more_properties
    serving = importlib.import_module(TOOLKIT + ".serving")
    serving.HANDLER_SERVICE = HANDLER
    guard_hub(importlib.import_module(TOOLKIT + ".mms_model_server"))
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
            real = importlib.import_module(name)
            if hasattr(real, "login"):  # it would write the token; the Hub's library has it anyway
                real.login = lambda *_, **__: None
            return getattr(real, function)(*arguments, **named)

        return call

    for function in functions:
        setattr(module, function, later(function))
    sys.modules[name] = module


def loopback_addresses(environment):
    """Properties that keep interfaces on the loopback; the last of a name is the one."""
    ports = (
        ("inference_address", environment.get(INNER_PORT)),
        ("management_address", environment.get(MANAGEMENT_PORT)),
    )
    return "".join("{}=http://127.0.0.1:{}\n".format(*pair) for pair in ports if pair[1])


def guard_hub(server):
    """Load models of the Hub without their code, unless the operator trusts it."""
    load = server._load_model_from_hub

    def load_without_code(*arguments, **named):
        folder = load(*arguments, **named)
        if os.environ.get("HF_TRUST_REMOTE_CODE", "").lower() not in TRUST:
            removed = remove_code(str(folder))
            if removed:
                message = (
                    "dlc: left out code of the repository, as HF_TRUST_REMOTE_CODE is not set: "
                )
                print(message + ", ".join(removed[:20]), file=sys.stderr, flush=True)
        return folder

    server._load_model_from_hub = load_without_code


def remove_code(folder):
    """Remove what Python would import from a folder; the names of the files."""
    endings = tuple(importlib.machinery.all_suffixes()) + (".pth",)
    removed = []
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(endings):
                path = os.path.join(parent, name)
                os.remove(path)
                removed.append(os.path.relpath(path, folder))
    return sorted(removed)


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


if __name__ == "__main__":
    main()

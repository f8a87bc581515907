"""The toolkit's model server, started with what an image needs.

It is the toolkit's `serve`, but for eight things. It starts Java without importing the framework
first, or another Python. It writes nothing outside the current directory, which the entrypoint
makes in the temporary one. Its log is standard output alone. Its interfaces are on the loopback.
Java gets as much memory as dlc_memory says. Its workers are started by dlc_worker.py and use the
handler in dlc_handler.py. Nothing but those workers finds the model's code. And code in a model of
the Hub is removed, and no token of the Hub is written, unless the operator trusts that code.

Standard library and the toolkit only, Python 3.6 and later: this file is the same in every image,
for toolkits 1.0 to 2.6 and multi-model-server 1.1.4 to 1.1.11.
"""

import importlib
import importlib.machinery
import os
import subprocess
import sys
import types

from dlc_limits import check_limits
from dlc_memory import budget

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLKIT = "sagemaker_huggingface_inference_toolkit"
HANDLER = "dlc_handler"  # a module beside this file
# Set by the entrypoint: ports that only this container's loopback reaches. The first is there if
# something else stands at the server's own.
INNER_PORT = "DLC_INNER_PORT"
MANAGEMENT_PORT = "DLC_MANAGEMENT_PORT"
TRUST = ("y", "yes", "t", "true", "on", "1")

LEVEL = "DLC_LOG_LEVEL"
LEVELS = {"debug": "debug", "info": "info", "warning": "warn", "error": "error"}
# What the toolkit's own configuration writes to standard output, without its six files beside that.
LOGGERS = (
    ("ACCESS_LOG", "off"),  # dlc_front writes it, which sees who asks
    ("MMS_METRICS", "warn"),
    ("MODEL_LOG", "warn"),
    ("MODEL_METRICS", "warn"),
    ("com.amazonaws.ml.mms.wlm.WorkerLifeCycle", "info"),  # what a model writes
    ("io.netty", "error"),
    ("org.apache", "off"),
)
LINE = "%d{ISO8601} [%-5p] %t %c - %m%n"


DAY_SECONDS = 86400


# The server


def main():
    wrong = check_limits()
    if wrong:
        sys.exit("dlc: " + wrong)
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
        return properties(*arguments, **named) + more_of(os.environ)

    model_server._generate_mms_config_properties = more_properties
    serving = importlib.import_module(TOOLKIT + ".serving")
    serving.HANDLER_SERVICE = HANDLER
    toolkit = importlib.import_module(TOOLKIT + ".mms_model_server")
    guard_hub(toolkit)
    toolkit._set_python_path = lambda: keep_python_path(model_server.environment.code_dir)
    toolkit.subprocess = types.SimpleNamespace(Popen=start, check_call=subprocess.check_call)
    put_worker()
    serving.main()


def keep_python_path(code):
    """Tell the workers, and nobody else, where modules are: a model may have a types.py."""
    folders = [code, HERE, os.environ.get("PYTHONPATH")]
    os.environ["DLC_PYTHONPATH"] = os.pathsep.join(filter(None, folders))


def put_worker():
    """Let the server find dlc_worker.py where it looks for its own, and nothing that measures.

    It runs metrics/metric_collector.py for the log, which leaves out what that finds.
    """
    home = os.path.abspath("home")
    os.environ["MODEL_SERVER_HOME"] = home
    folder = os.path.join(home, "mms")
    os.makedirs(os.path.join(folder, "metrics"), exist_ok=True)
    open(os.path.join(folder, "metrics", "metric_collector.py"), "w").close()
    path = os.path.join(folder, "model_service_worker.py")
    if os.path.islink(path):  # of a container that is started again
        os.remove(path)
    os.symlink(os.path.join(HERE, "dlc_worker.py"), path)


def start(command):
    """Run multi-model-server's start in a fork: another Python would only take time.

    It ends once Java runs, which then belongs to process 1.
    """
    from mms import model_server  # noqa: PLC0415

    if os.fork() == 0:
        try:
            sys.argv = command
            model_server.start()
        finally:
            sys.stdout.flush()
            os._exit(0)


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


def more_of(environment):
    """Properties of ours; the last of a name is the one."""
    of_java = budget(environment)
    pairs = [
        ("inference_address", loopback(environment.get(INNER_PORT))),
        ("management_address", loopback(environment.get(MANAGEMENT_PORT))),
        ("blacklist_env_vars", "PYTHONPATH"),  # workers start without the model's code, see above
        ("max_request_size", of_java.request),
        ("max_response_size", of_java.answer),
        ("metric_time_interval", DAY_SECONDS),  # nobody reads them
    ]
    if not environment.get("SAGEMAKER_MODEL_SERVER_VMARGS"):
        pairs.append(("vmargs", of_java.vmargs()))
    return "".join("{}={}\n".format(*pair) for pair in pairs if pair[1])


def loopback(port):
    return port and "http://127.0.0.1:" + port


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


def loggers():
    level = LEVELS[os.environ.get(LEVEL, "info").lower()]
    return (*LOGGERS, ("com.amazonaws.ml.mms", level))


def log4j_1():
    lines = [
        "log4j.rootLogger=WARN, console",
        "log4j.appender.console=org.apache.log4j.ConsoleAppender",
        "log4j.appender.console.Target=System.out",
        "log4j.appender.console.layout=org.apache.log4j.PatternLayout",
        "log4j.appender.console.layout.ConversionPattern=" + LINE,
    ]
    lines += ["log4j.logger.{}={}".format(name, level.upper()) for name, level in loggers()]
    return "\n".join(lines) + "\n"


def log4j_2():
    written = "".join('<Logger name="{}" level="{}"/>'.format(*pair) for pair in loggers())
    return (
        '<Configuration><Appenders><Console name="STDOUT" target="SYSTEM_OUT">'
        '<PatternLayout pattern="' + LINE + '"/></Console></Appenders>'
        "<Loggers>" + written + '<Root level="warn"><AppenderRef ref="STDOUT"/></Root></Loggers>'
        "</Configuration>\n"
    )


if __name__ == "__main__":
    main()

"""What a training script or an inference.py does first: take a model from the Hub by its name."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import docker
import pytest

from builder.contract.hub import Hub, HubModel, stand_in
from builder.contract.subject import Subject
from builder.engine.containers import created, log, put, refused, start, text
from builder.serve.model_archive import pack, tiny_files

END_SECONDS = 120
PUBLIC, REDIRECTED, PRIVATE = "tests/public", "tests/redirected", "tests/private"
# How long the tokens are, and how many labels there are.
LOADED = "5 2"

SCRIPT = """
    import sys, transformers
    name, token = sys.argv[1:]
    version = tuple(map(int, transformers.__version__.split(".")[:2]))
    more = {"token" if version >= (4, 34) else "use_auth_token": token} if token else {}
    prefix = "" if transformers.is_torch_available() else "TF"
    kind = getattr(transformers, prefix + "AutoModelForSequenceClassification")
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, **more)
    model = kind.from_pretrained(name, **more)
    print(len(tokenizer("a good movie")["input_ids"]), model.config.num_labels)
"""


@pytest.fixture(scope="module")
def hub(client: docker.DockerClient, subject: Subject) -> Iterator[Hub]:
    """A Hub that has the tiny model three times."""
    revisions = {"main": tiny_files(client, subject.image)}
    models = {
        PUBLIC: HubModel(revisions=revisions),
        REDIRECTED: HubModel(revisions=revisions, redirects=True),
        PRIVATE: HubModel(revisions=revisions, private=True),
    }
    with stand_in(client, subject.image, models) as found:
        yield found


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How the script ended: its exit code, the last line of its output, and all that was said."""

    code: int
    last: str
    log: str


Load = Callable[..., Ended]


@pytest.fixture
def load(client: docker.DockerClient, subject: Subject, hub: Hub) -> Load:
    """Runs the script for a model, with a token if one is given."""

    def run(name: str, token: str = "") -> Ended:
        with created(
            client,
            subject.image,
            command=["python", "-c", textwrap.dedent(SCRIPT), name, token],
            network=hub.network,
            environment=hub.environment,
        ) as container:
            put(container, "/", pack(hub.files))
            start(container, subject.image)
            with refused(f"from_pretrained did not end in {END_SECONDS} s", "see what keeps it"):
                code = container.wait(timeout=END_SECONDS)["StatusCode"]
            output = text(container.logs(stdout=True, stderr=False))
            return Ended(code=code, last=output.rpartition("\n")[2], log=log(container))

    return run


@pytest.mark.parametrize("name", [PUBLIC, REDIRECTED])
def test_from_pretrained(name: str, load: Load) -> None:
    """A tokenizer and a model, from a Hub that answers straight and from one as it is today."""
    ended = load(name)
    assert ended.code == 0, ended.log
    assert ended.last == LOADED


def test_a_private_model_needs_its_token(load: Load, hub: Hub) -> None:
    """Which the script hands on; without it, the Hub refuses."""
    without = load(PRIVATE)
    assert without.code != 0, without.log
    assert {request.status for request in hub.requests() if PRIVATE in request.path} == {401}
    ended = load(PRIVATE, hub.token)
    assert ended.code == 0, ended.log
    assert ended.last == LOADED

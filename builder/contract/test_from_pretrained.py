"""What a training script or an inference.py does first: take a model from the Hub by its name."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import docker
import pytest

from builder.contract.hub import Hub, HubModel, stand_in
from builder.contract.subject import Subject
from builder.lifecycle import created, log, put, refused, start, text
from builder.models import pack, tiny_files

END_SECONDS = 120
PUBLIC, REDIRECTED = "tests/public", "tests/redirected"

SCRIPT = """
    import sys, transformers
    name = sys.argv[1]
    prefix = "" if transformers.is_torch_available() else "TF"
    kind = getattr(transformers, prefix + "AutoModelForSequenceClassification")
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    model = kind.from_pretrained(name)
    print(len(tokenizer("a good movie")["input_ids"]), model.config.num_labels)
"""


@pytest.fixture(scope="module")
def hub(client: docker.DockerClient, subject: Subject) -> Iterator[Hub]:
    """A Hub that has the tiny model twice."""
    revisions = {"main": tiny_files(client, subject.image)}
    models = {
        PUBLIC: HubModel(revisions=revisions),
        REDIRECTED: HubModel(revisions=revisions, redirects=True),
    }
    with stand_in(client, subject.image, models) as found:
        yield found


@pytest.mark.parametrize("name", [PUBLIC, REDIRECTED])
def test_from_pretrained(
    name: str, client: docker.DockerClient, subject: Subject, hub: Hub
) -> None:
    """A tokenizer and a model, from a Hub that answers straight and from one as it is today."""
    with created(
        client,
        subject.image,
        command=["python", "-c", textwrap.dedent(SCRIPT), name],
        network=hub.network,
        environment=hub.environment,
    ) as container:
        put(container, "/", pack(hub.files))
        start(container, subject.image)
        with refused(f"from_pretrained did not end in {END_SECONDS} s", "see what keeps it"):
            code = container.wait(timeout=END_SECONDS)["StatusCode"]
        told = log(container)
        output = text(container.logs(stdout=True, stderr=False))
    assert code == 0, told
    assert output.splitlines()[-1] == "5 2"

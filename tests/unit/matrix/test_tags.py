"""The grammar of tags and repository names, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import TagError
from builder.matrix.tags import (
    Repository,
    Tag,
    aliases,
    parse_repository,
    parse_tag,
    python_from_tag,
    python_tag,
    short,
)
from builder.matrix.target import Target

NUMBERS = st.integers(0, 120)
FULL = st.builds(
    "{}.{}.{}{}".format,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.sampled_from(["", "", "", ".post1", ".dev20", "rc1", "a0", "b12"]),
)
SHORT = st.builds("{}.{}".format, NUMBERS, NUMBERS)
PYTHONS = st.integers(0, 99).map("3.{}".format)
SYSTEMS = st.sampled_from(["ubuntu18.04", "ubuntu20.04", "debian12", "al2", "v8os", "amzn2023.1"])
ACCELERATORS = {
    "cpu": st.none(),
    "gpu": st.integers(10, 9999).map("cu{}".format),
    "neuron": FULL.map(lambda version: "sdk" + ".".join(version.split(".")[:2]) + ".0"),
}
REVISIONS = st.none() | st.integers(0, 30).map(str) | st.builds("{}.{}".format, NUMBERS, NUMBERS)


@st.composite
def tags(draw: st.DrawFn) -> Tag:
    """Any tag of the grammar: full or short, with or without Transformers and device tag."""
    versions = draw(st.sampled_from([FULL, SHORT]))
    device = draw(st.sampled_from(sorted(ACCELERATORS)))
    whole = draw(st.booleans())
    return Tag(
        framework_version=draw(versions),
        transformers=draw(st.none() | versions),
        device=device,
        python=draw(PYTHONS),
        accelerator=draw(ACCELERATORS[device]) if whole else None,
        os=draw(SYSTEMS) if whole else None,
        revision=draw(REVISIONS),
    )


@given(tags())
def test_tag_to_text_and_back(tag: Tag) -> None:
    assert parse_tag(str(tag)) == tag


@given(
    st.from_regex(
        r"\d\.\d{1,2}(\.\d)?(-transformers\d\.\d(\.\d)?)?-(cpu|gpu)-py3\d{1,2}(-cu111)?(-ubuntu20\.04)?(-v1(\.0)?)?",
        fullmatch=True,
    )
)
def test_text_to_tag_and_back(text: str) -> None:
    try:
        tag = parse_tag(text)
    except TagError:
        return
    assert str(tag) == text


def test_every_target_round_trips(targets: tuple[Target, ...]) -> None:
    for target in targets:
        assert parse_tag(target.tag) == target.parts
        assert str(parse_repository(target.repository)) == target.repository


REPOSITORIES = [
    Repository(framework=framework, mode=mode, neuron=neuron)
    for framework in ("pytorch", "tensorflow")
    for mode in ("training", "inference")
    for neuron in ("", "neuron", "neuronx")
]


@pytest.mark.parametrize("repository", REPOSITORIES, ids=str)
def test_repositories_round_trip(repository: Repository) -> None:
    assert parse_repository(str(repository)) == repository
    assert str(repository).startswith("huggingface-")
    assert str(repository).rpartition(repository.mode)[2].strip("-") == repository.neuron


@pytest.mark.parametrize(
    "text",
    [
        "huggingface-jax-training",
        "huggingface-pytorch",
        "huggingface-pytorch-inference-neuronxx",
        "pytorch-inference",
        "huggingface-pytorch-inference:1.9",
        "Huggingface-pytorch-inference",
        "",
    ],
)
def test_other_repositories_are_refused(text: str) -> None:
    with pytest.raises(TagError) as caught:
        parse_repository(text)
    assert str(caught.value) == (
        f"{text!r} is not a repository name; "
        "they are huggingface-{pytorch,tensorflow}-{training,inference}[-neuron[x]]"
    )


LOOKS = "a tag looks like 1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"'' is not a tag; {LOOKS}"),
        ("latest", f"'latest' is not a tag; {LOOKS}"),
        ("1.9.1-transformers4.12.3-tpu-py38-ubuntu20.04", LOOKS),
        ("1.9.1-transformers4.12.3-cpu-py27-ubuntu20.04", LOOKS),
        ("1.9.1-cpu-transformers4.12.3-py38", LOOKS),
        ("1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04\n", LOOKS),
        ("\u0661.9.1-transformers4.12.3-cpu-py38-ubuntu20.04", LOOKS),
        ("1-transformers4-cpu-py38-ubuntu20.04", LOOKS),
        (
            "1.9-transformers4.12.3-cpu-py38-ubuntu20.04",
            "'1.9-transformers4.12.3-cpu-py38-ubuntu20.04' mixes a full and a short version; "
            "no released image does: write both with two numbers or both with three",
        ),
        ("1.9.1-transformers4.12-cpu-py38-ubuntu20.04", "both with two numbers or both with three"),
        (
            "1.9.1-transformers4.12.3-cpu-py38-cu111-ubuntu20.04",
            "'1.9.1-transformers4.12.3-cpu-py38-cu111-ubuntu20.04' has cu111 for device cpu; "
            "cpu has none",
        ),
        (
            "1.9.1-transformers4.12.3-gpu-py38-ubuntu20.04",
            "'1.9.1-transformers4.12.3-gpu-py38-ubuntu20.04' has no accelerator for device gpu; "
            "gpu goes with one like cu111",
        ),
        (
            "1.9.1-transformers4.12.3-gpu-py38-sdk1.17.1-ubuntu20.04",
            "has sdk1.17.1 for device gpu; gpu goes with one like cu111",
        ),
        (
            "1.9.1-transformers4.12.3-neuron-py37-cu111-ubuntu18.04",
            "has cu111 for device neuron; neuron goes with one like sdk1.17.1",
        ),
        (
            "1.9.1-transformers4.12.3-gpu-py38-cu111",
            "'1.9.1-transformers4.12.3-gpu-py38-cu111' ends before the operating system; "
            "compare 1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04",
        ),
    ],
)
def test_wrong_tags(text: str, message: str) -> None:
    with pytest.raises(TagError) as caught:
        parse_tag(text)
    assert str(caught.value).endswith(message)


# Names of one release (release pages of the official images)


def test_aliases_of_a_gpu_image() -> None:
    tag = parse_tag("2.9.0-transformers5.3.0-gpu-py312-cu130-ubuntu22.04")
    assert aliases(tag) == (
        "2.9.0-transformers5.3.0-gpu-py312-cu130-ubuntu22.04",
        "2.9.0-transformers5.3.0-gpu-py312-cu130-ubuntu22.04-v1.0",
        "2.9-transformers5.3-gpu-py312-cu130-ubuntu22.04",
        "2.9-transformers5.3-gpu-py312-cu130-ubuntu22.04-v1",
        "2.9.0-gpu-py312-cu130-ubuntu22.04",
        "2.9-gpu-py312-cu130-ubuntu22.04-v1",
        "2.9.0-gpu-py312",
        "2.9-gpu-py312",
    )


def test_aliases_of_a_cpu_image() -> None:
    tag = parse_tag("1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04")
    assert aliases(tag, revision="2.3") == (
        "1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04",
        "1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04-v2.3",
        "1.9-transformers4.12-cpu-py38-ubuntu20.04",
        "1.9-transformers4.12-cpu-py38-ubuntu20.04-v2",
        "1.9.1-cpu-py38-ubuntu20.04",
        "1.9-cpu-py38-ubuntu20.04-v2",
        "1.9.1-cpu-py38",
        "1.9-cpu-py38",
    )


def test_aliases_of_a_neuron_image() -> None:
    tag = parse_tag("1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04")
    assert aliases(tag) == (
        "1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04",
        "1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04-v1.0",
        "1.9-transformers4.12-neuron-py37-sdk1.17.1-ubuntu18.04",
        "1.9-transformers4.12-neuron-py37-sdk1.17.1-ubuntu18.04-v1",
        "1.9.1-neuron-py37-sdk1.17.1-ubuntu18.04",
        "1.9-neuron-py37-sdk1.17.1-ubuntu18.04-v1",
    )
    # One of the official repository, as a public program that asks it names it.
    official = parse_tag("2.8.0-transformers4.55.4-neuronx-py310-sdk2.26.0-ubuntu22.04")
    assert "2.8-neuronx-py310-sdk2.26.0-ubuntu22.04-v1" in aliases(official)


def test_aliases_are_tags_themselves(targets: tuple[Target, ...]) -> None:
    for target in targets:
        assert [str(parse_tag(alias)) for alias in aliases(target.parts)] == list(
            aliases(target.parts)
        )


@given(tags())
def test_no_alias_mixes_versions(tag: Tag) -> None:
    brief = short(tag)
    assert parse_tag(str(brief)) == brief
    assert short(brief) == brief


# Pythons


@given(PYTHONS)
def test_pythons_round_trip(python: str) -> None:
    assert python_from_tag(python_tag(python)) == python
    assert python_from_tag(python) == python


@pytest.mark.parametrize("text", ["", "py2", "py27", "2.7", "3", "3.x", "py3100", "3.1\u0660"])
def test_wrong_pythons(text: str) -> None:
    with pytest.raises(TagError, match=r"is not a Python version; write py311 or 3\.11"):
        python_from_tag(text)

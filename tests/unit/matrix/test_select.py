"""Selectors and filters, and what is said when they match nothing."""

from __future__ import annotations

import pytest

from builder.errors import SelectionError, TagError
from builder.matrix.select import Filters, select, select_one
from builder.matrix.target import Target

CPU = "1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
GPU = "1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04"


def names(targets: tuple[Target, ...]) -> list[str]:
    return [target.name for target in targets]


@pytest.fixture
def few(small: dict[str, Target]) -> tuple[Target, ...]:
    return tuple(small.values())


def test_all_without_a_selector(few: tuple[Target, ...]) -> None:
    assert select(few) == few


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        ([CPU], [f"huggingface-pytorch-inference:{CPU}"]),
        (
            [GPU],
            [f"huggingface-pytorch-training:{GPU}", f"huggingface-pytorch-inference:{GPU}"],
        ),
        ([f"huggingface-pytorch-training:{GPU}"], [f"huggingface-pytorch-training:{GPU}"]),
        (
            [f"763104351884.dkr.ecr.eu-west-1.amazonaws.com/huggingface-pytorch-inference:{CPU}"],
            [f"huggingface-pytorch-inference:{CPU}"],
        ),
        (["*-inference:1.9.1*cpu*"], [f"huggingface-pytorch-inference:{CPU}"]),
        (
            [f"*inference:{GPU}", f"*-training:{GPU}", f"*inference:{CPU}"],
            [
                f"huggingface-pytorch-training:{GPU}",
                f"huggingface-pytorch-inference:{CPU}",
                f"huggingface-pytorch-inference:{GPU}",
            ],
        ),
        (
            ["2.4.?-*-cpu-*", "*neuron*"],
            [
                "huggingface-tensorflow-inference:2.4.1-transformers4.6.1-cpu-py37-ubuntu18.04",
                "huggingface-pytorch-inference-neuron:"
                "1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04",
            ],
        ),
    ],
)
def test_selectors(selectors: list[str], expected: list[str], few: tuple[Target, ...]) -> None:
    assert names(select(few, selectors)) == expected


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (Filters(), 8),
        (Filters(mode=("training",)), 3),
        (Filters(framework=("tensorflow",)), 3),
        (Filters(mode=("training", "inference")), 8),
        (Filters(device=("neuron",)), 1),
        (Filters(python=("3.7", "py36"), mode=("training",)), 2),
        (Filters(python=("3.7",)), 4),
        (Filters(python=("py37",)), 4),
        (Filters(python=("37",)), 4),
        (Filters(transformers=("4.6.1",)), 4),
        (Filters(origin=("official",)), 8),
        (Filters(mode=("inference",), framework=("pytorch",), device=("gpu",)), 1),
    ],
    ids=str,
)
def test_filters(filters: Filters, count: int, few: tuple[Target, ...]) -> None:
    found = select(few, filters=filters)
    assert len(found) == count
    assert all(filters.admit(target) for target in found)
    assert [target for target in few if filters.admit(target)] == list(found)


@pytest.mark.parametrize(
    ("selectors", "filters", "message"),
    [
        (
            [CPU, "1.9.1-transformers4.12.3-cpu-py38-ubuntu2004"],
            Filters(),
            "no target matches '1.9.1-transformers4.12.3-cpu-py38-ubuntu2004'; did you mean "
            f"'{CPU}' or '{GPU}' or '2.4.1-transformers4.6.1-cpu-py37-ubuntu18.04'?",
        ),
        (
            [f"huggingface-pytorch-inferense:{CPU}"],
            Filters(),
            f"no target matches 'huggingface-pytorch-inferense:{CPU}'; did you mean "
            f"'huggingface-pytorch-inference:{CPU}' or 'huggingface-pytorch-inference:{GPU}' "
            f"or 'huggingface-pytorch-training:{GPU}'?",
        ),
        (
            ["huggingface-tensorflow-training"],
            Filters(),
            "no target matches 'huggingface-tensorflow-training'; "
            "did you mean 'huggingface-tensorflow-training:*'?",
        ),
        (["*sdk1.18*"], Filters(), "no target matches '*sdk1.18*'; `dlc list` shows all targets"),
        (
            ["*"],
            Filters(mode=("training",), device=("tpu",)),
            "no target has device tpu; did you mean 'gpu' or 'cpu'?",
        ),
        ([], Filters(mode=("train",)), "no target has mode train; did you mean 'training'?"),
        (
            [],
            Filters(mode=("inference", "train")),
            "no target has mode train; did you mean 'training'?",
        ),
        ([], Filters(python=("3.10",)), "no target has python 3.10; known: 3.6, 3.7, 3.8"),
        (
            [],
            Filters(framework=("tensorflow",), python=("3.8",)),
            "no target has framework tensorflow and python 3.8; each of them alone matches "
            "targets, but none matches all: leave one out",
        ),
        (
            ["*cpu*"],
            Filters(mode=("training",)),
            "no target that matches '*cpu*' has mode training; each of them alone matches "
            "targets, but none matches all: leave one out",
        ),
    ],
)
def test_nothing_matches(
    selectors: list[str], filters: Filters, message: str, few: tuple[Target, ...]
) -> None:
    with pytest.raises(SelectionError) as caught:
        select(few, selectors, filters)
    assert str(caught.value) == message


def test_a_python_that_is_none(few: tuple[Target, ...]) -> None:
    with pytest.raises(TagError, match="'snake' is not a Python version"):
        select(few, filters=Filters(python=("snake",)))


def test_one(few: tuple[Target, ...]) -> None:
    assert select_one(few, [CPU]).tag == CPU
    with pytest.raises(SelectionError) as caught:
        select_one(few, [GPU])
    assert str(caught.value) == (
        f"'{GPU}' matches 2 targets, but this command takes one; name one of\n"
        f"  huggingface-pytorch-training:{GPU}\n  huggingface-pytorch-inference:{GPU}"
    )


def test_one_of_many(targets: tuple[Target, ...]) -> None:
    with pytest.raises(SelectionError) as caught:
        select_one(targets, ["*"])
    assert f"'*' matches {len(targets)} targets" in str(caught.value)
    assert caught.value.remedy.splitlines()[-1] == f"  and {len(targets) - 10} more"
    assert len(caught.value.remedy.splitlines()) == 12


def test_every_name_and_tag_selects_itself(targets: tuple[Target, ...]) -> None:
    for target in targets:
        assert select_one(targets, [target.name]) == target
        assert target in select(targets, [target.tag])

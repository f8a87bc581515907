"""Dataclasses that are quick to define are like others, but for a refusal at run time."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace

import pytest

from builder.util.frozen import frozen


@frozen
class Wheel:
    """A wheel."""

    name: str
    pythons: tuple[str, ...] = ()


@frozen
class Platform(Wheel):
    """One for a platform."""

    tag: str = "any"


def test_equality_is_that_of_class_and_values() -> None:
    assert Wheel(name="torch") == Wheel(name="torch", pythons=())
    assert Wheel(name="torch") != Wheel(name="torch", pythons=("cp311",))
    assert Platform(name="torch") != Wheel(name="torch")
    assert Platform(name="torch", tag="a") != Platform(name="torch", tag="b")
    assert len({Wheel(name="torch"), Wheel(name="torch"), Platform(name="torch")}) == 2


def test_it_shows_and_copies_its_values() -> None:
    wheel = Platform(name="torch", tag="linux")
    assert repr(wheel) == "Platform(name='torch', pythons=(), tag='linux')"
    assert [field.name for field in fields(wheel)] == ["name", "pythons", "tag"]
    assert replace(wheel, tag="any") == Platform(name="torch")
    assert pickle.loads(pickle.dumps(wheel)) == wheel  # noqa: S301 - our own bytes


def test_it_takes_its_own_values_by_name_only() -> None:
    with pytest.raises(TypeError):
        Wheel("torch")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Wheel(name="torch").version = "2.0"  # type: ignore[attr-defined]

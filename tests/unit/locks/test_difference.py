"""What `dlc add` says of new locks."""

from __future__ import annotations

from builder.locks.difference import difference
from builder.locks.lockfile import Lock


def lock(**versions: str) -> Lock:
    pins = {name: f"{name}=={version}" for name, version in versions.items()}
    entries = {name: f"{pin} \\\n    --hash=sha256:0\n" for name, pin in pins.items()}
    return Lock(layer="libraries", python="3.8", date="2022-03-01", inputs="", entries=entries)


def test_packages_that_are_new_gone_and_changed() -> None:
    found = difference(lock(a="1", b="1", c="1"), lock(b="2", c="1", d="4"))
    assert (found.new, found.gone, found.changed) == ({"d": "4"}, {"a": "1"}, {"b": ("1", "2")})
    assert str(found) == "3 packages; 1 new (d 4); 1 gone (a); 1 changed (b 1 -> 2)"


def test_the_same_packages() -> None:
    assert str(difference(lock(a="1"), lock(a="1"))) == "1 package, unchanged"

"""What is told while something runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import click

__all__ = ["say", "saying"]

# Who writes lines; the last one does. A display of progress writes them above its bars.
_writers: list[Callable[[str], None]] = [lambda text: click.echo(text, err=True)]


def say(text: str) -> None:
    """One line of news on stderr, so that stdout holds results only."""
    _writers[-1](text)


@contextlib.contextmanager
def saying(write: Callable[[str], None]) -> Iterator[None]:
    """Have `write` tell the news, from all threads, as long as this lasts."""
    _writers.append(write)
    try:
        yield
    finally:
        _writers.remove(write)

"""What is told while something runs."""

from __future__ import annotations

import click

__all__ = ["say"]


def say(text: str) -> None:
    """One line of news on stderr, so that stdout holds results only."""
    click.echo(text, err=True)

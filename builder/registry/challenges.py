"""How registries ask who it is: the header WWW-Authenticate, and the scopes of tokens."""

from __future__ import annotations

import re

__all__ = ["READING", "challenges", "scopes_of"]

READING = frozenset({"GET", "HEAD"})


def challenges(text: str) -> list[tuple[str, dict[str, str]]]:
    """The challenges of a WWW-Authenticate header: their kind and what they say.

    >>> challenges('Basic realm="a", Bearer realm="https://b/?c",scope="d:pull,push"')
    [('basic', {'realm': 'a'}), ('bearer', {'realm': 'https://b/?c', 'scope': 'd:pull,push'})]
    """
    found: list[tuple[str, dict[str, str]]] = []
    pattern = r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))|([A-Za-z]+)(?=\s+\w+\s*=|\s*(?:,|$))'
    for match in re.finditer(pattern, text):
        if match[4]:
            found.append((match[4].lower(), {}))
        elif found:
            found[-1][1][match[1].lower()] = match[2] if match[2] is not None else match[3]
    return found


def scopes_of(challenge: str, repository: str, method: str) -> list[str]:
    """What a token is to be good for: what was asked for, and for what writes no less than that.

    >>> scopes_of("repository:a/b:pull", "a/b", "POST")
    ['repository:a/b:pull,push']
    >>> scopes_of("repository:a/b:pull,push repository:c/d:pull", "a/b", "POST")
    ['repository:a/b:pull,push', 'repository:c/d:pull']
    """
    wanted = "pull" if method in READING else "pull,push"
    scopes = challenge.split() or [f"repository:{repository}:{wanted}"]
    own = f"repository:{repository}:pull"
    return [f"{own},push" if each == own and method not in READING else each for each in scopes]

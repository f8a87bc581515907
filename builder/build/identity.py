"""Whether an image is what its target's Dockerfile made, or was made from that image by somebody.

Labels are inherited: every image that starts FROM ours has its build key too. What tells them apart
is what came last. An image's history must end with the instructions of the Dockerfile's last stage,
and it must start what that says. What was built or looked at here is known by its id from then on,
so that nothing is asked of the engine twice.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.build.plan import Inputs
from builder.dockerfile.parse import last_stage
from builder.engine.image import ImageInfo
from builder.engine.layers import step_of
from builder.errors import WriteError
from builder.util import atomic
from builder.util.state import state_directory

__all__ = ["derived_here", "derived_there", "difference", "record_of", "remember"]

# What the exporter says of a base's layers that brought no history: no instruction.
_NO_STEP = "buildkit.exporter.image.v0"
_NO_HISTORY = frozenset({"ONBUILD"})


def derived_here(made_of: Inputs, image: ImageInfo) -> str:
    """Why an image of the engine with the right key is not the target's; empty if it is.

    EngineError if the engine does not say.
    """
    known = record_of(image.id)
    if known.is_file() and known.read_bytes() == made_of.key.encode():
        return ""
    import docker.errors

    from builder.engine.connection import engine_client

    with engine_client() as client:
        try:
            inspected = client.images.get(image.id)
            history = inspected.history()
        except docker.errors.ImageNotFound:
            return "it is gone"
    steps = [_step(each, "CreatedBy", "Comment") for each in history]
    why = difference(made_of, inspected.attrs.get("Config") or {}, steps)
    if not why:
        with suppress(WriteError):  # a plan needs no state that it can write to
            remember(image.id, made_of.key)
    return why


def derived_there(made_of: Inputs, image: ImageInfo) -> str:
    """The same for an image of a registry, which comes with all that it says of itself."""
    history, config = image.config.get("history"), image.config.get("config")
    steps = [
        _step(each, "created_by", "comment")
        for each in reversed(history if isinstance(history, list) else [])
        if isinstance(each, dict)
    ]
    return difference(made_of, config if isinstance(config, dict) else {}, steps)


def remember(image_id: str, key: str) -> None:
    """Keep that an image was built of what has this key: an id never gets other content."""
    atomic.write(record_of(image_id), key, folders=True)


def difference(made_of: Inputs, config: Mapping[str, Any], history: Sequence[str]) -> str:
    """What an image has that its Dockerfile did not make; empty if there is nothing.

    `config` is as in its configuration, `history` are its steps, the newest first.
    """
    wanted = [(each.verb, each.text) for each in last_stage(made_of.files["Dockerfile"].decode())]
    steps = [step for step in history if step]
    verbs = [verb for verb, _ in reversed(wanted) if verb not in _NO_HISTORY]
    if [step_of(step).partition(" ")[0] for step in steps[: len(verbs)]] != verbs:
        return f"changed after its build: {step_of(steps[0])}" if steps else "it has no history"
    last = dict(wanted)  # the last of each kind, which is the one that holds
    for verb in ("ENTRYPOINT", "CMD"):
        with suppress(KeyError, ValueError):  # it is not said, or by the shell
            if (has := config.get(verb.capitalize()) or []) != json.loads(last[verb]):
                return f"changed after its build: {verb} is {json.dumps(has)}"
    env = config.get("Env")
    found = dict(str(each).partition("=")[::2] for each in (env if isinstance(env, list) else ()))
    for name, value in _variables(text for verb, text in wanted if verb == "ENV").items():
        if "$" not in value and found.get(name) != value:
            return f"changed after its build: {name} is {found.get(name, 'not set')}"
    return ""


def _variables(texts: Iterator[str]) -> dict[str, str]:
    """What instructions ENV set, the later ones holding; unreadable ones are left out."""
    found: dict[str, str] = {}
    for text in texts:
        with suppress(ValueError):
            words = shlex.split(text)
            if "=" in words[0]:
                found |= dict(word.partition("=")[::2] for word in words)
    return found


def _step(entry: Mapping[str, Any], by: str, comment: str) -> str:
    return "" if entry.get(comment) == _NO_STEP else str(entry.get(by) or "-")


def record_of(image_id: str) -> Path:
    """Where the build key of an image that is known to be ours is kept."""
    return state_directory() / "built" / image_id.partition(":")[2]

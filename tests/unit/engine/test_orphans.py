"""Which containers are removed: those that lost the process that would have done it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import docker
import docker.errors
import pytest

from builder.engine import orphans
from builder.engine.orphans import OWNER_LABEL, remove_orphans
from builder.util.owner import owner


@pytest.mark.parametrize("fails", [False, True])
def test_only_orphans_are_removed(fails: bool) -> None:
    here, _, began = owner().rpartition("/")
    labels = {
        "ours": {OWNER_LABEL: owner()},
        "orphan": {OWNER_LABEL: f"{here}/{int(began) + 1}"},
        "elsewhere": {OWNER_LABEL: "a/b/1/2"},
        "unlabelled": None,
    }
    removed: list[str] = []

    def remove(identity: str, **how: bool) -> None:
        assert how == {"force": True, "v": True}
        removed.append(identity)
        if fails:
            raise docker.errors.NotFound("another run removed it")

    found = [{"Id": name, "Labels": each} for name, each in labels.items()]
    api = SimpleNamespace(containers=lambda **_: found, remove_container=remove)
    remove_orphans(cast(docker.DockerClient, SimpleNamespace(api=api)))
    assert removed == ["orphan"]


def test_one_that_the_engine_is_still_making(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "POLL_SECONDS", 0.0)
    here, _, began = owner().rpartition("/")
    tried: list[str] = []

    def remove(identity: str, **_: bool) -> None:
        tried.append(identity)
        if len(tried) < 3:
            raise docker.errors.APIError("409: it is being made")

    found = [{"Id": "orphan", "Labels": {OWNER_LABEL: f"{here}/{int(began) + 1}"}}]
    api = SimpleNamespace(containers=lambda **_: found, remove_container=remove)
    remove_orphans(cast(docker.DockerClient, SimpleNamespace(api=api)))
    assert tried == ["orphan"] * 3

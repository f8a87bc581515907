"""Which containers are removed: those that lost the process that would have done it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import docker
import docker.errors
import pytest

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

"""Two pushes of different images for one release at once: the one that loses says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from builder.engine.image import KEY_LABEL, TargetImage
from builder.errors import PushError
from builder.matrix.target import Target
from builder.registry.client import DOCKER_MANIFEST, Manifest
from builder.registry.reference import Place
from builder.release.compare import DOCKER_CONFIG, DOCKER_LAYER, Prepared
from builder.release.push import Pusher


class Tags:
    """A registry's tags: what every client of it reads and writes."""

    def __init__(self) -> None:
        self.named: dict[str, Manifest] = {}
        self.there: dict[str, Manifest] = {}


class Client:
    """Of one pusher; `before` is told what it is about to put, and may let another one go first."""

    def __init__(self, tags: Tags) -> None:
        self.registry = tags
        self.before: Callable[[str], None] = lambda _tag: None

    def head(self, _repository: str, tag: str) -> Manifest | None:
        return self.registry.named.get(tag)

    def manifest(self, _repository: str, reference: str) -> Manifest | None:
        return self.registry.named.get(reference) or self.registry.there.get(reference)

    def image_manifest(self, repository: str, reference: str, _platform: str) -> Manifest | None:
        return self.manifest(repository, reference)

    def labels(self, _repository: str, digest: str) -> dict[str, str]:
        return {KEY_LABEL: digest[-64:]}

    def tags(self, _repository: str) -> list[str]:
        return list(self.registry.named)

    def put_manifest(self, _repository: str, tag: str, manifest: Manifest) -> None:
        self.before(tag)
        self.registry.named[tag] = manifest


class Watcher:
    def news(self, _name: str, _text: str) -> None: ...

    def ended(self, _name: str) -> None: ...


def manifest(number: int) -> Manifest:
    layer = {"mediaType": DOCKER_LAYER, "digest": f"sha256:{number:064}", "size": 1}
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "digest": f"sha256:{number:064}", "size": 1},
        "layers": [layer],
    }
    return Manifest(content=json.dumps(document).encode(), media_type=DOCKER_MANIFEST)


class Push:
    """A push of another image than all others."""

    def __init__(self, number: int, tags: Tags, target: Target) -> None:
        self.image = manifest(number)
        tags.there[self.image.digest] = self.image
        key = f"{number:016x}" * 4
        self.client = Client(tags)
        local = TargetImage(
            target=target,
            id=self.image.digest,
            labels={KEY_LABEL: key},
            layers=(f"sha256:{number:064}",),
        )
        self.prepared = Prepared(local=local, repository="team/r", there=self.image)
        self.pusher = Pusher(
            engine=cast(Any, None),
            place=Place(host="registry.example", prefix="team"),
            targets=[target],
            client=cast(Any, self.client),
            watcher=cast(Any, Watcher()),
            store=cast(Any, None),
            revision="1.0",
            stop=threading.Event(),
        )

    def run(self) -> None:
        self.pusher.push(self.prepared)


@pytest.fixture
def tags() -> Tags:
    return Tags()


@pytest.fixture
def revision(targets: tuple[Target, ...]) -> str:
    return f"{targets[0].tag}-v1.0"


@pytest.fixture
def two(tags: Tags, targets: tuple[Target, ...]) -> tuple[Push, Push]:
    first, second = (Push(number, tags, targets[0]) for number in (1, 2))
    return first, second


def when(tag: str, do: Callable[[], None]) -> Callable[[str], None]:
    """Do something before a tag is put, once."""
    done = False

    def before(putting: str) -> None:
        nonlocal done
        if putting == tag and not done:
            done = True
            do()

    return before


def test_one_after_the_other(tags: Tags, two: tuple[Push, Push], revision: str) -> None:
    two[0].run()
    with pytest.raises(PushError, match=r"must not become .*a release never changes"):
        two[1].run()
    assert tags.named[revision] == two[0].image


def test_the_other_one_begins_and_ends_before_a_tag_is_put(
    tags: Tags, two: tuple[Push, Push], revision: str
) -> None:
    """It has read its release back, and cannot learn that it was taken over: this one does."""
    two[0].client.before = when(revision, two[1].run)
    with pytest.raises(PushError, match="somebody else pushed the same release"):
        two[0].run()
    assert two[0].client.registry is tags


def test_the_other_one_puts_the_tag_first_and_reads_it_back_later(
    two: tuple[Push, Push], revision: str, targets: tuple[Target, ...]
) -> None:
    failures: list[PushError] = []
    goes_on, waits = threading.Event(), threading.Event()

    def second() -> None:
        try:
            two[1].run()
        except PushError as error:
            failures.append(error)

    def wait_there(tag: str) -> None:
        if tag == targets[0].tag:  # it has put its revision
            waits.set()
            assert goes_on.wait(60)

    two[1].client.before = wait_there
    thread = threading.Thread(target=second)

    def let_it_begin() -> None:
        thread.start()
        assert waits.wait(60)

    two[0].client.before = when(revision, let_it_begin)
    two[0].run()
    goes_on.set()
    thread.join()
    [failure] = failures
    assert "somebody else pushed the same release" in str(failure)


def test_an_older_release_is_nobody_else(two: tuple[Push, Push], tags: Tags) -> None:
    two[0].run()
    two[1].pusher = Pusher(**{**vars(two[1].pusher), "revision": "1.1"})
    two[1].run()
    assert set(tags.named.values()) == {two[0].image, two[1].image}

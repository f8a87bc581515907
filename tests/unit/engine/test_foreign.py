"""Trees as images of another platform: what the engine is given to load."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from builder.engine.foreign import load_tree

ID = "sha256:" + "3" * 64


class Api:
    """An engine's API that keeps what it is given."""

    def __init__(self, answer: str) -> None:
        self.answer, self.given = answer, b""

    def load_image(self, data: IO[bytes]) -> Iterator[dict[str, str]]:
        self.given = data.read()
        yield {"stream": self.answer}


class Client:
    def __init__(self, answer: str) -> None:
        self.api = Api(answer)


def load(client: Any, folder: Path) -> str:
    return load_tree(
        client,
        io.BytesIO(b"a tree"),
        "linux/arm64",
        config={"Cmd": ["bash"], "Labels": {"a": "b"}},
        created="2020-01-01T00:00:00Z",
        scratch=folder,
    )


def test_the_image_is_for_the_platform(tmp_path: Path) -> None:
    client = Client(f"Loaded image ID: {ID}\n")
    assert load(client, tmp_path) == ID
    with tarfile.open(fileobj=io.BytesIO(client.api.given)) as archive:
        read = {entry.name: archive.extractfile(entry) for entry in archive}
        contents = {name: file.read() for name, file in read.items() if file}
    [manifest] = json.loads(contents["manifest.json"])
    config = contents[manifest["Config"]]
    assert manifest["Config"] == f"{hashlib.sha256(config).hexdigest()}.json"
    told = json.loads(config)
    assert (told["architecture"], told["os"]) == ("arm64", "linux")
    assert told["config"] == {"Cmd": ["bash"], "Labels": {"a": "b"}}
    assert [contents[name] for name in manifest["Layers"]] == [b"a tree"]
    assert told["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(b'a tree').hexdigest()}"]
    again = Client(f"Loaded image ID: {ID}\n")
    load(again, tmp_path)
    assert again.api.given == client.api.given
    assert not list(tmp_path.iterdir())


def test_what_an_engine_says_instead(tmp_path: Path) -> None:
    assert load(Client("no space left on device\n"), tmp_path) == "no space left on device"

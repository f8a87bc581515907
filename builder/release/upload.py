"""Uploads an image: its layers, compressed once, and its configuration; then its manifest is known.

The engine only exports the image. So what a registry gets does not depend on the engine, nor on
how it keeps images, and is known by digest before it is sent.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from builder.engine.export import digest_of, read_export
from builder.engine.image import KEY_LABEL, TargetImage
from builder.errors import Interrupted
from builder.registry.client import DOCKER_MANIFEST, OCI_MANIFEST, Manifest
from builder.release.compare import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    OCI,
    OCI_CONFIG,
    OCI_LAYER,
)
from builder.release.progress import Bytes
from builder.util.text import counted

if TYPE_CHECKING:
    from pathlib import Path

    from builder.release.compress import Compressed
    from builder.release.push import Pusher

__all__ = ["manifest_of", "upload"]

# Layers of one image on their way at a time.
_AT_ONCE = 4
# An engine before 25 writes an image to its disk before it sends the first byte of it.
_EXPORT_SECONDS = 900


def upload(pusher: Pusher, local: TargetImage, repository: str) -> Manifest:
    """Let a repository have all that an image's manifest names; the manifest, which is not sent.

    RegistryError if it cannot be uploaded, EngineError or docker's errors if the engine fails.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        work = _Image(pusher=pusher, local=local, repository=repository, pool=pool)
        try:
            return work.run()
        except BaseException:
            work.over.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def manifest_of(config: bytes, layers: list[Compressed], profile: str) -> Manifest:
    """The manifest of an image, the same for the same parts."""
    kinds = (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER)
    if profile != OCI:
        kinds = (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER)
    document = {
        "schemaVersion": 2,
        "mediaType": kinds[0],
        "config": {"mediaType": kinds[1], "digest": digest_of(config), "size": len(config)},
        "layers": [
            {"mediaType": kinds[2], "digest": each.digest, "size": each.size} for each in layers
        ],
    }
    content = json.dumps(document, separators=(",", ":")).encode()
    return Manifest(content=content, media_type=kinds[0])


@dataclass(kw_only=True)
class _Image:
    """One image on its way into one repository."""

    pusher: Pusher
    local: TargetImage
    repository: str
    pool: ThreadPoolExecutor
    layers: dict[str, Compressed] = field(default_factory=dict)  # by the digests of their tars
    sending: list[Future[None]] = field(default_factory=list)
    gone: dict[str, int] = field(default_factory=dict)  # bytes, by digest
    ended: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Manifest:
        store = self.pusher.store
        config = store.config(self.local.id)
        missing = {each for each in self.local.layers if not self._go_on(each)}
        if missing or not config:
            with store.reading:
                # Another image may have had them meanwhile.
                missing = {each for each in missing if not self._go_on(each)}
                if missing or not config:
                    config = self._read(missing)
                    store.keep_config(self.local.id, config)
        done, _ = wait(self.sending, return_when=FIRST_EXCEPTION)
        for each in done:
            each.result()
        self.pusher.client.put_blob(self.repository, config)
        layers = [self.layers[each] for each in self.local.layers]
        return manifest_of(config, layers, self.pusher.profile)

    def _go_on(self, diff_id: str) -> bool:
        """Send a layer that need not be compressed any more; whether it is one."""
        if diff_id in self.layers:
            return True
        known = self.pusher.store.known(diff_id)
        if known is None:
            return False
        path = self.pusher.store.file(known)
        if path is None and not self._has(known):
            return False
        self._send(known, path)
        return True

    def _has(self, layer: Compressed) -> bool:
        """Whether the repository has a layer already, or gets it from another one."""
        client, store = self.pusher.client, self.pusher.store
        if client.has_blob(self.repository, layer.digest):
            return True
        others = store.places(client.host, layer.digest)
        return client.mount(self.repository, layer.digest, others)

    def _read(self, missing: set[str]) -> bytes:
        """Read the image from the engine; what is missing is compressed and sent meanwhile."""
        store, name = self.pusher.store, self.local.target.name
        kind = "zstd" if self.pusher.profile == OCI else "gzip"
        layers = counted(len(missing), "layer")
        self.pusher.watcher.news(name, f"compressing {layers} with {kind}")

        def wanted(exported: str) -> bool:
            known = store.diff_id(exported) or f"sha256:{exported.rpartition('/')[2]}"
            return known not in self.local.layers or known in missing - self.layers.keys()

        def take(exported: str, blocks: Iterator[bytes]) -> None:
            layer = store.compress(self._watched(blocks))
            store.keep_name(exported, layer.diff_id)
            if layer.diff_id in missing and layer.diff_id not in self.layers:
                self._send(layer, store.file(layer))

        with closing(self.pusher.engine.client(timeout=_EXPORT_SECONDS)) as client:
            return read_export(
                client, self.local.id, is_config=self._is_config, wanted=wanted, take=take
            )

    def _watched(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The same, unless it is of no use any more to go on."""
        for block in blocks:
            if self.pusher.stop.is_set():
                raise Interrupted("interrupted")
            for each in self.sending:
                if each.done():
                    each.result()
            yield block

    def _is_config(self, content: bytes) -> bool:
        """Whether a JSON file is the configuration of this image."""
        try:
            config: Any = json.loads(content)
            labels = config["config"]["Labels"]
            layers = tuple(config["rootfs"]["diff_ids"])
            return layers == self.local.layers and labels[KEY_LABEL] == self.local.key
        except (ValueError, LookupError, TypeError):
            return False

    def _send(self, layer: Compressed, path: Path | None) -> None:
        """Begin to send a layer; without a file it is there already."""
        with self.lock:
            self.layers[layer.diff_id] = layer
            self.gone.setdefault(layer.digest, 0)
        self.sending.append(self.pool.submit(self._one, layer, path))

    def _one(self, layer: Compressed, path: Path | None) -> None:
        client, store = self.pusher.client, self.pusher.store
        with store.turn(layer.digest):
            if self.over.is_set():
                return
            if path is not None and not self._has(layer):
                client.put_file(
                    self.repository, layer.digest, path, lambda done: self._moved(layer, done)
                )
            store.keep_place(client.host, layer.digest, self.repository)
        self._moved(layer, layer.size, ended=True)

    def _moved(self, layer: Compressed, done: int, *, ended: bool = False) -> None:
        if self.over.is_set():
            return
        with self.lock:
            self.gone[layer.digest] = done
            if ended:
                self.ended.add(layer.digest)
            sizes = {each.digest: each.size for each in self.layers.values()}
            progress = Bytes(
                done=sum(self.gone.values()),
                total=sum(sizes.values()),
                layers=len(self.ended),
                of_layers=len(set(self.local.layers)),
            )
        self.pusher.watcher.moved(self.local.target.name, progress)

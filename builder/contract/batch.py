"""SageMaker Batch Transform's side of the protocol: one input file to one output file.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from builder.serve.server import Response, Server

__all__ = ["Job", "Parameters", "TransformError", "parameters", "payloads", "transform"]

Strategy = Literal["SingleRecord", "MultiRecord"]

MEGABYTE = 1024 * 1024
# Containers spell them in two ways: MultiRecord and MULTI_RECORD.
STRATEGIES: dict[str, Strategy] = {"singlerecord": "SingleRecord", "multirecord": "MultiRecord"}


class TransformError(Exception):
    """A file that Batch Transform would not have transformed, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """How a file is cut and sent; the defaults are those of a container that names none."""

    concurrent: int = 1
    strategy: Strategy = "MultiRecord"
    megabytes: int = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What was sent for one file, and what came back, both in the order of the input."""

    sent: Sequence[bytes]
    answers: Sequence[Response]

    def output(self, *, assemble: Literal["None", "Line"] = "None") -> bytes:
        """The output file. TransformError: a record failed; then there is no output at all."""
        for number, answer in enumerate(self.answers, 1):
            if answer.status != 200:
                body = answer.body.decode("utf-8", "replace")
                raise TransformError(f"request {number} was answered with {answer.status}: {body}")
        end = b"\n" if assemble == "Line" else b""
        return b"".join(answer.body + end for answer in self.answers)


def parameters(server: Server) -> Parameters:
    """What the container wants, asked as SageMaker does before it sends anything.

    TransformError: an answer that is neither 200 nor 404.
    """
    answer = server.ask("GET", "/execution-parameters")
    if answer.status == 404:
        return Parameters()
    if answer.status != 200:
        raise TransformError(f"/execution-parameters answers {answer.status}")
    settings = json.loads(answer.body)
    usual = Parameters()
    strategy = settings.get("BatchStrategy", usual.strategy)
    return Parameters(
        concurrent=settings.get("MaxConcurrentTransforms", usual.concurrent),
        strategy=STRATEGIES[strategy.replace("_", "").lower()],
        megabytes=settings.get("MaxPayloadInMB", usual.megabytes),
    )


def payloads(
    data: bytes, *, split: Literal["None", "Line"], strategy: Strategy, megabytes: int
) -> Iterator[bytes]:
    r"""The bodies of the requests that a file becomes; 0 megabytes set no limit.

    TransformError: a record that is larger than the limit by itself.

    >>> list(payloads(b"a\nb\n", split="Line", strategy="SingleRecord", megabytes=6))
    [b'a\n', b'b\n']
    >>> list(payloads(b"a\nb", split="Line", strategy="MultiRecord", megabytes=6))
    [b'a\nb']
    """
    limit = megabytes * MEGABYTE
    records = list(io.BytesIO(data)) if split == "Line" else [data]
    waiting = b""
    for number, record in enumerate(records, 1):
        if limit and len(record) > limit:
            raise TransformError(f"record {number} is larger than {megabytes} MB")
        full = limit and len(waiting) + len(record) > limit
        if waiting and (strategy == "SingleRecord" or full):
            yield waiting
            waiting = b""
        waiting += record
    if waiting:
        yield waiting


def transform(
    server: Server,
    data: bytes,
    *,
    content_type: str,
    accept: str = "",
    split: Literal["None", "Line"] = "None",
    strategy: Strategy | None = None,
    concurrent: int | None = None,
    megabytes: int | None = None,
) -> Job:
    """Send a file as a transform job does, whatever the answers' status.

    What is not given is what the container wants. TransformError: a record too large, or no
    parameters. ContainerError: no answer.
    """
    wanted = parameters(server)
    used = replace(
        wanted,
        strategy=strategy or wanted.strategy,
        concurrent=concurrent or wanted.concurrent,
        megabytes=wanted.megabytes if megabytes is None else megabytes,
    )
    bodies = list(payloads(data, split=split, strategy=used.strategy, megabytes=used.megabytes))
    headers = {"Content-Type": content_type} | ({"Accept": accept} if accept else {})

    def send(body: bytes) -> Response:
        return server.ask("POST", "/invocations", body=body, headers=headers)

    with ThreadPoolExecutor(max_workers=used.concurrent) as pool:
        return Job(sent=bodies, answers=list(pool.map(send, bodies)))

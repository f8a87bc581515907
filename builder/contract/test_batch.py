"""Batch Transform: a file of records goes in as SageMaker sends it, and comes out in its order."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from builder.contract.batch import Parameters, TransformError, parameters, transform
from builder.contract.protocol import CSV, CSV_COLUMNS, HANDLER, JSON, error
from builder.contract.subject import Subject
from builder.serve.server import Server

pytestmark = pytest.mark.inference

Record = Callable[[str, object], None]

TEXTS = ["this movie is terrible", "this movie is amazing", "SageMaker is pretty cool"]
RECORDS = [{"inputs": text} for text in (*TEXTS[:2], TEXTS[2], TEXTS[2], *TEXTS[:2])]
LINES = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)


def test_execution_parameters(server: Server, record_property: Record) -> None:
    """The server has none, so SageMaker falls back on its own: one at a time, many records."""
    error(server.ask("GET", "/execution-parameters"), 404, "ResourceNotFoundException")
    wanted = parameters(server)
    assert wanted == Parameters(concurrent=1, strategy="MultiRecord", megabytes=6)
    record_property("detail", "404, so 1 at a time, MultiRecord, 6 MB")


@pytest.mark.parametrize("concurrent", [1, 4])
def test_single_record(server: Server, concurrent: int) -> None:
    """JSON lines, split by line, one record to a request: an answer to a line, in order."""
    job = transform(
        server,
        LINES,
        content_type=JSON,
        split="Line",
        strategy="SingleRecord",
        concurrent=concurrent,
    )
    assert len(job.sent) == len(RECORDS)
    answers = [json.loads(line) for line in job.output(assemble="Line").splitlines()]
    for [answer] in answers:
        assert answer["label"] in {"NEGATIVE", "POSITIVE"}
    assert answers[4:] == answers[:2], "the same records have the same answers"
    assert answers[2] == answers[3]
    assert len({json.dumps(answer) for answer in answers}) == len(TEXTS)


def test_multi_record(server: Server, record_property: Record) -> None:
    """Many lines in one request are refused as JSON, which is one value, and read as JSON Lines."""
    lines = "application/jsonlines"
    job = transform(server, LINES, content_type=lines, split="Line", strategy="MultiRecord")
    assert list(job.sent) == [LINES]
    assert len(json.loads(job.output())) == len(LINES.splitlines())
    job = transform(server, LINES, content_type=lines, accept=lines, split="Line")
    assert [len(answer.body.splitlines()) for answer in job.answers] == [len(LINES.splitlines())]
    job = transform(server, LINES, content_type=JSON, split="Line", strategy="MultiRecord")
    [answer] = job.answers
    assert "Extra data" in error(answer, 400, HANDLER)
    with pytest.raises(TransformError, match="request 1 was answered with 400"):
        job.output()
    record_property("detail", "refused as JSON, read as JSON Lines")


def test_multi_record_of_one(server: Server) -> None:
    """MultiRecord does where each payload holds one record, as with a file of one line."""
    [line] = LINES.splitlines(keepends=True)[:1]
    job = transform(server, line, content_type=JSON, split="Line", strategy="MultiRecord")
    assert json.loads(job.output())[0].keys() == {"label", "score"}


def test_whole_file(server: Server) -> None:
    """Not split, a file is one record: a JSON value with a list of inputs."""
    body = json.dumps({"inputs": TEXTS}).encode()
    job = transform(server, body, content_type=JSON, strategy="SingleRecord")
    assert len(job.sent) == 1
    assert len(json.loads(job.output())) == len(TEXTS)


def test_bad_record(server: Server) -> None:
    """A bad record is answered with an error, and all the others are served."""
    lines = LINES.splitlines(keepends=True)
    lines[2] = b'{"inputs": "cut o\n'
    job = transform(
        server,
        b"".join(lines),
        content_type=JSON,
        split="Line",
        strategy="SingleRecord",
        concurrent=4,
    )
    assert [answer.status for answer in job.answers] == [200, 200, 400, 200, 200, 200]
    error(job.answers[2], 400, HANDLER)
    with pytest.raises(TransformError, match="request 3 was answered with 400"):
        job.output(assemble="Line")


def test_csv_file(server: Server, subject: Subject, record_property: Record) -> None:
    """A CSV file goes whole, as every request needs the header; split by line it is refused."""
    data = "inputs\n" + "".join(f'"{text}"\n' for text in TEXTS)
    job = transform(server, data.encode(), content_type=CSV, accept=CSV)
    if CSV_COLUMNS.holds(subject):
        header, *rows = job.output().decode().splitlines()
        assert (header, len(rows)) == ("label,score", len(TEXTS))
    else:
        record_property("detail", CSV_COLUMNS.before)
        error(job.answers[0], 400, HANDLER)
    split = transform(
        server, data.encode(), content_type=CSV, split="Line", strategy="SingleRecord"
    )
    assert {answer.status for answer in split.answers} == {400}

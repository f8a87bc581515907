"""Dockerfiles are read as Docker reads them, by one parser for all that asks what they say."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.build_context import copied
from builder.dockerfile.parse import Instruction, instructions, last_stage
from tests.conftest import ROOT


def read(dockerfile: str) -> list[tuple[str, str]]:
    return [(each.verb, " ".join(each.text.split())) for each in instructions(dockerfile)]


@pytest.mark.parametrize(
    ("dockerfile", "wanted"),
    [
        ("", []),
        ("# only\n\n  # comments\n", []),
        ("FROM a", [("FROM", "a")]),
        ("from a\r\nrun b\r\n", [("FROM", "a"), ("RUN", "b")]),
        ("RUN\ta  b", [("RUN", "a b")]),
        ("RUN a \\\n  b \\\n# why\n\n  c\nUSER d", [("RUN", "a b c"), ("USER", "d")]),
        ("RUN a \\  \n b", [("RUN", "a b")]),
        ("RUN a \\", [("RUN", "a \\")]),
        ("RUN cat <<A <<'B'\nUSER x\nA\n# y\nB\nUSER z", [("RUN", "cat <<A <<'B'"), ("USER", "z")]),
        ("RUN <<-A\n\tUSER x\n\tA\nUSER z", [("RUN", "<<-A"), ("USER", "z")]),
        ("ENV A=<<B\nUSER B\nB c", [("ENV", "A=<<B"), ("USER", "B"), ("B", "c")]),
        ("RUN echo '<<A'\nUSER z", [("RUN", "echo '<<A'"), ("USER", "z")]),
    ],
)
def test_instructions(dockerfile: str, wanted: list[tuple[str, str]]) -> None:
    assert read(dockerfile) == wanted


def test_options_are_what_it_begins_with() -> None:
    [found] = instructions("RUN --mount=type=cache,target=/c --network=none pip install --mount=x")
    assert found.options == ["--mount=type=cache,target=/c", "--network=none"]
    assert found.words == ["pip", "install", "--mount=x"]


@pytest.mark.parametrize(
    ("dockerfile", "wanted"),
    [
        ("FROM a\nRUN b\nFROM c\nENV D=1 \\\n E=2\nUSER e\n", ["D=1 E=2", "e"]),
        ("FROM a AS B\nRUN c\nFROM d\nFROM --platform=linux/amd64 b\nUSER e", ["c", "e"]),
        ("FROM a AS b\nRUN c\nFROM b AS d\nRUN e\nFROM d\nRUN f", ["c", "e", "f"]),
        ("FROM a AS b\nRUN c\nFROM b\nRUN d\nFROM b\nRUN e", ["c", "e"]),
        ("RUN a\nFROM\nRUN b", ["b"]),
    ],
)
def test_the_last_stage(dockerfile: str, wanted: list[str]) -> None:
    assert [" ".join(each.text.split()) for each in last_stage(dockerfile)] == wanted


@pytest.mark.parametrize(
    ("dockerfile", "wanted"),
    [
        ('COPY ["a b", "c", "/x/"]', ["a b", "c"]),
        ("ADD https://x/y z.tar /", ["z.tar"]),
        ("COPY --from=a b /c", []),
        ("COPY <<A d /c\nCOPY x /\nA", ["d"]),
        ("RUN --mount=type=bind,src=c.py,target=/c true", ["c.py"]),
        ("RUN --mount=type=secret,id=s --mount=type=bind,from=a,source=b,target=/b true", []),
        ("RUN echo --mount=type=bind,source=c.py", []),
        ("RUN <<A\nCOPY b /\nA\nCOPY ./c/ /", ["c"]),
    ],
)
def test_what_is_copied(dockerfile: str, wanted: list[str]) -> None:
    assert list(copied(dockerfile)) == wanted


WORDS = st.lists(
    st.text(string.ascii_letters + "=/.", min_size=1, max_size=6), min_size=1, max_size=5
)


@given(
    said=st.lists(st.tuples(st.sampled_from(["RUN", "Env", "copy"]), WORDS), max_size=5),
    breaks=st.lists(st.sampled_from([" ", " \\\n", " \\ \n  # why\n", " \\\n\n"]), min_size=1),
    between=st.sampled_from(["\n", "\n\n", "\n# comment \\\n"]),
)
def test_any_layout(said: list[tuple[str, list[str]]], breaks: list[str], between: str) -> None:
    texts = []
    for verb, words in said:
        text = verb + " " + words[0]
        for number, word in enumerate(words[1:]):
            text += breaks[number % len(breaks)] + " " + word
        texts.append(text)
    assert read(between.join(texts)) == [(verb.upper(), " ".join(words)) for verb, words in said]


def test_of_every_image_each_instruction_is_known() -> None:
    known = {
        *("FROM", "ARG", "RUN", "COPY", "ENV", "LABEL", "ENTRYPOINT", "CMD", "EXPOSE"),
        *("SHELL", "USER", "WORKDIR", "STOPSIGNAL", "HEALTHCHECK"),
    }
    paths = sorted((ROOT / "images").glob("*/*/Dockerfile"))
    assert paths
    for path in paths:
        found = list(instructions(path.read_text("utf-8")))
        assert {each.verb for each in found} <= known, path
        assert found[-1] == last_stage(path.read_text("utf-8"))[-1] != Instruction("FROM", "")

"""Where in a context an answer is: what the model is asked, and what its scores mean."""

import importlib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "runtime"
numpy = pytest.importorskip("numpy")

QUESTION = "who came"
CONTEXT = "Jo came to Ann, Jo left"


class Window:
    """Stands for an encoding of the tokenizers library: [CLS], a pair of texts, [SEP]."""

    def __init__(self, *texts: list[tuple[int, int]]) -> None:
        self.sequence_ids: list[int | None] = [None]
        self.offsets = [(0, 0)]
        self.words: list[int | None] = [None]
        for number, tokens in enumerate(texts):
            self.sequence_ids += [number] * len(tokens)
            self.offsets += tokens
            self.words += range(len(tokens))
        self.sequence_ids.append(None)
        self.offsets.append((0, 0))
        self.words.append(None)
        self.ids = [101] + [7] * (len(self.offsets) - 2) + [102]

    def token_to_word(self, token: int) -> int | None:
        return self.words[token]

    def word_to_chars(self, word: int, sequence: int) -> tuple[int, int]:
        places = [
            offsets
            for offsets, found, of in zip(self.offsets, self.words, self.sequence_ids, strict=True)
            if (found, of) == (word, sequence)
        ]
        return places[0][0], places[-1][1]


ASKED = [(0, 3), (4, 8)]
# Jo, ca, me, to, Ann, the comma, Jo, left: "came" is two tokens.
READ = [(0, 2), (3, 5), (5, 7), (8, 10), (11, 14), (14, 15), (16, 18), (19, 23)]
FIRST = 3  # the context's first token, after [CLS] and the question


class Tokenizer:
    """Gives the windows that it is made with, and keeps how it was asked."""

    model_max_length = 512
    model_input_names = ("input_ids", "attention_mask")
    cls_token_id = 101

    def __init__(self, *windows: Window, side: str = "right") -> None:
        self.found, self.padding_side = list(windows), side

    def __call__(self, *texts: str, **given: Any) -> Any:
        self.texts, self.given = texts, given
        content = {"input_ids": [each.ids for each in self.found]}
        encoded = types.SimpleNamespace(encodings=self.found)

        class Encoded(dict[str, Any]):
            encodings = encoded.encodings

        return Encoded(content, token_type_ids=[])


def window() -> Window:
    found = Window(ASKED, READ)
    found.words[FIRST + 2] = 1
    found.words[FIRST + 3 :] = [2, 3, 4, 5, 6, None]
    return found


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FILES)
    return importlib.import_module("dlc_questions")


@pytest.fixture
def answer(questions: Any) -> Callable[..., Any]:
    """What is found for scores of the ends of spans, by the token's place in the context."""

    def ask(start: dict[int, float], end: dict[int, float], times: int = 1, **given: Any) -> Any:
        tokenizer = Tokenizer(*[window() for _ in range(times)])
        spans = questions.Spans(tokenizer, QUESTION, CONTEXT, **given)
        for each, encoded in spans.windows():
            assert encoded == {"input_ids": [each.ids]}
            scores = [numpy.zeros(len(each.ids), "float32") for _ in range(2)]
            for found, wanted in zip(scores, (start, end), strict=True):
                for place, score in wanted.items():
                    found[FIRST + place] = score
            spans.add(each, *scores)
        return spans.best()

    return ask


def test_the_likeliest(answer: Any) -> None:
    found = answer({4: 9}, {4: 9})
    assert {**found, "score": 0} == {"score": 0, "start": 11, "end": 14, "answer": "Ann"}
    assert isinstance(found["score"], float)
    assert 0.99 < found["score"] < 1


def test_whole_words(answer: Any) -> None:
    assert answer({2: 9}, {3: 9})["answer"] == "came to"
    assert answer({2: 9}, {3: 9}, align_to_words=False)["answer"] == "me to"


def test_more_than_one(answer: Any) -> None:
    found = answer({4: 9, 7: 8}, {4: 9, 7: 8}, top_k=3)
    assert [each["answer"] for each in found] == ["Ann", "Ann, Jo left", "left"]
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert answer({4: 9}, {4: 9}, topk=2)[0]["answer"] == "Ann"


def test_the_same_words_count_together(answer: Any) -> None:
    once = answer({0: 9}, {0: 9})
    twice = answer({0: 9}, {0: 9}, times=2)
    assert (twice["answer"], twice["start"]) == ("Jo", 0)
    assert twice["score"] > 1.9 * once["score"]
    # "Jo" is there twice: each is a half of it.
    assert answer({0: 9, 6: 9}, {0: 9, 6: 9})["answer"] == "Jo"


def test_lengths_and_order(answer: Any) -> None:
    long = {"start": {0: 9}, "end": {7: 9}}
    assert answer(**long)["answer"] == CONTEXT
    found = answer(**long, max_answer_len=2, top_k=50)
    assert all(each["answer"].count(" ") < 3 for each in found)
    # An end before its start is none.
    assert answer({7: 9}, {0: 9})["answer"] != ""
    assert all(each["start"] < each["end"] for each in answer({7: 9}, {0: 9}, top_k=500))


def test_the_question_is_no_answer(answer: Any) -> None:
    assert answer({-1: 99, 4: 1}, {-1: 99, 4: 1})["answer"] == "Ann"
    assert answer({-3: 9}, {-3: 9})["start"] >= 0


def test_no_answer(answer: Any) -> None:
    none = answer({-3: 9}, {-3: 9}, handle_impossible_answer=True)
    assert {**none, "score": 0} == {"score": 0, "start": 0, "end": 0, "answer": ""}
    assert 0.99 < none["score"] < 1
    found = answer({4: 9}, {4: 9}, handle_impossible_answer=True, top_k=2)
    assert found[0]["answer"] == "Ann"


def test_what_the_tokenizer_is_asked(questions: Any) -> None:
    tokenizer = Tokenizer()
    list(questions.Spans(tokenizer, "q", "c").windows())
    assert tokenizer.texts == ("q", "c")
    assert tokenizer.given == {
        "padding": "do_not_pad",
        "truncation": "only_second",
        "max_length": 384,
        "stride": 128,
        "return_token_type_ids": True,
        "return_overflowing_tokens": True,
    }
    tokenizer = Tokenizer(side="left")
    list(questions.Spans(tokenizer, "q", "c", padding=True, max_seq_len=100).windows())
    assert tokenizer.texts == ("c", "q")
    asked = {"padding": True, "truncation": "only_first", "max_length": 100, "stride": 50}
    assert tokenizer.given.items() >= asked.items()


def test_the_other_side(questions: Any) -> None:
    spans = questions.Spans(Tokenizer(side="left"), QUESTION, CONTEXT)
    found = Window(READ, ASKED)
    scores = numpy.zeros(len(found.ids), "float32")
    scores[1 + 4] = 9
    scores[1 + len(READ)] = 99  # of the question
    spans.add(found, scores, scores)
    assert spans.best()["answer"] == "Ann"


def test_overlap_and_window(questions: Any) -> None:
    with pytest.raises(ValueError, match=r"doc_stride \(90\) is larger than max_seq_len \(80\)"):
        questions.Spans(Tokenizer(), "q", "c", max_seq_len=80, doc_stride=90)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ("q", "keys question and context"),
        ({"question": "q"}, "keys question and context"),
        ({"question": "q", "context": "c", "file": "x"}, "keys question and context"),
        ({"question": "", "context": "c"}, "question must be a text that is not empty"),
        ({"question": "q", "context": ["c"]}, "context must be a text"),
        ({"question": None, "context": "c"}, "question must be a text"),
    ],
)
def test_what_is_no_question(questions: Any, inputs: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        questions.question_of(inputs)


def test_a_question(questions: Any) -> None:
    assert questions.question_of({"context": "c", "question": "q"}) == ("q", "c")

"""Where in a context the answer to a question is: windows for a model, and spans of its scores.

A context that is too long for the model is read in windows that overlap. In each, the likelihood of
a span is that of its first token times that of its last; the same words found twice count together.

Python 3.6 and later: this file is the same in every image. NumPy is imported when used.
"""

MOST_TOKENS = 384  # of a window
MOST_OVERLAP = 128
HIDDEN = -10000.0


def question_of(inputs):
    """The question and the context of a request; ValueError if it has no others or more."""
    if not isinstance(inputs, dict) or set(inputs) != {"question", "context"}:
        raise ValueError("inputs of this task must have the keys question and context alone")
    for key in ("question", "context"):
        if not isinstance(inputs[key], str) or not inputs[key]:
            raise ValueError("{} must be a text that is not empty".format(key))
    return inputs["question"], inputs["context"]


class Spans:
    """The answers to one question, found window by window."""

    def __init__(
        self,
        tokenizer,
        question,
        context,
        padding=None,
        top_k=None,
        topk=None,
        doc_stride=None,
        max_answer_len=None,
        max_seq_len=None,
        max_question_len=None,  # noqa: ARG002 fast tokenizers have never gone by it
        handle_impossible_answer=None,
        align_to_words=None,
    ):
        self.tokenizer, self.question, self.context = tokenizer, question, context
        self.most = top_k or topk or 1
        self.longest = max_answer_len or 15
        self.may_be_none = bool(handle_impossible_answer)
        self.words = align_to_words is not False
        self.padding = "do_not_pad" if padding is None else padding
        self.tokens = max_seq_len or min(tokenizer.model_max_length, MOST_TOKENS)
        self.overlap = doc_stride or min(self.tokens // 2, MOST_OVERLAP)
        if self.overlap > self.tokens:
            message = "doc_stride ({}) is larger than max_seq_len ({})"
            raise ValueError(message.format(self.overlap, self.tokens))
        self.first = tokenizer.padding_side == "right"  # whether the question is
        self.answers = {}
        self.none_score = None

    def windows(self):
        """The windows, each with what the model is asked of it; `add` takes what it says."""
        pair = (self.question, self.context) if self.first else (self.context, self.question)
        encoded = self.tokenizer(
            *pair,
            padding=self.padding,
            truncation="only_second" if self.first else "only_first",
            max_length=self.tokens,
            stride=self.overlap,
            return_token_type_ids=True,
            return_overflowing_tokens=True,
        )
        names = [name for name in self.tokenizer.model_input_names if name in encoded]
        for at, window in enumerate(encoded.encodings):
            yield window, {name: [encoded[name][at]] for name in names}

    def add(self, window, start, end):
        """Take in a model's scores of the first and of the last token of an answer."""
        import numpy  # noqa: PLC0415

        context = numpy.array([of == int(self.first) for of in window.sequence_ids])
        # The token of the class stands for no answer: its score counts, but it is none.
        none = numpy.array(window.ids) == self.tokenizer.cls_token_id
        start, end = (likelihood(each, context | none) for each in (start, end))
        if self.may_be_none:
            score = float(start[0] * end[0])
            self.none_score = score if self.none_score is None else min(score, self.none_score)
        start[0] = end[0] = 0.0
        # Some spans become the same when they are stretched to whole words.
        number = self.most * 2 + 10 if self.words else self.most
        for first, last, score in likeliest(start, end, context, number, self.longest):
            begin, stop = self.letters(window, first, last)
            text = self.context[begin:stop]
            found = self.answers.setdefault(
                text.lower(), {"score": 0.0, "start": begin, "end": stop, "answer": text}
            )
            found["score"] += score

    def letters(self, window, first, last):
        """The first letter of a span and the one after its last, in the context."""
        place = int(self.first)
        if self.words:
            words = window.token_to_word(first), window.token_to_word(last)
            if None not in words:
                return (
                    window.word_to_chars(words[0], place)[0],
                    window.word_to_chars(words[1], place)[1],
                )
        return window.offsets[first][0], window.offsets[last][1]

    def best(self):
        """The likeliest answers: one as it is, more as a list."""
        answers = list(self.answers.values())
        if self.none_score is not None:
            answers.append({"score": self.none_score, "start": 0, "end": 0, "answer": ""})
        answers = sorted(answers, key=lambda each: each["score"], reverse=True)[: self.most]
        return answers[0] if len(answers) == 1 else answers


def likelihood(scores, kept):
    """Scores to likelihoods that are 1 together; those of tokens that are not kept are 0."""
    import numpy  # noqa: PLC0415

    scores = numpy.where(kept, scores, numpy.float32(HIDDEN))
    scores = numpy.exp(scores - scores.max())
    return scores / scores.sum()


def likeliest(start, end, kept, number, longest):
    """First token, last token and likelihood of so many spans, from the likeliest on."""
    import numpy  # noqa: PLC0415

    table = numpy.outer(start, end)
    # From the first token on, and not longer than allowed.
    fits = numpy.tril(numpy.triu(numpy.ones(table.shape, bool)), longest - 1)
    fits &= numpy.outer(kept, kept)
    firsts, lasts = numpy.nonzero(fits)
    order = numpy.argsort(-table[fits], kind="stable")[:number]
    return [(int(firsts[at]), int(lasts[at]), float(table[firsts[at], lasts[at]])) for at in order]

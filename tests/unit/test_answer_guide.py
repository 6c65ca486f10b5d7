"""Answers constrained by a grammar, on random logits: every answer has the form."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.answer_guide import AnswerGuide, AnswerGuides
from cxr_reason.engine.base import Engine, GenerationRequest, SamplingParams, VisualInput
from cxr_reason.errors import BadRequestError
from cxr_reason.findings import LABELS
from cxr_reason.prompts import parse_prompt
from cxr_reason.reading.trace import Outcome, parse_trace
from cxr_reason.settings import LABEL_ANSWER

VOCAB_SIZE, STOP = 2080, 2050
REASONING = "<think> The heart is large. </think>"
SCHEMA = {
    "type": "object",
    "properties": {"edema": {"type": "boolean"}, "side": {"enum": ["left", "right"]}},
    "required": ["edema", "side"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def guides(trained: Checkpoint) -> AnswerGuides:
    path = trained.folder / "tokenizer.json"
    return AnswerGuides(path, vocab_size=VOCAB_SIZE, stop_token_id=STOP)


@pytest.fixture(scope="module")
def tokenizer(trained: Checkpoint) -> Tokenizer:
    return Tokenizer.from_file(str(trained.folder / "tokenizer.json"))


def write(guide: AnswerGuide, tokenizer: Tokenizer, seed: int, before: str) -> str:
    """Return `before` and what random logits write after it."""
    random = np.random.default_rng(seed)
    ids = tokenizer.encode(before, add_special_tokens=False).ids
    for token_id in ids:
        guide.take(token_id)
    for _ in range(300):
        ids.append(int(guide.limit(random.normal(size=VOCAB_SIZE).astype(np.float32)).argmax()))
        guide.take(ids[-1])
        if ids[-1] == STOP:
            return tokenizer.decode(ids, skip_special_tokens=True)
    raise AssertionError("the answer never ended")


def test_labels_are_the_only_answer(guides: AnswerGuides, tokenizer: Tokenizer) -> None:
    seen = set()
    for seed in range(20):
        text = write(guides.make(LABEL_ANSWER), tokenizer, seed, REASONING)
        trace = parse_trace(text, truncated=False)
        assert trace.outcome is Outcome.COMPLETE
        assert trace.labels
        assert not trace.unknown_labels
        seen.update(trace.labels)
    assert len(seen) > len(LABELS) / 2


def test_an_answer_obeys_its_schema(guides: AnswerGuides, tokenizer: Tokenizer) -> None:
    for seed in range(5):
        text = write(guides.make(json.dumps(SCHEMA)), tokenizer, seed, REASONING)
        trace = parse_trace(text, truncated=False, has_labels=False)
        assert trace.outcome is Outcome.COMPLETE
        answer = json.loads(trace.answer)
        assert set(answer) == {"edema", "side"}
        assert isinstance(answer["edema"], bool)
        assert (trace.labels, trace.unknown_labels, trace.issues) == ((), (), ())


@pytest.mark.parametrize("begun", ["\n", "\n<", "\n<answer", "\n<answer> "])
def test_what_came_before_the_first_mask_counts(
    guides: AnswerGuides, tokenizer: Tokenizer, begun: str
) -> None:
    """A token may hold the end of the tag and the start of the answer."""
    for seed in range(3):
        text = write(guides.make(LABEL_ANSWER), tokenizer, seed, REASONING + begun)
        assert parse_trace(text, truncated=False).outcome is Outcome.COMPLETE


def test_reasoning_is_free(guides: AnswerGuides, tokenizer: Tokenizer) -> None:
    guide = guides.make(LABEL_ANSWER)
    logits = np.zeros(VOCAB_SIZE, np.float32)
    for token_id in tokenizer.encode(REASONING[:-1], add_special_tokens=False).ids:
        assert guide.limit(logits) is logits
        guide.take(token_id)


@pytest.mark.parametrize(
    "answer_format",
    ["label", "[1]", '{"type": "nope"}', '{"$ref": "http://127.0.0.1/x"}', "{", "[" * 100_000],
    ids=lambda text: text[:20],
)
def test_another_format_is_refused(guides: AnswerGuides, answer_format: str) -> None:
    with pytest.raises(BadRequestError, match="answer_format"):
        guides.make(answer_format)


def test_an_engine_holds_its_answer_to_the_labels(engine: Engine) -> None:
    """Random weights never close their reasoning; a refused format is refused at once."""
    visual = VisualInput(np.zeros((4, 256), np.float32), (4, 4))
    sampling = SamplingParams(max_tokens=8)
    request = GenerationRequest(parse_prompt("Read."), visual, sampling, LABEL_ANSWER)
    free = GenerationRequest(parse_prompt("Read."), visual, sampling)
    assert list(engine.submit(request)) == list(engine.submit(free))
    with pytest.raises(BadRequestError, match="answer_format"):
        engine.submit(GenerationRequest(parse_prompt("Read."), visual, sampling, "nonsense"))

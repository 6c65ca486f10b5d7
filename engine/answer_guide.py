"""Constrains the answer after the reasoning by a grammar; the reasoning itself stays free.

A token that the grammar does not allow gets the logit -inf. Grammar and token masks: llguidance
(https://github.com/guidance-ai/llguidance, MIT), which knows the byte string of every token.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

from llguidance import LLMatcher, LLTokenizer
from llguidance.numpy import (
    allocate_token_bitmask,
    apply_token_bitmask_inplace,
    fill_next_token_bitmask,
)

from cxr_reason.engine.answer_format import (
    ANSWER_END,
    ANSWER_START,
    LABEL_CHOICE,
    REASONING_END,
)
from cxr_reason.engine.base import Array
from cxr_reason.errors import BadRequestError
from cxr_reason.settings import LABEL_ANSWER, parse_schema

_TAG = REASONING_END.encode()


class AnswerGuides:
    """Makes the guides of one engine. The vocabulary is read when the first one is asked for.

    Args:
        tokenizer: Path of `tokenizer.json`.
        vocab_size: Of the logits.
        stop_token_id: Ends an answer.
    """

    def __init__(self, tokenizer: Path, *, vocab_size: int, stop_token_id: int) -> None:
        self._file = tokenizer
        self._vocab_size = vocab_size
        self._stop_token_id = stop_token_id

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        return LLTokenizer(_without_gaps(self._file), self._vocab_size, self._stop_token_id)

    def make(self, answer_format: str) -> AnswerGuide:
        """Return a guide for one generation.

        Args:
            answer_format: `settings.LABEL_ANSWER`, or a JSON schema.

        Raises:
            BadRequestError: Neither, or a schema with what llguidance does not support.
        """
        guide = AnswerGuide(self._tokenizer, _body_of(answer_format))
        guide.check()
        return guide


class AnswerGuide:
    """Follows one generation. It does nothing until the reasoning has ended."""

    def __init__(self, tokenizer: LLTokenizer, body: str) -> None:
        self._tokenizer = tokenizer
        self._body = body
        self._tail = b""  # the newest bytes of the reasoning
        self._matcher: LLMatcher | None = None
        self._mask = allocate_token_bitmask(1, tokenizer.vocab_size)

    def check(self) -> None:
        """Raise `BadRequestError` where llguidance refuses the grammar."""
        error = LLMatcher.validate_grammar(self._grammar(b""), self._tokenizer)
        if error:
            raise BadRequestError(
                f"answer_format: {error.splitlines()[0][:200]}", param="answer_format"
            )

    def limit(self, logits: Array) -> Array:
        """Return the logits of the next token, -inf where the grammar forbids it.

        Args:
            logits: float32 `[vocab]`; not changed.
        """
        if self._matcher is None:
            return logits
        fill_next_token_bitmask(self._matcher, self._mask)
        limited = logits[None].copy()
        apply_token_bitmask_inplace(limited, self._mask)
        return limited[0]

    def take(self, token_id: int) -> None:
        """Note the token that was chosen."""
        if self._matcher is not None:
            self._matcher.consume_token(token_id)
            return
        self._tail += self._tokenizer.decode_bytes([token_id])
        _, tag, begun = self._tail.partition(_TAG)
        if tag:
            self._matcher = LLMatcher(self._tokenizer, self._grammar(begun))
        self._tail = self._tail[-len(_TAG) :]

    def _grammar(self, begun: bytes) -> str:
        """Return the grammar of what follows `begun`, which came in one token with the tag."""
        starts = [ANSWER_START, ANSWER_START.lstrip()]
        text = begun.decode(errors="replace")
        rest = next((start[len(text) :] for start in starts if start.startswith(text)), starts[0])
        opening = f"{json.dumps(rest)} " if rest else ""
        return f"start: {opening}body {json.dumps(ANSWER_END)}\n{self._body}"


def _without_gaps(path: Path) -> str:
    """Return `tokenizer.json` with a name for every id: llguidance takes their number for it."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    added = fields["added_tokens"]
    known = {*fields["model"]["vocab"].values(), *(token["id"] for token in added)}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added += [
        {"id": index, "content": f"<|unused_{index}|>", "special": True, **flags}
        for index in sorted(set(range(max(known))) - known)
    ]
    added.sort(key=lambda token: int(token["id"]))
    return json.dumps(fields)


def _body_of(answer_format: str) -> str:
    if answer_format == LABEL_ANSWER:
        return f'body: label (", " label)*\nlabel: {LABEL_CHOICE}\n'
    # One way of writing a value, so that a model cannot generate endless spaces.
    schema = {**parse_schema(answer_format), "x-guidance": {"whitespace_flexible": False}}
    return f"body: %json {json.dumps(schema)}\n"

"""One request inside an engine, and the handle its caller holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from cxr_reason.engine.answer_guide import AnswerGuide
from cxr_reason.engine.base import Array, FinishReason, SamplingParams, TokenEvent
from cxr_reason.engine.event_stream import EventStream
from cxr_reason.engine.prefix import PromptSegment
from cxr_reason.engine.sampling import Sampler
from cxr_reason.usage import Usage


class Sequence(EventStream):
    """A request from the queue to its last token.

    The engine's thread chooses and sends tokens; the caller's thread iterates for the events
    and may call `cancel` at any time.

    Attributes:
        embeddings: Of the prompt, visual tokens in place, float32 `[T, hidden]`.
        positions: Of the prompt, int64 `[3, T]`.
        segments: Of the prompt, for engines that share prefixes; the last one ends with it.
        params: How tokens are chosen.
        num_cached: Tokens whose keys and values are in the cache.
        is_cancelled: The caller gave up.
    """

    def __init__(
        self,
        *,
        embeddings: Array,
        positions: npt.NDArray[np.int64],
        segments: tuple[PromptSegment, ...] = (),
        guide: AnswerGuide | None = None,
        num_visual_tokens: int,
        params: SamplingParams,
        tokenizer: Tokenizer,
        on_cancel: Callable[[], None],
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.positions = positions
        self.segments = segments
        self.params = params
        self.num_cached = 0
        self.is_cancelled = False
        self._next_position = int(positions.max()) + 1
        self._num_visual_tokens = num_visual_tokens
        self._sampler = Sampler(params)
        self._guide = guide
        self._tokenizer = tokenizer
        self._decode_stream = DecodeStream(skip_special_tokens=True)
        self._token_ids: list[int] = []
        self._num_sent_chars = 0
        self._on_cancel = on_cancel
        self._submitted_s = time.perf_counter()
        self._started_s = self._first_token_s = self._last_token_s = 0.0

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt, visual tokens included."""
        return len(self.embeddings)

    @property
    def num_generated(self) -> int:
        """Tokens chosen so far."""
        return len(self._token_ids)

    @property
    def last_token_id(self) -> int:
        """The newest token."""
        return self._token_ids[-1]

    @property
    def last_position(self) -> int:
        """M-RoPE position of the newest token, the same on all three axes."""
        return self._next_position + self.num_generated - 1

    def start(self) -> None:
        """Note that prefill begins."""
        self._started_s = time.perf_counter()

    def choose_token(self, logits: npt.NDArray[np.float32]) -> int:
        """Choose and keep the next token."""
        if self._guide is not None:
            logits = self._guide.limit(logits)
        self._token_ids.append(self._sampler.choose(logits))
        if self._guide is not None:
            self._guide.take(self.last_token_id)
        self._last_token_s = time.perf_counter()
        self._first_token_s = self._first_token_s or self._last_token_s
        return self.last_token_id

    def find_finish_reason(
        self, stop_token_ids: Collection[int], context_length: int
    ) -> FinishReason | None:
        """Return why the newest token is the last one, or None."""
        if self.last_token_id in stop_token_ids:
            return FinishReason.STOP
        is_full = self.num_cached >= context_length
        if is_full or self.num_generated >= self.params.max_tokens:
            return FinishReason.LENGTH
        return None

    def send_token(self, finish_reason: FinishReason | None = None) -> None:
        """Send the newest token's text to the caller; the last event brings all that is left."""
        text = self._decode_stream.step(self._tokenizer, self.last_token_id) or ""
        if finish_reason is not None:
            whole = self._tokenizer.decode(self._token_ids, skip_special_tokens=True)
            text = whole[self._num_sent_chars :]
        self._num_sent_chars += len(text)
        self.send(TokenEvent(text, self.last_token_id, finish_reason))

    def cancel(self) -> None:
        """See `Generation`."""
        self.is_cancelled = True
        self._on_cancel()

    def usage(self) -> Usage:
        """See `Generation`."""
        return Usage(
            prompt_tokens=self.prompt_length,
            visual_tokens=self._num_visual_tokens,
            completion_tokens=self.num_generated,
            queue_s=max(0.0, self._started_s - self._submitted_s),
            time_to_first_token_s=max(0.0, self._first_token_s - self._submitted_s),
            generation_s=max(0.0, self._last_token_s - self._submitted_s),
        )

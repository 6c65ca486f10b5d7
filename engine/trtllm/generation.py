"""One request under way, and the handle its caller holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from cxr_reason.engine.base import FinishReason, TokenEvent
from cxr_reason.engine.event_stream import EventStream
from cxr_reason.usage import Usage


class TrtllmGeneration(EventStream):
    """Token ids from TensorRT-LLM → text events.

    The decoder's thread calls `take`, `finish_cancelled` and `fail`; the caller's thread iterates
    and may call `cancel` at any time.

    Args:
        tokenizer: Turns tokens into text.
        prompt_tokens: Tokens of the prompt, visual tokens included.
        visual_tokens: Of these, tokens of the film.
        on_cancel: Ends the request in TensorRT-LLM; any thread may call it, more than once.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        prompt_tokens: int,
        visual_tokens: int,
        on_cancel: Callable[[TrtllmGeneration], None],
    ) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._prompt_tokens = prompt_tokens
        self._visual_tokens = visual_tokens
        self._on_cancel = on_cancel
        self._stream = DecodeStream(skip_special_tokens=True)
        self._token_ids: list[int] = []
        self._num_sent_chars = 0
        self._submitted_s = time.perf_counter()
        self._first_token_s = self._last_token_s = 0.0

    def take(self, token_ids: Sequence[int], finish_reason: FinishReason | None) -> None:
        """Send what is new.

        Args:
            token_ids: All tokens so far, as TensorRT-LLM gives them.
            finish_reason: Set with the last tokens.
        """
        new = list(token_ids[len(self._token_ids) :])
        if new:
            self._last_token_s = time.perf_counter()
            self._first_token_s = self._first_token_s or self._last_token_s
        for token_id in new[:-1] if finish_reason is not None else new:
            self._token_ids.append(token_id)
            self._send(self._stream.step(self._tokenizer, token_id) or "", token_id, None)
        if finish_reason is not None:
            self._token_ids += new[-1:]
            # The last event brings all that is left, an incomplete character too.
            whole = self._tokenizer.decode(self._token_ids, skip_special_tokens=True)
            last = new[-1] if new else -1
            self._send(whole[self._num_sent_chars :], last, finish_reason)

    def _send(self, text: str, token_id: int, finish_reason: FinishReason | None) -> None:
        self._num_sent_chars += len(text)
        self.send(TokenEvent(text, token_id, finish_reason))

    def cancel(self) -> None:
        """See `Generation`."""
        self._on_cancel(self)

    def usage(self) -> Usage:
        """See `Generation`. TensorRT-LLM's own queue counts to the time to the first token."""
        return Usage(
            prompt_tokens=self._prompt_tokens,
            visual_tokens=self._visual_tokens,
            completion_tokens=len(self._token_ids),
            queue_s=0.0,
            time_to_first_token_s=max(0.0, self._first_token_s - self._submitted_s),
            generation_s=max(0.0, self._last_token_s - self._submitted_s),
        )

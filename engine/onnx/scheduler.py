"""Continuous batching: requests join and leave between decoding steps.

One thread owns the decoder. Each turn of its loop drops what was cancelled, admits the next
request if a slot is free, runs one decoding step for all running requests, and one chunk of the
prefill of the admitted one. Slots of running requests are 0, 1, 2, …; the request in prefill has
the slot after them, so every step works on one contiguous block of the cache.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

import numpy as np

from cxr_reason.engine.base import Array
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.embeddings import EmbeddingTable
from cxr_reason.engine.onnx.decoder import OnnxDecoder
from cxr_reason.engine.onnx.prefix_cache import CachedSegment, PrefixCache
from cxr_reason.engine.prefix import PromptSegment
from cxr_reason.engine.sequence import Sequence
from cxr_reason.errors import CapacityError, CxrError, GenerationError, describe_place

logger = logging.getLogger(__name__)


class Scheduler:
    """Runs requests over one decoder.

    Args:
        decoder: The model and its cache.
        embeddings: For the tokens that are generated.
        config: Slots, queue and chunk.
        context_length: Most tokens in a slot.
        stop_token_ids: Tokens that end a request.
    """

    def __init__(
        self,
        decoder: OnnxDecoder,
        embeddings: EmbeddingTable,
        config: EngineConfig,
        *,
        context_length: int,
        stop_token_ids: tuple[int, ...],
    ) -> None:
        self._decoder = decoder
        self._embeddings = embeddings
        self._config = config
        self._context_length = context_length
        self._stop_token_ids = frozenset(stop_token_ids)
        self._wake = threading.Condition()
        self._waiting: deque[Sequence] = deque()
        self._is_closing = False
        # Touched by the scheduler's thread only. The index is the slot.
        self._prefixes = PrefixCache(config.prefix_cache_mib * 2**20)
        self._running: list[Sequence] = []
        self._prefilling: Sequence | None = None
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)
        self._thread.start()

    def submit(self, sequence: Sequence) -> None:
        """Queue a request.

        Raises:
            CapacityError: The queue is full, or the engine is closing.
        """
        with self._wake:
            if self._is_closing:
                raise CapacityError("engine: it is shutting down")
            if len(self._waiting) >= self._config.max_queue:
                raise CapacityError(
                    f"engine: busy, {len(self._waiting)} requests are waiting and "
                    f"{self._config.max_queue} may; try again in a moment"
                )
            self._waiting.append(sequence)
            self._wake.notify()

    def wake(self) -> None:
        """Make the loop look at cancelled requests now."""
        with self._wake:
            self._wake.notify()

    def close(self) -> None:
        """Cancel every request and end the thread. Idempotent."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join()

    @property
    def num_active(self) -> int:
        """Requests that hold a slot."""
        return len(self._running) + (self._prefilling is not None)

    @property
    def num_waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def num_cached_tokens(self) -> int:
        """Tokens whose keys and values are in slots."""
        prefilling = self._prefilling
        active = [*self._running, *([prefilling] if prefilling is not None else [])]
        return sum(sequence.num_cached for sequence in active)

    @property
    def prefix_bytes(self) -> int:
        """Memory of the prompts that are kept."""
        return self._prefixes.size_bytes

    def _loop(self) -> None:
        while self._wait_for_work():
            try:
                self._drop_cancelled()
                self._admit()
                self._decode()
                self._prefill()
            except Exception as error:
                self._fail_all(error)
        self._end_all()

    def _wait_for_work(self) -> bool:
        with self._wake:
            while not (self._is_closing or self._waiting or self.num_active):
                self._wake.wait()
            return not self._is_closing

    def _drop_cancelled(self) -> None:
        with self._wake:
            cancelled = [sequence for sequence in self._waiting if sequence.is_cancelled]
            for sequence in cancelled:
                self._waiting.remove(sequence)
        for sequence in cancelled:
            sequence.finish_cancelled()
        if self._prefilling is not None and self._prefilling.is_cancelled:
            self._prefilling.finish_cancelled()
            self._prefilling = None
        for sequence in [sequence for sequence in self._running if sequence.is_cancelled]:
            sequence.finish_cancelled()
            self._release(sequence)

    def _admit(self) -> None:
        """Give the free slot to the next request; one whose prompt is cached runs at once."""
        while self._prefilling is None and len(self._running) < self._config.max_batch:
            with self._wake:
                sequence = self._waiting.popleft() if self._waiting else None
            if sequence is None:
                return
            sequence.start()
            self._prefilling = sequence
            logits = self._reuse_prefix(sequence)
            if sequence.num_cached == sequence.prompt_length:
                self._start_decoding(sequence, logits)

    def _reuse_prefix(self, sequence: Sequence) -> Array | None:
        """Copy what is cached of the prompt, and return the logits of its last token."""
        logits = None
        found = self._prefixes.find(segment.key for segment in sequence.segments)
        for segment, cached in zip(sequence.segments, found, strict=False):
            slot = len(self._running)
            self._decoder.load(slot, sequence.num_cached, cached.keys_and_values)
            sequence.num_cached = segment.end
            logits = cached.logits
        return logits

    def _decode(self) -> None:
        """Run one step for every running request."""
        if not self._running:
            return
        sequences = list(self._running)
        ids = np.array([sequence.last_token_id for sequence in sequences])
        places = np.array([sequence.last_position for sequence in sequences])
        lengths = np.array([sequence.num_cached + 1 for sequence in sequences])
        logits = self._decoder.run(
            0,
            self._embeddings.look_up(ids)[:, None],
            np.broadcast_to(places[None, :, None], (3, len(sequences), 1)).copy(),
            lengths,
        )
        # All lengths first: a request that ends here moves another one's slot.
        for sequence in sequences:
            sequence.num_cached += 1
        for sequence, row in zip(sequences, logits, strict=True):
            self._take_token(sequence, row)

    def _prefill(self) -> None:
        """Run one chunk of the request in prefill; after its last chunk it is running."""
        sequence = self._prefilling
        if sequence is None:
            return
        slot, start = len(self._running), sequence.num_cached
        segment = next(segment for segment in sequence.segments if segment.end > start)
        end = min(start + self._config.prefill_chunk, segment.end)
        logits = self._decoder.prefill(
            slot,
            sequence.embeddings[start:end],
            sequence.positions[:, start:end],
            length=end,
            with_logits=segment.starts_answer and end == segment.end,
        )
        sequence.num_cached = end
        if end == segment.end:
            self._keep_prefix(sequence, segment, logits)
        if end == sequence.prompt_length:
            self._start_decoding(sequence, logits)

    def _keep_prefix(
        self, sequence: Sequence, segment: PromptSegment, logits: Array | None
    ) -> None:
        start = max(
            (other.end for other in sequence.segments if other.end < segment.end), default=0
        )
        saved = self._decoder.save(len(self._running), start, segment.end)
        self._prefixes.put(segment.key, CachedSegment(saved, logits))

    def _start_decoding(self, sequence: Sequence, logits: Array | None) -> None:
        assert logits is not None, "a prompt ends where its answer starts"
        self._prefilling = None
        self._running.append(sequence)
        self._take_token(sequence, logits)

    def _take_token(self, sequence: Sequence, logits: Array) -> None:
        sequence.choose_token(logits)
        reason = sequence.find_finish_reason(self._stop_token_ids, self._context_length)
        if reason is not None:
            # Free the slot before the caller is told of the end, since it may then send the next.
            self._release(sequence)
        sequence.send_token(reason)

    def _release(self, sequence: Sequence) -> None:
        """Free a slot; the last running request and the one in prefill close the gap."""
        slot = self._running.index(sequence)
        last = self._running.pop()
        if last is not sequence:
            self._running[slot] = last
            self._decoder.move(len(self._running), slot, last.num_cached)
        if self._prefilling is not None:
            target = len(self._running)
            self._decoder.move(target + 1, target, self._prefilling.num_cached)

    def _fail_all(self, error: Exception) -> None:
        """A failed step leaves its cache undefined: its requests end, the engine continues."""
        if not isinstance(error, CxrError):
            logger.error("scheduler: step failed: %s", describe_place(error))
            error = GenerationError("engine: a step failed; the request may be sent again")
        for sequence in self._take_active():
            sequence.fail(error)

    def _end_all(self) -> None:
        with self._wake:
            sequences = [*self._waiting]
            self._waiting.clear()
        for sequence in [*self._take_active(), *sequences]:
            sequence.finish_cancelled()

    def _take_active(self) -> list[Sequence]:
        prefilling = [self._prefilling] if self._prefilling is not None else []
        active = [*self._running, *prefilling]
        self._running, self._prefilling = [], None
        return active

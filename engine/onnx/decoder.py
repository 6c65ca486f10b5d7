"""Runs `decoder.onnx` over KV cache slots that never move while a request grows.

The graph comes from onnxruntime-genai's model builder: embeddings in, logits of the last token
out. Its GroupQueryAttention writes new keys and values in place when past and present are one
buffer, and reads each row's length from its row of `attention_mask`, so one step takes requests
of different lengths.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from cxr_reason.engine.artifact import ModelShape
from cxr_reason.engine.base import Array
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.onnx.session import open_session
from cxr_reason.errors import GenerationError

DECODER_MODEL = "decoder.onnx"
DECODER_WEIGHTS = "decoder.onnx.data"
PREFILL_MODEL = "prefill.onnx"


class OnnxDecoder:
    """The decoder and its KV cache: one slot a row, rows 0 to `num_slots - 1`.

    The cache is `[num_slots, kv_heads, context_length, head_dim]` a layer and kind, in fp32.
    Memory that no request has reached yet is not resident.
    """

    def __init__(
        self, folder: Path, shape: ModelShape, config: EngineConfig, context_length: int
    ) -> None:
        self._session = open_session(folder / DECODER_MODEL, config)
        prefill = folder / PREFILL_MODEL
        self._prefill_session = (
            open_session(prefill, config) if prefill.is_file() else self._session
        )
        self._vocab_size = shape.vocab_size
        size = (config.max_batch, shape.num_kv_heads, context_length, shape.head_dim)
        self._cache = {
            f"{layer}.{kind}": np.zeros(size, np.float32)
            for layer in range(shape.num_layers)
            for kind in ("key", "value")
        }

    def run(
        self,
        first_slot: int,
        embeddings: Array,
        positions: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
    ) -> Array:
        """Process new tokens of the requests in slots `first_slot` onwards.

        Each request takes one new token (a decoding step).

        Args:
            first_slot: Slot of the first row.
            embeddings: float32 `[B, S, hidden]` of the new tokens.
            positions: M-RoPE positions, int64 `[3, B, S]`.
            lengths: Tokens in each slot after this call, int64 `[B]`.

        Returns:
            Logits of each row's last token, float32 `[B, vocab]`.

        Raises:
            GenerationError: ONNX Runtime failed.
        """
        logits = np.empty((len(lengths), 1, self._vocab_size), np.float32)
        self._step(self._session, first_slot, embeddings, positions, lengths, logits)
        return logits[:, 0]

    def prefill(
        self,
        slot: int,
        embeddings: Array,
        positions: npt.NDArray[np.int64],
        *,
        length: int,
        with_logits: bool,
    ) -> Array | None:
        """Process a chunk of the prompt of one request.

        Args:
            slot: Slot of the request.
            embeddings: float32 `[S, hidden]` of the chunk.
            positions: M-RoPE positions, int64 `[3, S]`.
            length: Tokens in the slot after this call.
            with_logits: An answer starts after the chunk. Its last token is then run with the
                weights for decoding, because those for prefill have no output layer.

        Returns:
            Logits of the last token, float32 `[vocab]`, or None.

        Raises:
            GenerationError: ONNX Runtime failed.
        """
        many = len(embeddings) - with_logits
        if many:
            self._step(
                self._prefill_session,
                slot,
                np.ascontiguousarray(embeddings[None, :many]),
                np.ascontiguousarray(positions[:, None, :many]),
                np.array([length - with_logits]),
                None,
            )
        if not with_logits:
            return None
        last = np.ascontiguousarray(embeddings[None, many:])
        return self.run(
            slot, last, np.ascontiguousarray(positions[:, None, many:]), np.array([length])
        )[0]

    def _step(
        self,
        session: ort.InferenceSession,
        first_slot: int,
        embeddings: Array,
        positions: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        logits: Array | None,
    ) -> None:
        rows = len(lengths)
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        binding = session.io_binding()
        binding.bind_cpu_input("inputs_embeds", embeddings)
        binding.bind_cpu_input("position_ids", positions)
        binding.bind_cpu_input("attention_mask", mask)
        for name, cache in self._cache.items():
            slots = cache[first_slot : first_slot + rows]
            place = ("cpu", 0, np.float32, slots.shape, slots.ctypes.data)
            binding.bind_input(f"past_key_values.{name}", *place)
            binding.bind_output(f"present.{name}", *place)
        if logits is not None:
            binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
        try:
            session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise GenerationError("decoder: ONNX Runtime failed in a step") from error

    def save(self, slot: int, start: int, end: int) -> dict[str, Array]:
        """Return a copy of the keys and values of tokens `start` to `end` of a slot."""
        return {name: cache[slot, :, start:end].copy() for name, cache in self._cache.items()}

    def load(self, slot: int, start: int, saved: dict[str, Array]) -> None:
        """Put saved keys and values into a slot, from token `start` on."""
        for name, array in saved.items():
            self._cache[name][slot, :, start : start + array.shape[1]] = array

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one slot over another."""
        for cache in self._cache.values():
            cache[target, :, :length] = cache[source, :, :length]

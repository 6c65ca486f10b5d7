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

from cxr_reason.engine.artifact import ModelShape
from cxr_reason.engine.base import Array
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.onnx.session import open_session
from cxr_reason.errors import GenerationError

DECODER_MODEL = "decoder.onnx"
DECODER_WEIGHTS = "decoder.onnx.data"


class OnnxDecoder:
    """The decoder and its KV cache: one slot a row, rows 0 to `num_slots - 1`.

    The cache is `[num_slots, kv_heads, context_length, head_dim]` a layer and kind, in fp32.
    Memory that no request has reached yet is not resident.
    """

    def __init__(
        self, folder: Path, shape: ModelShape, config: EngineConfig, context_length: int
    ) -> None:
        self._session = open_session(folder / DECODER_MODEL, config)
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

        Several requests take one new token each (a decoding step); one request may take many
        (a chunk of its prefill).

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
        rows = len(lengths)
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        logits = np.empty((rows, 1, self._vocab_size), np.float32)
        binding = self._session.io_binding()
        binding.bind_cpu_input("inputs_embeds", embeddings)
        binding.bind_cpu_input("position_ids", positions)
        binding.bind_cpu_input("attention_mask", mask)
        for name, cache in self._cache.items():
            slots = cache[first_slot : first_slot + rows]
            place = ("cpu", 0, np.float32, slots.shape, slots.ctypes.data)
            binding.bind_input(f"past_key_values.{name}", *place)
            binding.bind_output(f"present.{name}", *place)
        binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise GenerationError("decoder: ONNX Runtime failed in a step") from error
        return logits[:, 0]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one slot over another."""
        for cache in self._cache.values():
            cache[target, :, :length] = cache[source, :, :length]

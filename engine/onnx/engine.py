"""The engine of the ONNX Runtime backend."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cxr_reason.engine.answer_guide import AnswerGuides
from cxr_reason.engine.artifact import TOKENIZER, Manifest
from cxr_reason.engine.backend import DECODER, VISION
from cxr_reason.engine.base import Generation, GenerationRequest
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.embeddings import EmbeddingTable
from cxr_reason.engine.onnx.decoder import OnnxDecoder
from cxr_reason.engine.onnx.scheduler import Scheduler
from cxr_reason.engine.onnx.vision import OnnxVision
from cxr_reason.engine.parts import EngineOfParts
from cxr_reason.engine.positions import place_tokens
from cxr_reason.engine.prefix import split_prompt
from cxr_reason.engine.prompt_encoder import PromptEncoder, check_length
from cxr_reason.engine.sequence import Sequence
from cxr_reason.errors import BadRequestError


class OnnxEngine(EngineOfParts["_TextSide"]):
    """See `Engine`. Built by `registry.load_engine`."""

    def __init__(
        self, folder: Path, manifest: Manifest, config: EngineConfig, *, parts: frozenset[str]
    ) -> None:
        super().__init__(
            manifest,
            OnnxVision(folder, manifest, config) if VISION in parts else None,
            _TextSide(folder, manifest, config) if DECODER in parts else None,
        )

    @property
    def num_active(self) -> int:
        """Requests that hold a slot."""
        return self._loaded_decoder().scheduler.num_active

    @property
    def num_waiting(self) -> int:
        """Requests in the queue."""
        return self._loaded_decoder().scheduler.num_waiting

    def cache_bytes(self) -> dict[str, int]:
        """See `Engine`."""
        scheduler = self._loaded_decoder().scheduler
        return {
            "keys_and_values": scheduler.num_cached_tokens * self.manifest.shape.kv_bytes_per_token,
            "prefixes": scheduler.prefix_bytes,
        }


class _TextSide:
    """Prompt encoder, embeddings, decoder and scheduler."""

    def __init__(self, folder: Path, manifest: Manifest, config: EngineConfig) -> None:
        self._manifest = manifest
        self._context_length = config.limit_context(manifest.context_length)
        self._prompts = PromptEncoder(folder, image_token_id=manifest.image_token_id)
        self._guides = AnswerGuides(
            folder / TOKENIZER,
            vocab_size=manifest.shape.vocab_size,
            stop_token_id=manifest.stop_token_ids[0],
        )
        self._embeddings = EmbeddingTable(folder)
        self.scheduler = Scheduler(
            OnnxDecoder(folder, manifest.shape, config, self._context_length),
            self._embeddings,
            config,
            context_length=self._context_length,
            stop_token_ids=manifest.stop_token_ids,
        )

    def submit(self, request: GenerationRequest) -> Generation:
        visual = request.visual
        num_visual_tokens = 0 if visual is None else len(visual.tokens)
        ids = self._prompts.encode(request.messages, num_visual_tokens=num_visual_tokens)
        check_length(len(ids), self._context_length)
        positions = place_tokens(
            ids,
            image_token_id=self._manifest.image_token_id,
            grid=None if visual is None else visual.grid,
        )
        embeddings = self._embeddings.look_up(ids)
        if visual is not None:
            width = self._manifest.shape.hidden_size
            if visual.tokens.ndim != 2 or visual.tokens.shape[1] != width:
                raise BadRequestError(
                    f"visual_tokens: {list(visual.tokens.shape)}; this engine takes [n, {width}]"
                )
            embeddings[ids == self._manifest.image_token_id] = visual.tokens
        sequence = Sequence(
            embeddings=np.ascontiguousarray(embeddings),
            positions=positions,
            segments=split_prompt(
                ids,
                visual,
                image_token_id=self._manifest.image_token_id,
                answer_start=self._prompts.answer_start,
            ),
            num_visual_tokens=num_visual_tokens,
            params=request.sampling,
            guide=self._guides.make(request.answer_format) if request.answer_format else None,
            tokenizer=self._prompts.tokenizer,
            on_cancel=self.scheduler.wake,
        )
        self.scheduler.submit(sequence)
        return sequence

    def close(self) -> None:
        self.scheduler.close()

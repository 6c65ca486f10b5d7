"""The engine of the TensorRT-LLM backend."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from cxr_reason.engine.artifact import Manifest
from cxr_reason.engine.backend import DECODER, VISION
from cxr_reason.engine.base import Array, Generation, GenerationRequest, VisualInput
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.parts import EngineOfParts
from cxr_reason.engine.prompt_encoder import PromptEncoder, check_length
from cxr_reason.engine.trtllm import films
from cxr_reason.engine.trtllm.decoder import DECODER as DECODER_FOLDER
from cxr_reason.engine.trtllm.decoder import TrtllmDecoder
from cxr_reason.engine.trtllm.generation import TrtllmGeneration
from cxr_reason.engine.trtllm.package import installed_release
from cxr_reason.engine.trtllm.sampling import make_sampling_params
from cxr_reason.engine.trtllm.settings import TrtllmSettings
from cxr_reason.engine.vision_input import check_patches
from cxr_reason.errors import BadRequestError
from cxr_reason.kernels.preprocess.reference import unpatchify


class TrtllmEngine(EngineOfParts["_TextSide"]):
    """See `Engine`. Built by `registry.load_engine`.

    A film that goes as pixels comes back from `encode` as rows `[n, 784]` (`films`).
    """

    def __init__(
        self, folder: Path, manifest: Manifest, config: EngineConfig, *, parts: frozenset[str]
    ) -> None:
        release = installed_release()
        super().__init__(
            manifest,
            _VisionSide(folder, manifest, release) if VISION in parts else None,
            _TextSide(folder, manifest, config, release) if DECODER in parts else None,
        )

    @property
    def num_active(self) -> int:
        """Requests that run or wait."""
        return self._loaded_decoder().decoder.num_active


class _VisionSide:
    """The vision engine where the release can use it; films as pixels else."""

    def __init__(self, folder: Path, manifest: Manifest, release: tuple[int, int]) -> None:
        self._manifest = manifest
        self._release = release
        self._engine: Any = None
        if films.needs_vision_engine(release):
            from cxr_reason.engine.trtllm.vision import TrtVision

            self._engine = TrtVision(folder, manifest)

    def encode(self, patches: Array, grid: tuple[int, int]) -> VisualInput:
        check_patches(patches, grid, max_pixels=self._manifest.max_pixels)
        if films.goes_as_tokens(self._release, grid):
            return VisualInput(self._engine.encode(patches, grid), grid)
        if (pixels := patches.size) < self._manifest.min_pixels:
            # TensorRT-LLM's processor would enlarge it.
            raise BadRequestError(
                f"grid: {grid[0]} x {grid[1]} is {pixels} pixels; this engine takes at least "
                f"{self._manifest.min_pixels}"
            )
        return VisualInput(films.pack_pixels(patches), grid)


class _TextSide:
    """Prompt encoder and decoder."""

    def __init__(
        self, folder: Path, manifest: Manifest, config: EngineConfig, release: tuple[int, int]
    ) -> None:
        self._manifest = manifest
        self._release = release
        self._context_length = config.limit_context(manifest.context_length)
        self._prompts = PromptEncoder(folder, image_token_id=manifest.image_token_id)
        self.decoder = TrtllmDecoder(
            folder / DECODER_FOLDER, config, TrtllmSettings.from_environment(), self._context_length
        )

    def submit(self, request: GenerationRequest) -> Generation:
        visual = request.visual
        count = 0 if visual is None else len(visual.tokens)
        length = len(self._prompts.encode(request.messages, num_visual_tokens=count))
        check_length(length, self._context_length)
        sampling = make_sampling_params(
            request,
            max_tokens=min(request.sampling.max_tokens, self._context_length - length),
            stop_token_ids=self._manifest.stop_token_ids,
        )
        generation = TrtllmGeneration(
            self._prompts.tokenizer,
            prompt_tokens=length,
            visual_tokens=count,
            on_cancel=self.decoder.cancel,
        )
        inputs = {"prompt": self._render(request)}
        if visual is not None:
            inputs |= self._film_inputs(visual)
        self.decoder.submit(generation, inputs, sampling, salt=_salt(visual))
        return generation

    def close(self) -> None:
        self.decoder.close()

    def _render(self, request: GenerationRequest) -> str:
        """Return the prompt with one image token for the film, which TensorRT-LLM multiplies."""
        ids = self._prompts.encode(
            request.messages, num_visual_tokens=0 if request.visual is None else 1
        )
        return self._prompts.tokenizer.decode(ids.tolist(), skip_special_tokens=False)

    def _film_inputs(self, visual: VisualInput) -> dict[str, Any]:
        import torch  # comes with TensorRT-LLM

        as_tokens = films.goes_as_tokens(self._release, visual.grid)
        width = self._manifest.shape.hidden_size if as_tokens else films.PIXEL_ROW
        if visual.tokens.ndim != 2 or visual.tokens.shape[1] != width:
            raise BadRequestError(
                f"visual_tokens: {list(visual.tokens.shape)}; this engine takes [n, {width}] for "
                "this film, as its own model `vision` makes them"
            )
        if as_tokens:
            tokens = torch.from_numpy(np.ascontiguousarray(visual.tokens)).to(torch.bfloat16)
            return {"multi_modal_embeddings": {"image": [tokens]}}
        film = torch.from_numpy(unpatchify(visual.tokens, visual.grid))
        return {"multi_modal_data": {"image": [film.expand(3, -1, -1).contiguous()]}}


def _salt(visual: VisualInput | None) -> str | None:
    """Name the film by its content, as only requests about the same film may share a cache.

    TensorRT-LLM does not look at visual tokens from outside when it compares prompts, and two films
    of one size have the same prompt.
    """
    if visual is None:
        return None
    digest = hashlib.sha256(np.ascontiguousarray(visual.tokens).data)
    digest.update(np.array(visual.grid, np.int64).tobytes())
    return digest.hexdigest()

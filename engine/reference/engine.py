"""Runs a checkpoint with transformers, one request at a time.

Vision tower, embeddings, positions, attention and cache are transformers' own: only the prompt's
text, the choice of tokens and the stream of text are shared with the other backends. On a GPU our
kernels take the place of the projector and of the preprocessing; `kernels="torch"` keeps
transformers' own, the oracle.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.cache_utils import DynamicCache

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.answer_guide import AnswerGuides
from cxr_reason.engine.artifact import TOKENIZER
from cxr_reason.engine.base import (
    Array,
    Engine,
    Generation,
    GenerationRequest,
    VisualInput,
)
from cxr_reason.engine.build import describe
from cxr_reason.engine.plan import DEFAULT_CONTEXT_LENGTH, read_budget
from cxr_reason.engine.prompt_encoder import PromptEncoder, check_length
from cxr_reason.engine.reference.fused import FusedMerger, Kernels, decide_kernels
from cxr_reason.engine.sequence import Sequence
from cxr_reason.errors import GenerationError, describe_place
from cxr_reason.kernels.preprocess import Grid, preprocess
from cxr_reason.kernels.projector import load_tuning

logger = logging.getLogger(__name__)


class ReferenceEngine(Engine):
    """See `Engine`.

    Args:
        checkpoint: What to run.
        device: Torch device.
        dtype: Of the weights and activations; fp32 for an oracle.
        kernels: "triton" runs our kernels, "torch" transformers' own modules, "auto" takes triton
            on a GPU in bfloat16 or float16 and logs what runs and why.
        tuning: File of block sizes from `save_tuning`; with it nothing is measured here. Without,
            the first film of a size is slow on a GPU: its kernels are tuned.
        model: Weights that are loaded already, of the checkpoint's configuration, in `dtype`. The
            checkpoint then needs none, and its digest is empty.
        max_pixels: Upper end of the pixel budget; None takes the checkpoint's.

    Attributes:
        is_fused: Our kernels run.

    Raises:
        EngineError: `kernels="triton"` cannot run, or the tuning file is not one.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        kernels: Kernels = "auto",
        tuning: Path | None = None,
        model: Qwen2_5_VLForConditionalGeneration | None = None,
        max_pixels: int | None = None,
    ) -> None:
        self.manifest = describe(
            checkpoint,
            digest=checkpoint.digest() if model is None else "",
            backend="reference",
            precision=str(dtype).removeprefix("torch."),
            budget=read_budget(checkpoint, max_pixels),
            context_length=min(
                DEFAULT_CONTEXT_LENGTH, int(checkpoint.text["max_position_embeddings"])
            ),
            files={},
        )
        self._device = torch.device(device)
        self.is_fused = decide_kernels(
            kernels,
            self._device,
            dtype,
            size=int(checkpoint.vision["hidden_size"]),
            out_size=int(checkpoint.vision["out_hidden_size"]),
        )
        if tuning is not None:
            load_tuning(tuning)
        if model is None:
            model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
                checkpoint.folder, dtype=dtype
            )
        self._model = model.to(self._device).eval()
        if self.is_fused:
            tower = self._model.model.visual
            tower.merger = FusedMerger(tower.merger)
        self._prompts = PromptEncoder(
            checkpoint.folder, image_token_id=self.manifest.image_token_id
        )
        self._guides = AnswerGuides(
            checkpoint.folder / TOKENIZER,
            vocab_size=self.manifest.shape.vocab_size,
            stop_token_id=self.manifest.stop_token_ids[0],
        )
        self._mean = torch.tensor(checkpoint.preprocessor["image_mean"], device=self._device)
        self._std = torch.tensor(checkpoint.preprocessor["image_std"], device=self._device)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="reference")

    @torch.inference_mode()
    def encode(self, patches: Array, grid: tuple[int, int]) -> VisualInput:
        """See `Engine`."""
        return self._encode(torch.from_numpy(patches).to(self._device), grid)

    @torch.inference_mode()
    def encode_pixels(
        self,
        pixels: npt.NDArray[np.uint16],
        display_table: npt.NDArray[np.float32],
        grid: Grid,
    ) -> VisualInput:
        """Preprocess and encode a film; with our kernels, without leaving the device in between.

        Args:
            pixels: uint16 `[H, W]`, stored values.
            display_table: float32 `[entries]`, intensity 0..1 of each stored value.
            grid: Size in patches, from `fit_grid`.
        """
        if not self.is_fused:
            return self.encode(preprocess(pixels, display_table, grid), grid)
        # Needs triton, which a CPU may lack.
        from cxr_reason.kernels.preprocess.triton_op import preprocess_triton

        film, table = (
            torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
            for array in (pixels, display_table)
        )
        return self._encode(preprocess_triton(film, table, grid), grid)

    def _encode(self, patches: Tensor, grid: tuple[int, int]) -> VisualInput:
        """Encode gray patches, float32 `[N, 196]` on the device."""
        # The three channels and two frames of `pixel_values` in transformers, [N, 1176].
        colour = (patches[:, None, None, :] - self._mean[:, None, None]) / self._std[:, None, None]
        values = colour.repeat(1, 1, 2, 1).flatten(1).to(self._model.dtype)
        output = self._model.model.get_image_features(values, self._thw(grid))
        (tokens,) = output.pooler_output
        return VisualInput(tokens.float().cpu().numpy(), grid)

    def submit(self, request: GenerationRequest) -> Generation:
        """See `Engine`. The queue has no limit: this backend serves tests and one user."""
        visual = request.visual
        count = 0 if visual is None else len(visual.tokens)
        ids = self._prompts.encode(request.messages, num_visual_tokens=count)
        check_length(len(ids), self.manifest.context_length)
        embeddings, positions = self._embed(torch.from_numpy(ids)[None], visual)
        sequence = Sequence(
            embeddings=embeddings.float().cpu().numpy(),
            positions=positions.cpu().numpy(),
            num_visual_tokens=count,
            params=request.sampling,
            guide=self._guides.make(request.answer_format) if request.answer_format else None,
            tokenizer=self._prompts.tokenizer,
            on_cancel=lambda: None,
        )
        self._worker.submit(self._run, sequence)
        return sequence

    def close(self) -> None:
        """See `Engine`."""
        self._worker.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def _embed(self, ids: Tensor, visual: VisualInput | None) -> tuple[Tensor, Tensor]:
        """Return embeddings `[T, hidden]` and positions `[3, T]` of a prompt."""
        ids = ids.to(self._device)
        embeddings = self._model.get_input_embeddings()(ids)
        is_image = ids == self.manifest.image_token_id
        if visual is None:
            return embeddings[0], torch.arange(ids.shape[1]).repeat(3, 1)
        embeddings[is_image] = torch.from_numpy(visual.tokens).to(embeddings)
        positions, _ = self._model.model.get_rope_index(
            ids, is_image.int(), image_grid_thw=self._thw(visual.grid)
        )
        return embeddings[0], positions[:, 0]

    def _run(self, sequence: Sequence) -> None:
        try:
            self._generate(sequence)
        except Exception as error:
            logger.error("reference: a step failed: %s", describe_place(error))
            sequence.fail(GenerationError("engine: a step failed; send the request again"))

    @torch.inference_mode()
    def _generate(self, sequence: Sequence) -> None:
        cache = DynamicCache(config=self._model.config.text_config)
        embeddings = torch.from_numpy(sequence.embeddings)[None]
        positions = torch.from_numpy(sequence.positions)[:, None]
        sequence.start()
        while not sequence.is_cancelled:
            logits = self._step(embeddings, positions, cache)
            sequence.num_cached += embeddings.shape[1]
            token_id = sequence.choose_token(logits)
            reason = sequence.find_finish_reason(
                self.manifest.stop_token_ids, self.manifest.context_length
            )
            sequence.send_token(reason)
            if reason is not None:
                return
            embeddings = self._model.get_input_embeddings()(
                torch.tensor([[token_id]], device=self._device)
            )
            positions = torch.full((3, 1, 1), sequence.last_position)
        sequence.finish_cancelled()

    def _step(self, embeddings: Tensor, positions: Tensor, cache: DynamicCache) -> Array:
        output = self._model(
            inputs_embeds=embeddings.to(self._device, self._model.dtype),
            position_ids=positions.to(self._device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Array = output.logits[0, -1].float().cpu().numpy()
        return np.ascontiguousarray(logits)

    def _thw(self, grid: tuple[int, int]) -> Tensor:
        return torch.tensor([[1, *grid]], device=self._device)

# /// script
# dependencies = [
#     "pillow==13.0.0",
#     "torch==2.14.1",
#     "torchvision==0.29.1",
#     "transformers==5.23.0",
# ]
# ///
"""Transformers: `generate` with a KV cache, in fp32 or bf16; several requests are one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessor

Job = dict[str, Any]


def load(job: Job) -> _Transformers:
    """Load the checkpoint in the precision of `options.dtype`."""
    return _Transformers(job["checkpoint"], getattr(torch, job["options"]["dtype"]))


class _Transformers:
    def __init__(self, checkpoint: str, dtype: torch.dtype) -> None:
        self._model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype)
        self._model.eval()
        # No contender ends early.
        self._model.generation_config.eos_token_id = None
        self._images = Qwen2VLImageProcessor.from_pretrained(checkpoint)
        self._tokenizer = AutoTokenizer.from_pretrained(checkpoint)

    def generate(self, film: str, job: Job, on_token: Callable[[], None]) -> tuple[int, int]:
        inputs = self._encode([film], job)
        output = self._run(inputs, job, _Streamer(on_token))
        num_prompt = inputs["input_ids"].shape[1]
        return num_prompt, output.shape[1] - num_prompt

    def generate_many(self, films: list[str], job: Job) -> int:
        inputs = self._encode(films, job)
        output = self._run(inputs, job, None)
        return len(films) * (output.shape[1] - inputs["input_ids"].shape[1])

    def _encode(self, films: list[str], job: Job) -> dict[str, Any]:
        images = [Image.open(film).convert("RGB") for film in films]
        inputs = self._images(images=images, return_tensors="pt")
        num_visual = int(inputs["image_grid_thw"][0].prod()) // self._images.merge_size**2
        pad = "<|image_pad|>"
        text = job["chat"].replace(pad, pad * num_visual)
        ids = self._tokenizer([text] * len(films), return_tensors="pt", add_special_tokens=False)
        types = (ids["input_ids"] == self._model.config.image_token_id).int()
        return {**inputs, **ids, "mm_token_type_ids": types}

    @torch.inference_mode()
    def _run(self, inputs: dict[str, Any], job: Job, streamer: Any) -> torch.Tensor:
        output = self._model.generate(
            **inputs, max_new_tokens=job["tokens"], do_sample=False, streamer=streamer
        )
        assert isinstance(output, torch.Tensor)
        return output


class _Streamer:
    """What `generate` gives tokens to; the prompt comes first."""

    def __init__(self, on_token: Callable[[], None]) -> None:
        self._on_token = on_token
        self._has_prompt = False

    def put(self, _: Any) -> None:
        if self._has_prompt:
            self._on_token()
        self._has_prompt = True

    def end(self) -> None:
        pass

"""The `reference` backend with random weights: from pixels to the first token, and on."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
)

from cxr_reason.benchmarks.gpu_kernels import Scope, make_film
from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.base import GenerationRequest, SamplingParams
from cxr_reason.engine.reference.engine import ReferenceEngine
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt
from cxr_reason.training.random_checkpoint import SIZES, make_config, make_tokenizer, randomise

NUM_TOKENS = 64
NUM_RUNS = 5


def make_model(folder: Path, scope: Scope) -> tuple[Checkpoint, Qwen2_5_VLForConditionalGeneration]:
    """Draw weights on the device, and write what else a checkpoint has."""
    size = SIZES[scope.shape]
    config = make_config(size)
    default_dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(scope.device):
            model = Qwen2_5_VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(default_dtype)
    randomise(model)
    config.save_pretrained(folder)
    tokenizer = make_tokenizer(size["first_special_id"])
    tokenizer.save_pretrained(folder)
    # A stop token that no answer holds: every run generates the same number.
    GenerationConfig(eos_token_id=[config.image_token_id], do_sample=False).save_pretrained(folder)
    budget = PixelBudget()
    Qwen2VLImageProcessor(
        min_pixels=budget.min_pixels, max_pixels=budget.max_pixels
    ).save_pretrained(folder)
    return Checkpoint(folder), model


def time_generation(engine: ReferenceEngine, film: Any, num_tokens: int) -> tuple[float, float]:
    """Return ms from pixels to the first token, and tokens a second after it."""
    start = time.perf_counter()
    visual = engine.encode_pixels(*film)
    request = GenerationRequest(
        parse_prompt(FIND_ABNORMALITIES), visual, SamplingParams(max_tokens=num_tokens)
    )
    arrivals = [time.perf_counter() for _ in engine.submit(request)]
    return (arrivals[0] - start) * 1e3, (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])


def time_engine(scope: Scope) -> Iterator[dict[str, Any]]:
    """Time the backend with transformers' own modules, then with the kernels in their place."""
    num_tokens, num_runs = (3, 1) if scope.is_dry else (NUM_TOKENS, NUM_RUNS)
    (name, shape), *_ = scope.films.items()
    film = make_film(shape, scope.seed)
    medians: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, model = make_model(Path(folder), scope)
        for kernels in ("torch", "triton"):
            with ReferenceEngine(
                checkpoint,
                device=scope.device,
                dtype=torch.bfloat16,
                kernels=kernels,
                model=model,
            ) as engine:
                if not scope.is_dry:
                    time_generation(engine, film, num_tokens)  # compiles and tunes
                runs = [time_generation(engine, film, num_tokens) for _ in range(num_runs)]
            first, rate = (statistics.median(values) for values in zip(*runs, strict=True))
            medians[kernels] = (first, rate)
    (our_first, our_rate), (first, rate) = medians["triton"], medians["torch"]
    for metric, unit, ours, value, ratio in (
        ("time to first token", "ms", our_first, first, first / our_first),
        ("tokens per second", "tokens/s", our_rate, rate, our_rate / rate),
    ):
        yield {
            "case": f"reference {scope.shape} bf16, random weights, {name}",
            "metric": metric,
            "unit": unit,
            "ours": ours,
            "baseline": "transformers' projector, preprocessing on the CPU",
            "baseline_value": value,
            "ratio": ratio,
            "runs": num_runs,
        }

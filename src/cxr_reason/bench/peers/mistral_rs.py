# /// script
# dependencies = [
#     "mistralrs==0.9.5",
# ]
# ///
"""mistral.rs with weights quantised to Q4K as it loads."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mistralrs import (
    ChatCompletionRequest,
    ModelDType,
    MultimodalArchitecture,
    Runner,
    Which,
)

Job = dict[str, Any]


def load(job: Job) -> _MistralRs:
    """Load and quantise the checkpoint."""
    return _MistralRs(job)


class _MistralRs:
    def __init__(self, job: Job) -> None:
        which = Which.MultimodalPlain(
            model_id=job["checkpoint"],
            arch=MultimodalArchitecture.Qwen2_5VL,
            dtype=ModelDType.F32,
        )
        self._runner = Runner(
            which=which,
            in_situ_quant=job["options"]["quantization"],
            max_seqs=max([8, *job["concurrency"]]),
        )

    def generate(self, film: str, job: Job, on_token: Callable[[], None]) -> tuple[int, int]:
        usage = None
        request = _request(film, job, stream=True)
        for chunk in self._runner.send_chat_completion_request(request):
            # A chunk without text comes at the end, or for half a character.
            if chunk.choices and chunk.choices[0].delta.content:
                on_token()
            usage = chunk.usage or usage
        assert usage is not None, "the last chunk tells the usage"
        return usage.prompt_tokens, usage.completion_tokens

    def generate_many(self, films: list[str], job: Job) -> int:
        def ask(film: str) -> int:
            request = _request(film, job, stream=False)
            tokens = self._runner.send_chat_completion_request(request).usage.completion_tokens
            assert isinstance(tokens, int)
            return tokens

        with ThreadPoolExecutor(len(films)) as pool:
            return sum(pool.map(ask, films))


def _request(film: str, job: Job, *, stream: bool) -> ChatCompletionRequest:
    encoded = base64.b64encode(Path(film).read_bytes()).decode()
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}},
        {"type": "text", "text": job["prompt"]},
    ]
    return ChatCompletionRequest(
        messages=[{"role": "user", "content": content}],
        model="default",
        max_tokens=job["tokens"],
        temperature=0.0,
        ignore_eos=True,
        stream=stream,
    )

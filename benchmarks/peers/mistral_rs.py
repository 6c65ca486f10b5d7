# /// script
# dependencies = [
#     "mistralrs==0.9.5",
# ]
# ///
"""mistral.rs with weights quantised to Q4K as it loads."""

from __future__ import annotations

import base64
from collections.abc import Callable
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

# Where the film goes. Release 0.9.5 gives the chat template no part for it: tried with Qwen's own.
_FILM = "<|vision_start|><|image_pad|><|vision_end|>"


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
        usage = _drain(self._send(film, job), on_token)
        return usage.prompt_tokens, usage.completion_tokens

    def generate_many(self, films: list[str], job: Job) -> int:
        # Streams, because the runner takes no two calls at once and a stream returns at once.
        streams = [self._send(film, job) for film in films]
        return sum(_drain(stream, lambda: None).completion_tokens for stream in streams)

    def _send(self, film: str, job: Job) -> Any:
        return self._runner.send_chat_completion_request(_request(film, job))


def _drain(stream: Any, on_token: Callable[[], None]) -> Any:
    """Follow an answer to its end and return its usage."""
    usage = None
    for chunk in stream:
        # A chunk without text comes at the end, or for half a character.
        if chunk.choices and chunk.choices[0].delta.content:
            on_token()
        usage = chunk.usage or usage
    assert usage is not None, "the last chunk tells the usage"
    return usage


def _request(film: str, job: Job) -> ChatCompletionRequest:
    encoded = base64.b64encode(Path(film).read_bytes()).decode()
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}},
        {"type": "text", "text": _FILM + job["prompt"]},
    ]
    return ChatCompletionRequest(
        messages=[{"role": "user", "content": content}],
        model="default",
        max_tokens=job["tokens"],
        temperature=0.0,
        ignore_eos=True,
        stream=True,
    )

# /// script
# dependencies = [
#     "onnx==1.23.0",
#     "onnx-ir==1.1.0",
#     "onnxruntime==1.32.0",
#     "onnxruntime-genai==0.18.0",
#     "pillow==13.0.0",
#     "tokenizers==0.23.3",
#     "torch==2.14.1",
#     "transformers==5.23.0",
# ]
# ///
"""onnxruntime-genai in int4: the text decoder only.

Its model builder exports no vision tower of Qwen2.5-VL. So the prompt has as many tokens as with a
film, but none comes from a film, and the tower's time is not in the time to first token.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og
from PIL import Image
from tokenizers import Tokenizer

Job = dict[str, Any]
_PIXELS_PER_TOKEN = 28 * 28


def prepare(job: Job) -> None:
    """Build the decoder, with the settings that are fastest on a CPU."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        command += ["-i", job["checkpoint"], "-o", job["model"], "-p", "int4", "-e", "cpu"]
        command += ["-c", cache, "--extra_options", "accuracy_level=4"]
        subprocess.run(command, check=True)


def load(job: Job) -> _Genai:
    """Load what `prepare` built."""
    return _Genai(Path(job["model"]), Path(job["checkpoint"]))


class _Genai:
    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self._model = og.Model(str(folder))
        self._tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))

    def generate(self, film: str, job: Job, on_token: Callable[[], None]) -> tuple[int, int]:
        prompt = self._encode(film, job)
        tokens = self._run(prompt[None], job, on_token)
        return len(prompt), tokens

    def generate_many(self, films: list[str], job: Job) -> int:
        prompts = np.stack([self._encode(film, job) for film in films])
        return len(films) * self._run(prompts, job, lambda: None)

    def _encode(self, film: str, job: Job) -> Any:
        with Image.open(film) as image:
            num_visual = image.width * image.height // _PIXELS_PER_TOKEN
        pad = "<|image_pad|>"
        text = job["chat"].replace(pad, pad * num_visual)
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)

    def _run(self, prompts: Any, job: Job, on_token: Callable[[], None]) -> int:
        length = prompts.shape[1] + job["tokens"]
        params = og.GeneratorParams(self._model)
        # min_length: no contender ends early.
        params.set_search_options(
            batch_size=len(prompts), do_sample=False, min_length=length, max_length=length
        )
        generator = og.Generator(self._model, params)
        generator.append_tokens(prompts)
        tokens = 0
        while not generator.is_done():
            generator.generate_next_token()
            on_token()
            tokens += 1
        return tokens

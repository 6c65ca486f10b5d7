# /// script
# dependencies = [
#     "openvino-genai==2026.4.1.0",
#     "optimum-intel==2.2.0",
#     "pillow==13.0.0",
#     "torch==2.14.1",
#     "torchvision==0.29.1",
#     "transformers==4.57.6",
# ]
# ///
"""OpenVINO GenAI: exported by optimum-intel with int4 weights, continuous batching.

optimum-intel 2.2 installs transformers 5 as well, but exports this architecture with 4.57 only.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai
from PIL import Image

Job = dict[str, Any]


def prepare(job: Job) -> None:
    """Export with the exporter's defaults for int4."""
    tool = Path(sys.executable).with_name("optimum-cli")
    command = [str(tool), "export", "openvino", "--model", job["checkpoint"]]
    command += ["--task", "image-text-to-text", "--weight-format", "int4", job["model"]]
    subprocess.run(command, check=True)


def load(job: Job) -> _OpenVino:
    """Load the pipeline with a scheduler, which serves one request and many alike."""
    return _OpenVino(Path(job["model"]))


class _OpenVino:
    def __init__(self, folder: Path) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = True
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU")
        self._tokenizer = self._pipeline.get_tokenizer()

    def generate(self, film: str, job: Job, on_token: Callable[[], None]) -> tuple[int, int]:
        results = self._run([film], job, _Streamer(on_token))
        metrics = results[0].perf_metrics
        return metrics.get_num_input_tokens(), metrics.get_num_generated_tokens()

    def generate_many(self, films: list[str], job: Job) -> int:
        # The metrics of each result are those of all of them.
        tokens: int = self._run(films, job, None)[0].perf_metrics.get_num_generated_tokens()
        return tokens

    def _run(self, films: list[str], job: Job, streamer: Any) -> Any:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = job["tokens"]
        config.ignore_eos = True
        config.do_sample = False
        return self._pipeline.generate(
            [job["prompt"]] * len(films),
            images=[[_read(film)] for film in films],
            generation_config=[config] * len(films),
            streamer=streamer,
        )


class _Streamer(openvino_genai.StreamerBase):
    def __init__(self, on_token: Callable[[], None]) -> None:
        super().__init__()
        self._on_token = on_token

    def write(self, token: Any) -> Any:
        for _ in token if isinstance(token, list) else [token]:
            self._on_token()
        return openvino_genai.StreamingStatus.RUNNING

    def end(self) -> None:
        pass


def _read(film: str) -> Any:
    with Image.open(film) as image:
        return ov.Tensor(np.asarray(image.convert("RGB"))[None])

"""This package's engine, with the film cache that the server puts before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.artifact import read_manifest
from cxr_reason.engine.backend import DECODER, VISION
from cxr_reason.engine.base import Generation, GenerationRequest, SamplingParams
from cxr_reason.engine.build import plan_build, run_build
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.onnx.engine import OnnxEngine
from cxr_reason.film.source import hash_film
from cxr_reason.prompts import parse_prompt
from cxr_reason.reader.encoder import FilmEncoder
from cxr_reason.reader.film_cache import DEFAULT_FILM_CACHE_MIB, FilmCache

Job = dict[str, Any]


def prepare(job: Job) -> None:
    """Compile the checkpoint."""
    plan = plan_build(
        Checkpoint(Path(job["checkpoint"])),
        backend="onnx",
        precision=job["options"]["precision"],
        output=Path(job["model"]),
    )
    run_build(plan, lambda step, part: None)


def load(job: Job) -> _CxrEngine:
    """Load the engine with as many slots as requests will come at once."""
    folder = Path(job["model"])
    manifest = read_manifest(folder)
    # No contender ends early: the token that stands for a film is in no text.
    endless = dataclasses.replace(manifest, stop_token_ids=(manifest.image_token_id,))
    slots = max([EngineConfig.max_batch, *job["concurrency"]])
    engine = OnnxEngine(
        folder, endless, EngineConfig(max_batch=slots), parts=frozenset({VISION, DECODER})
    )
    return _CxrEngine(engine)


class _CxrEngine:
    def __init__(self, engine: OnnxEngine) -> None:
        self._engine = engine
        self._encode = FilmEncoder(engine)
        self._films = FilmCache(DEFAULT_FILM_CACHE_MIB * 2**20)
        files = engine.manifest.files.items()
        self.decoder_bytes = sum(r.size_bytes for name, r in files if name.startswith("decoder"))

    def generate(self, film: str, job: Job, on_token: Callable[[], None]) -> tuple[int, int]:
        generation = self._submit(film, job)
        for _ in generation:
            on_token()
        usage = generation.usage()
        return usage.prompt_tokens, usage.completion_tokens

    def generate_many(self, films: list[str], job: Job) -> int:
        # As the server does: films are encoded one after another, while what came before decodes.
        generations = [self._submit(film, job) for film in films]
        return sum(sum(1 for _ in generation) for generation in generations)

    def _submit(self, film: str, job: Job) -> Generation:
        data = Path(film).read_bytes()
        encoded = self._films.get_or_encode(hash_film(data), lambda: self._encode(data))
        sampling = SamplingParams(max_tokens=job["tokens"], temperature=0.0)
        return self._engine.submit(
            GenerationRequest(parse_prompt(job["prompt"]), encoded.visual, sampling)
        )

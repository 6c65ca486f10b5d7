"""`load(engine, film_gate=FILE)`: the flag in the reading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import cxr_reason
from cxr_reason.cli.main import app
from cxr_reason.data.phantoms import make_phantom, phantom_seeds
from cxr_reason.engine.artifact import read_manifest
from cxr_reason.engine.backend import VISION
from cxr_reason.engine.registry import load_engine
from cxr_reason.errors import BadRequestError
from cxr_reason.evaluation.cases import case_of_phantom
from cxr_reason.evaluation.film_gate import encode_films
from cxr_reason.reader.film_gate import NOT_FRONTAL_CHEST, FilmGate, write_film_gate


def make_gate(engine_dir: Path, threshold: float) -> FilmGate:
    manifest = read_manifest(engine_dir)
    hidden = manifest.shape.hidden_size
    return FilmGate(
        mean=np.zeros(hidden),
        directions=np.eye(1, hidden),
        variances=np.ones(1),
        rest_variance=1.0,
        threshold=threshold,
        false_alarm_rate=0.01,
        checkpoint_digest=manifest.checkpoint_digest,
        max_pixels=manifest.max_pixels,
        source="a test",
    )


@pytest.mark.parametrize(("threshold", "is_flagged"), [(1e-9, True), (1e9, False)])
def test_flag_is_in_the_reading(
    engine_dir: Path, rg1_path: Path, tmp_path: Path, threshold: float, is_flagged: bool
) -> None:
    path = tmp_path / "gate.npz"
    write_film_gate(make_gate(engine_dir, threshold), path)
    with cxr_reason.load(engine_dir, film_gate=path) as reader:
        # Twice: the second time the film comes out of the cache.
        for _ in range(2):
            film = reader.read(rg1_path, max_tokens=2).film
            assert film is not None
            assert (NOT_FRONTAL_CHEST in film.flags) == is_flagged


@pytest.mark.parametrize("other", [{"checkpoint_digest": "0" * 64}, {"max_pixels": 28 * 28}])
def test_gate_of_another_engine(engine_dir: Path, tmp_path: Path, other: dict[str, Any]) -> None:
    gate = replace(make_gate(engine_dir, 1.0), **other)
    write_film_gate(gate, tmp_path / "gate.npz")
    with pytest.raises(BadRequestError, match="film gate: made with checkpoint"):
        cxr_reason.load(engine_dir, film_gate=tmp_path / "gate.npz")


def test_flagged_films_are_left_out_of_the_cloud(engine_dir: Path) -> None:
    phantoms = [make_phantom(seed, 256) for seed in phantom_seeds("validation", 2)]
    turned = replace(phantoms[1], pixels=np.ascontiguousarray(np.rot90(phantoms[1].pixels, 2)))
    cases = [case_of_phantom(film) for film in (*phantoms, turned)]
    done: list[tuple[int, int]] = []
    with load_engine(engine_dir, parts={VISION}) as engine:
        pooled = encode_films(engine, cases, lambda *counts: done.append(counts))
    assert pooled.shape == (2, read_manifest(engine_dir).shape.hidden_size)
    assert done == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "x"], "nothing to write"),
        (["--server", "x", "--film-gate", "gate.npz"], "give --engine"),
    ],
)
def test_calibrate_says_what_is_missing(options: list[str], message: str) -> None:
    command = ["calibrate", "--data", "phantoms:validation", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code != 0
    assert message in str(result.exception)

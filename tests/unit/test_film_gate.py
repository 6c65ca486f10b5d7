"""The cloud of frontal films: fitted, written, read, and what lies outside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cxr_reason.errors import BadRequestError, DataError
from cxr_reason.evaluation.film_gate import MIN_FILMS, fit_film_gate
from cxr_reason.reader.film_gate import FilmGate, pool, read_film_gate, write_film_gate

HIDDEN = 32
MANIFEST = SimpleNamespace(checkpoint_digest="d" * 64, max_pixels=50_176)


def draw(count: int, seed: int) -> np.ndarray:
    """Points that spread unequally, around another middle than 0."""
    rng = np.random.default_rng(seed)
    return 5.0 + rng.normal(size=(count, HIDDEN)) * np.linspace(0.1, 2.0, HIDDEN)


@pytest.fixture(scope="module")
def gate() -> FilmGate:
    return fit_film_gate(draw(1_000, 0), MANIFEST, "1000 films of a test")


def test_false_alarms_are_as_stated(gate: FilmGate) -> None:
    share = np.mean(gate.distances(draw(10_000, 1)) > gate.threshold)
    # The threshold rests on ten films of a thousand: a third of the rate is its spread.
    assert 0.004 < share < 0.02


def test_distance_is_that_of_mahalanobis(gate: FilmGate) -> None:
    points = draw(1_000, 0)
    offset = draw(50, 2) - points.mean(0)
    covariance = np.cov(points.T, bias=True)
    expected = (offset @ np.linalg.inv(covariance) * offset).sum(1)
    # Shrinking adds 0.3 % of the mean variance, half of the smallest one.
    assert np.allclose(gate.distances(draw(50, 2)), expected, rtol=0.2)


def test_with_few_films_the_rest_counts_too() -> None:
    points = np.concatenate([draw(MIN_FILMS, 3), np.zeros((MIN_FILMS, 480))], axis=1)
    gate = fit_film_gate(points, MANIFEST, "")
    strange = points[:1].copy()
    strange[:, -1] = 3.0  # where no film spreads
    assert gate.distances(points[:1])[0] < gate.threshold < gate.distances(strange)[0]


def test_tokens_are_pooled(gate: FilmGate) -> None:
    tokens = np.repeat(draw(1, 4), 9, axis=0).astype(np.float32)
    assert np.allclose(pool(tokens), tokens[0])
    assert not gate.is_outside(tokens)
    assert gate.is_outside(tokens + 10.0)
    assert gate.is_outside(np.full_like(tokens, np.nan))


def test_what_is_written_can_be_read(gate: FilmGate, tmp_path: Path) -> None:
    write_film_gate(gate, tmp_path / "gate.npz")
    read = read_film_gate(tmp_path / "gate.npz")
    assert (read.threshold, read.source) == (gate.threshold, gate.source)
    # Arrays are kept in float32.
    assert np.allclose(read.distances(draw(9, 5)), gate.distances(draw(9, 5)), rtol=1e-3)


@pytest.mark.parametrize("other", [{"checkpoint_digest": "e" * 64}, {"max_pixels": 784}])
def test_other_engines_are_refused(gate: FilmGate, other: dict[str, Any]) -> None:
    gate.check_engine(MANIFEST)
    with pytest.raises(BadRequestError, match=r"checkpoint d{12} and 50176 pixels, .*; make one"):
        gate.check_engine(SimpleNamespace(**{**vars(MANIFEST), **other}))


def test_too_few_films() -> None:
    with pytest.raises(DataError, match=f"{MIN_FILMS - 1} usable frontal films"):
        fit_film_gate(draw(MIN_FILMS - 1, 0), MANIFEST, "")


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no archive", b"{}", b"\x93NUMPY", None])
def test_other_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "gate.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadRequestError, match=r"film gate gate\.npz: not a file of"):
        read_film_gate(path)


def test_damaged_gates_are_refused(gate: FilmGate, tmp_path: Path) -> None:
    path = tmp_path / "gate.npz"
    for damaged in (
        replace(gate, variances=-gate.variances),
        replace(gate, mean=gate.mean[1:]),
        replace(gate, mean=gate.mean * np.nan),
        replace(gate, threshold=0.0),
    ):
        write_film_gate(damaged, path)
        with pytest.raises(BadRequestError, match="not a file of"):
            read_film_gate(path)

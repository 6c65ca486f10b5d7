"""Logits → tokens: greedy, softmax frequencies, the exact nucleus, and the seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cxr_reason.engine.base import SamplingParams
from cxr_reason.engine.sampling import _CANDIDATES, Sampler, _find_nucleus
from cxr_reason.errors import BadRequestError

FloatArray = npt.NDArray[np.float64]


class FixedRandom:
    """A generator that always draws the same number."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


def softmax(logits: npt.NDArray[np.float32], temperature: float) -> FloatArray:
    weights = np.exp((logits.astype(np.float64) - float(logits.max())) / temperature)
    return weights / weights.sum()


def smallest_nucleus(weights: FloatArray, top_p: float) -> list[int]:
    """The definition: most likely first, ties by token id, until the mass is reached."""
    nucleus, mass = [], 0.0
    for token in sorted(range(len(weights)), key=lambda token: (-weights[token], token)):
        nucleus.append(token)
        mass += weights[token]
        if mass >= top_p:
            break
    return nucleus


def draw_many(params: SamplingParams, logits: npt.NDArray[np.float32], count: int) -> list[int]:
    sampler = Sampler(params)
    return [sampler.choose(logits) for _ in range(count)]


def test_greedy_takes_the_most_likely_and_the_first_of_equals() -> None:
    logits = np.array([0.5, 3.0, -1.0, 3.0], np.float32)
    assert set(draw_many(SamplingParams(temperature=0.0, top_p=0.1), logits, 5)) == {1}


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.0])
def test_frequencies_are_those_of_softmax(temperature: float) -> None:
    """Bound: Hoeffding, P(|frequency - p| >= e) <= 2 exp(-2 n e^2), a union over 6 tokens.

    With n = 10,000 and a failure once in 10^9 draws of a seed, e = 0.0336. The seed is fixed; a
    sampler that ignores the temperature is off by over 0.1.
    """
    logits = np.array([1.0, 0.0, -1.0, 0.5, 2.0, -4.0], np.float32)
    count, failure = 10_000, 1e-9
    bound = math.sqrt(math.log(2 * len(logits) / failure) / (2 * count))
    tokens = draw_many(SamplingParams(temperature=temperature, seed=7), logits, count)
    frequencies = np.bincount(tokens, minlength=len(logits)) / count
    np.testing.assert_allclose(frequencies, softmax(logits, temperature), atol=bound, rtol=0)


def test_frequencies_inside_the_nucleus_are_renormalized() -> None:
    """Same bound, over the 2 tokens that top_p = 0.7 leaves of 0.5, 0.25, 0.15, 0.1."""
    weights = np.array([0.1, 0.5, 0.15, 0.25])
    count = 10_000
    bound = math.sqrt(math.log(2 * 2 / 1e-9) / (2 * count))
    params = SamplingParams(temperature=1.0, top_p=0.7, seed=3)
    tokens = draw_many(params, np.log(weights).astype(np.float32), count)
    frequencies = np.bincount(tokens, minlength=4) / count
    np.testing.assert_allclose(frequencies, [0, 2 / 3, 0, 1 / 3], atol=bound, rtol=0)
    assert frequencies[0] == frequencies[2] == 0.0


# Powers of two: their sums are exact, so that a mass of exactly top_p is met.
DYADIC = np.array([1 / 16, 1 / 4, 1 / 2, 1 / 16, 1 / 8])


@pytest.mark.parametrize(
    ("top_p", "nucleus"),
    [
        (1e-9, [2]),
        (0.5, [2]),
        (np.nextafter(0.5, 1), [2, 1]),
        (0.75, [2, 1]),
        (0.8, [2, 1, 4]),
        (0.875, [2, 1, 4]),
        (0.9, [2, 1, 4, 0]),
        (0.9375, [2, 1, 4, 0]),
        (0.95, [2, 1, 4, 0, 3]),
    ],
)
def test_nucleus_is_the_smallest_set(top_p: float, nucleus: list[int]) -> None:
    assert _find_nucleus(DYADIC, top_p).tolist() == nucleus == smallest_nucleus(DYADIC, top_p)


def test_top_p_of_one_keeps_every_token() -> None:
    assert sorted(_find_nucleus(DYADIC, 1.0).tolist()) == [0, 1, 2, 3, 4]


def exact_weights(counts: npt.NDArray[np.int64]) -> FloatArray:
    """Weights whose partial sums are exact: whole numbers over a power of two."""
    total = 1 << int(np.ceil(np.log2(counts.sum())))
    counts = counts.copy()
    counts[counts.argmax()] += total - counts.sum()
    return counts / total


def long_tail(vocab: int) -> FloatArray:
    return exact_weights(np.random.default_rng(1).integers(1, 50, vocab))


def tie_across_the_candidates() -> FloatArray:
    """100 likely tokens, then 1,900 equal ones: more than the candidates hold."""
    counts = np.ones(2000, np.int64)
    counts[np.random.default_rng(2).choice(2000, 100, replace=False)] = 20
    return exact_weights(counts)


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param(long_tail(7), id="few"),
        pytest.param(long_tail(_CANDIDATES), id="as-many-as-candidates"),
        pytest.param(long_tail(_CANDIDATES + 1), id="one-more-than-candidates"),
        pytest.param(long_tail(20_000), id="vocabulary"),
        pytest.param(np.full(4096, 1 / 4096), id="uniform"),
        pytest.param(tie_across_the_candidates(), id="tie-across-the-candidates"),
    ],
)
@pytest.mark.parametrize("top_p", [0.001, 0.5, 0.6, 0.9, 0.999])
def test_nucleus_is_exact_at_any_size(weights: FloatArray, top_p: float) -> None:
    assert _find_nucleus(weights, top_p).tolist() == smallest_nucleus(weights, top_p)


def test_some_of_these_nuclei_are_larger_than_the_candidates() -> None:
    assert len(smallest_nucleus(long_tail(20_000), 0.9)) > 5 * _CANDIDATES


def test_same_seed_same_tokens_whatever_runs_beside() -> None:
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 2, (64, 500)).astype(np.float32)
    params = SamplingParams(temperature=1.0, top_p=0.95, seed=11)
    first = Sampler(params)
    alone = [first.choose(logits) for logits in steps]
    again, other = Sampler(params), Sampler(SamplingParams(temperature=1.3, seed=12))
    beside = []
    for logits in steps:
        other.choose(logits[::-1])
        np.random.random()
        beside.append(again.choose(logits))
    assert beside == alone


def test_one_random_number_a_token_whatever_the_nucleus() -> None:
    """After 10 tokens two samplers of one seed agree again, though their settings differ."""
    narrow = Sampler(SamplingParams(temperature=1.0, top_p=0.3, seed=5))
    wide = Sampler(SamplingParams(temperature=2.0, top_p=1.0, seed=5))
    logits = np.linspace(0, 3, 2000, dtype=np.float32)
    for _ in range(10):
        narrow.choose(logits)
        wide.choose(logits)
    assert narrow._random.random() == wide._random.random()


def test_different_seeds_differ() -> None:
    """With 100 equal tokens, two runs of 32 agree once in 10^64."""
    logits = np.zeros(100, np.float32)
    runs = {
        tuple(draw_many(SamplingParams(temperature=1.0, seed=seed), logits, 32))
        for seed in (0, 1, 2, 2**32, 2**63, 2**64 - 1)
    }
    assert len(runs) == 6


def test_logits_are_not_changed() -> None:
    logits = np.arange(5, dtype=np.float32)
    logits.setflags(write=False)
    draw_many(SamplingParams(temperature=0.7, top_p=0.9), logits, 3)


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-45, 1e-3])
def test_least_temperatures_are_nearly_greedy(temperature: float) -> None:
    logits = np.array([900.0, 901.0, -900.0], np.float32)
    assert set(draw_many(SamplingParams(temperature=temperature), logits, 20)) == {1}


def test_masked_tokens_are_never_drawn() -> None:
    logits = np.array([-np.inf, 0.0, -np.inf, 0.0, -np.inf], np.float32)
    for top_p in (0.4, 1.0):
        params = SamplingParams(temperature=2.0, top_p=top_p)
        assert set(draw_many(params, logits, 200)) <= {1, 3}


@pytest.mark.parametrize("number", [0.0, 1.0 - 2.0**-53], ids=["least", "greatest"])
@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_extreme_draws_give_a_possible_token(number: float, top_p: float) -> None:
    """Rounding can bring the draw up to the whole mass; the tail is tokens without any."""
    for size in range(1, 400):
        logits = np.full(size + 3, -np.inf, np.float32)
        logits[2 : size + 2] = np.random.default_rng(size).normal(size=size)
        sampler: Any = Sampler(SamplingParams(temperature=1.0, top_p=top_p))
        sampler._random = FixedRandom(number)
        assert np.isfinite(logits[sampler.choose(logits)])


@pytest.mark.parametrize(
    "settings",
    [
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": math.nan},
        {"seed": -1},
        {"seed": 2**64},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match=next(iter(settings))):
        SamplingParams(**settings)

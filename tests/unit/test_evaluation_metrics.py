"""Metrics beside scikit-learn, and beside numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from cxr_reason.evaluation.backends import Output
from cxr_reason.evaluation.bootstrap import draw_weights, estimate, mean_defined
from cxr_reason.evaluation.metrics import (
    NUM_BINS,
    Sample,
    calibration_error,
    label_auroc,
    label_rates,
    macro_f1,
    make_sample,
    reliability,
)
from cxr_reason.evaluation.scores import score_film
from cxr_reason.findings import LABELS
from cxr_reason.reading.trace import Outcome

ONCE = np.ones((1, 40))


@pytest.fixture
def sample() -> Sample:
    """Forty films: some labels unknown, many ties, two labels with one class."""
    rng = np.random.default_rng(3)
    is_known = rng.random((40, 14)) < 0.7
    is_present = is_known & (rng.random((40, 14)) < 0.3)
    is_present[:, 2] = False
    is_known[:, 5] = is_present[:, 5]
    return Sample(
        is_known, is_present, rng.random((40, 14)) < 0.4, rng.integers(0, 5, (40, 14)) / 4.0
    )


def columns(sample: Sample, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    known = sample.is_known[:, label]
    parts = (sample.is_present, sample.answered, sample.probability)
    return tuple(part[known, label] for part in parts)


def test_rates_are_those_of_scikit_learn(sample: Sample) -> None:
    rates = label_rates(sample, ONCE)
    checked = 0
    for label in range(14):
        present, answered, _ = columns(sample, label)
        if not present.any():
            assert math.isnan(rates.f1[0, label])
            continue
        checked += 1
        for mine, theirs in ((rates.f1, f1_score), (rates.recall, recall_score)):
            assert mine[0, label] == pytest.approx(theirs(present, answered))
        if answered.any():
            precision = precision_score(present, answered)
            assert rates.precision[0, label] == pytest.approx(precision)
    assert checked == 13
    assert macro_f1(sample, ONCE)[0] == pytest.approx(np.nanmean(rates.f1[0]))


@pytest.mark.parametrize("seed", [0, 1])
def test_auroc_is_that_of_scikit_learn_on_every_resample(sample: Sample, seed: int) -> None:
    weights = draw_weights(40, seed=seed, resamples=20)
    mine = label_auroc(sample, weights)
    for label in range(14):
        present, _, probability = columns(sample, label)
        for row, drawn in enumerate(weights[:, sample.is_known[:, label]]):
            if len(np.unique(present[drawn > 0])) < 2:
                assert math.isnan(mine[row, label])
            else:
                theirs = roc_auc_score(present, probability, sample_weight=drawn)
                assert mine[row, label] == pytest.approx(theirs)
    assert math.isnan(mine[0, 2])
    assert math.isnan(mine[0, 5])


def test_a_resample_is_the_sample_of_its_films(sample: Sample) -> None:
    weights = draw_weights(40, seed=0, resamples=5)
    assert (weights.sum(axis=1) == 40).all()
    for metric in (macro_f1, calibration_error):
        resampled = metric(sample, weights)
        for row in range(1, 6):
            films = np.repeat(np.arange(40), weights[row].astype(int))
            assert resampled[row] == pytest.approx(metric(sample.select(films), ONCE)[0])


def test_calibration_error_by_hand() -> None:
    # Two levels: of four labels at 1.0 three are present, of four at 0.5 one: (4/8) 0.25 twice.
    probability = np.array([[1.0] * 4 + [0.5] * 4 + [0.0] * 6])
    is_known = np.array([[True] * 8 + [False] * 6])
    is_present = np.array([[True, True, True, False, True] + [False] * 9])
    sample = Sample(is_known, is_present, is_present, probability)
    assert calibration_error(sample, np.ones((1, 1)))[0] == pytest.approx(0.25)
    diagram = reliability(sample)
    filled = diagram.count > 0
    assert diagram.count[filled].tolist() == [4, 4]
    assert diagram.share[filled].tolist() == [0.25, 0.75]


def test_levels_of_up_to_seven_traces_have_their_own_bins() -> None:
    levels = np.arange(15) / 14.0
    bins = np.minimum((levels * NUM_BINS).astype(int), NUM_BINS - 1)
    assert len(set(bins)) == 15


def test_unknown_and_uncertain_labels_are_left_out() -> None:
    output = Output("<think> Fine. </think>\n<answer> Edema </answer>", False, 9)
    truths = [{"Edema": "present"}, {"Edema": "uncertain"}, {}]
    sample = make_sample(truths, [score_film([output])] * 3)
    edema = LABELS.index("Edema")
    assert sample.is_known[:, edema].tolist() == [True, False, False]
    rates = label_rates(sample, np.ones((1, 3)))
    assert rates.precision[0, edema] == 1.0
    assert rates.f1[0, edema] == 1.0


def test_interval_of_a_share_is_the_binomial_one() -> None:
    values = np.zeros(400)
    values[:100] = 1.0
    weights = draw_weights(400, seed=0, resamples=4_000)
    found = estimate(weights @ values / 400)
    # Normal approximation: 0.25 ± 1.96 sqrt(0.25 · 0.75 / 400); 4,000 resamples place an end
    # within about 0.002.
    assert found.value == 0.25
    assert found.low == pytest.approx(0.25 - 0.0424, abs=0.006)
    assert found.high == pytest.approx(0.25 + 0.0424, abs=0.006)


def test_what_is_undefined_stays_out_of_means_and_intervals() -> None:
    assert mean_defined(np.array([[1.0, np.nan, 3.0]]))[0] == 2.0
    assert math.isnan(mean_defined(np.array([[np.nan]]))[0])
    assert estimate(np.array([np.nan, 1.0])).value is None
    assert estimate(np.array([1.0, np.nan])).low is None
    assert estimate(np.array([1.0, np.nan, 0.5, 0.5])).low == 0.5


THINK = "<think> There may be a small pleural effusion. The heart is enlarged. </think>\n"


def test_probability_counts_the_answer_then_doubt() -> None:
    def look(*answers: str) -> dict[str, float]:
        outputs = [Output(f"{THINK}<answer> {a} </answer>", False, 10) for a in answers]
        return dict(zip(LABELS, score_film(outputs).probability.tolist(), strict=True))

    alone = look("Edema")
    assert (alone["Edema"], alone["Pleural Effusion"], alone["Fracture"]) == (1.0, 0.5, 0.0)
    # The first trace is the greedy one: where there are others, it gives answers only.
    several = look("Fracture", "Edema", "Pleural Effusion")
    assert (several["Fracture"], several["Edema"], several["Pleural Effusion"]) == (0.0, 0.5, 0.75)


def test_form_and_consistency_are_of_the_greedy_trace() -> None:
    good = Output(f"{THINK}<answer> Cardiomegaly </answer>", False, 30)
    cut = Output("<think> The", True, 10)
    score = score_film([good, cut])
    assert score.outcome is Outcome.COMPLETE
    assert score.num_contradictions == 0
    assert score.num_tokens == 20
    cut_score = score_film([cut])
    assert cut_score.outcome is Outcome.TRUNCATED
    assert cut_score.num_contradictions is None
    assert cut_score.consistency == 0.0
    wrong = replace(good, text=f"{THINK}<answer> Fracture </answer>")
    assert score_film([wrong]).num_contradictions == 1

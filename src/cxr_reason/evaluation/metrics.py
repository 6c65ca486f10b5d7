"""F1, AUROC and calibration error, for all resamples of a bootstrap at once.

Only what the source states counts: a label that is unknown or uncertain on a film is left out of
that label's metrics. Every function takes weights `[resamples, films]` (`bootstrap.draw_weights`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_reason.evaluation.bootstrap import Floats, divide, mean_defined
from cxr_reason.evaluation.scores import FilmScores
from cxr_reason.findings import LABELS
from cxr_reason.statements import Polarity

# Support comes in halves, so up to 7 traces every level of the mean has a bin of its own.
NUM_BINS = 15


@dataclass(frozen=True, eq=False)
class Sample:
    """Films with what is true and what was read; columns in the order of `findings.LABELS`.

    Attributes:
        is_known: bool `[n, 14]`: the source states the label as present or absent.
        is_present: bool `[n, 14]`.
        answered: bool `[n, 14]`.
        probability: float64 `[n, 14]`.
    """

    is_known: NDArray[np.bool_]
    is_present: NDArray[np.bool_]
    answered: NDArray[np.bool_]
    probability: Floats

    def __len__(self) -> int:
        return len(self.is_known)

    def select(self, chosen: NDArray[np.bool_]) -> Sample:
        """Return the films where `chosen` `[n]` holds."""
        return Sample(
            self.is_known[chosen],
            self.is_present[chosen],
            self.answered[chosen],
            self.probability[chosen],
        )


def make_sample(truths: Sequence[Mapping[str, Polarity]], scores: Sequence[FilmScores]) -> Sample:
    """Put the states of labels and the readings of the same films together."""
    states = [[truth.get(label) for label in LABELS] for truth in truths]
    known = [[state in ("present", "absent") for state in row] for row in states]
    present = [[state == "present" for state in row] for row in states]
    shape = (len(truths), len(LABELS))
    return Sample(
        is_known=np.array(known, bool).reshape(shape),
        is_present=np.array(present, bool).reshape(shape),
        answered=np.array([score.answered for score in scores], bool).reshape(shape),
        probability=np.array([score.probability for score in scores], float).reshape(shape),
    )


@dataclass(frozen=True, eq=False)
class Rates:
    """Rates by label, float64 `[resamples, 14]`; NaN where a resample does not define one.

    Attributes:
        f1: 2 TP / (2 TP + FP + FN), where the resample has a positive film.
        precision: TP / (TP + FP).
        recall: TP / (TP + FN).
    """

    f1: Floats
    precision: Floats
    recall: Floats


def label_rates(sample: Sample, weights: Floats) -> Rates:
    """Return the rates of the greedy answers."""
    hits = weights @ (sample.is_present & sample.answered)
    answered = weights @ (sample.is_known & sample.answered)
    present = weights @ sample.is_present.astype(float)
    f1 = divide(2.0 * hits, answered + present)
    return Rates(
        f1=np.where(present > 0, f1, np.nan),
        precision=divide(hits, answered),
        recall=divide(hits, present),
    )


def macro_f1(sample: Sample, weights: Floats) -> Floats:
    """Return `[resamples]`: the mean F1 over the labels with a positive film."""
    return mean_defined(label_rates(sample, weights).f1)


def label_auroc(sample: Sample, weights: Floats) -> Floats:
    """Return the area under the ROC curve by label, `[resamples, 14]`; NaN with one class only.

    The chance that a positive film has the higher probability than a negative one, ties counted
    half (Hanley and McNeil, Radiology 1982).
    """
    columns = [_auroc(sample, weights, index) for index in range(len(LABELS))]
    return np.stack(columns, axis=1)


def _auroc(sample: Sample, weights: Floats, label: int) -> Floats:
    known = np.flatnonzero(sample.is_known[:, label])
    if not len(known):
        return np.full(len(weights), np.nan)
    probability = sample.probability[known, label]
    order = known[np.argsort(probability, kind="stable")]
    _, starts = np.unique(np.sort(probability), return_index=True)
    is_present = sample.is_present[order, label]
    drawn = weights[:, order]
    # By level of probability, from the lowest.
    positives = np.add.reduceat(drawn * is_present, starts, axis=1)
    negatives = np.add.reduceat(drawn * ~is_present, starts, axis=1)
    below = negatives.cumsum(axis=1) - negatives
    wins = (positives * (below + 0.5 * negatives)).sum(axis=1)
    return divide(wins, positives.sum(axis=1) * negatives.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram over all labels; `[bins]`, NaN where a bin is empty.

    Attributes:
        probability: Mean probability of a bin.
        share: Share of it that is present.
        count: Labels of films in it.
    """

    probability: Floats
    share: Floats
    count: Floats


def reliability(sample: Sample) -> Reliability:
    """Return the diagram behind `calibration_error`."""
    count, probability, present = (part.sum(axis=0) for part in _bin(sample))
    return Reliability(divide(probability, count), divide(present, count), count)


def calibration_error(sample: Sample, weights: Floats) -> Floats:
    """Return the expected calibration error, `[resamples]`, over all known labels of all films.

    The mean over `NUM_BINS` bins of equal width, weighted by what is in them, of the distance
    between mean probability and share present (Naeini et al., AAAI 2015; Guo et al., ICML 2017).
    """
    count, probability, present = (weights @ part for part in _bin(sample))
    return divide(np.abs(probability - present).sum(axis=1), count.sum(axis=1))


def _bin(sample: Sample) -> tuple[Floats, Floats, Floats]:
    """Return count, sum of probabilities and number present by film and bin, each `[n, bins]`."""
    bins = np.minimum((sample.probability * NUM_BINS).astype(int), NUM_BINS - 1)
    is_in = (bins[:, :, None] == np.arange(NUM_BINS)) & sample.is_known[:, :, None]
    return (
        is_in.sum(axis=1, dtype=float),
        (is_in * sample.probability[:, :, None]).sum(axis=1),
        (is_in & sample.is_present[:, :, None]).sum(axis=1, dtype=float),
    )

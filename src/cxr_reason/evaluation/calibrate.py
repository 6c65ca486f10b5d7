"""Films with known labels → the thresholds by which a server names a finding's state."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_reason.errors import DataError
from cxr_reason.evaluation.bootstrap import Floats
from cxr_reason.evaluation.metrics import Sample
from cxr_reason.findings import LABELS
from cxr_reason.reading.consensus import Calibration, Threshold

SENSITIVITY = 0.95  # of what is not called absent
MIN_FILMS = 10  # of each class; with fewer a threshold would be chance


def calibrate(sample: Sample, source: str) -> Calibration:
    """Choose each label's thresholds.

    The threshold for present is the probability that gives the best F1; that for uncertain is the
    one that `SENSITIVITY` of the films with the finding reach. Thresholds lie halfway between two
    probabilities that occur. A label with under `MIN_FILMS` of either class keeps the default.

    Args:
        sample: Read with several traces, and none of it a test set.
        source: Description of the sample, shown in every reading.
    """
    thresholds = {}
    for index, label in enumerate(LABELS):
        known = sample.is_known[:, index]
        truth = sample.is_present[known, index]
        probability = sample.probability[known, index]
        if min(truth.sum(), (~truth).sum()) >= MIN_FILMS:
            thresholds[label] = _choose(truth, probability)
    return Calibration(thresholds, source)


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a file for `consensus.read_calibration`.

    Raises:
        DataError: The file cannot be written.
    """
    thresholds = {label: asdict(value) for label, value in calibration.thresholds.items()}
    text = json.dumps({"source": calibration.source, "thresholds": thresholds}, indent=2)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"calibration {path.name}: cannot be written ({error.strerror})") from error


def _choose(truth: NDArray[np.bool_], probability: Floats) -> Threshold:
    levels = np.unique(np.concatenate([[0.0], probability]))
    candidates = (levels[1:] + levels[:-1]) / 2.0
    if not len(candidates):  # no trace mentions it
        return Threshold()
    called = probability >= candidates[:, None]  # [candidates, films]
    hits = (called & truth).sum(axis=1)
    f1 = 2.0 * hits / (called.sum(axis=1) + truth.sum())
    present = candidates[len(f1) - 1 - int(f1[::-1].argmax())]  # of equal ones, the strictest
    sensitive = candidates[hits >= SENSITIVITY * truth.sum()]
    uncertain = sensitive[-1] if len(sensitive) else candidates[0]
    return Threshold(round(float(present), 4), round(float(min(uncertain, present)), 4))

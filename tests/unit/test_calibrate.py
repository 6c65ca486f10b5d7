"""Thresholds from films with known labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxr_reason.errors import DataError
from cxr_reason.evaluation.calibrate import calibrate, write_calibration
from cxr_reason.evaluation.metrics import Sample
from cxr_reason.findings import LABELS
from cxr_reason.reading.consensus import UNCALIBRATED, Calibration, Threshold, read_calibration

EDEMA = LABELS.index("Edema")


def sample_of(truth: np.ndarray, probability: np.ndarray) -> Sample:
    """Films of which only Edema is known."""
    shape = (len(truth), len(LABELS))
    known, present = np.zeros(shape, bool), np.zeros(shape, bool)
    values = np.zeros(shape)
    known[:, EDEMA], present[:, EDEMA], values[:, EDEMA] = True, truth, probability
    return Sample(known, present, values > 0.5, values)


def test_thresholds_follow_from_f1_and_sensitivity() -> None:
    # 20 films without, at 0; 20 with: one at 0.1, three at 0.3, sixteen at 0.9. Four false at 0.3.
    truth = np.array([False] * 24 + [True] * 20)
    probability = np.array([0.0] * 20 + [0.3] * 4 + [0.1] + [0.3] * 3 + [0.9] * 16)
    calibration = calibrate(sample_of(truth, probability), "44 films")
    # F1: from 0.05 on 40/44, from 0.2 on 38/43, from 0.6 on 32/36. 19 of 20 lie over 0.2.
    assert calibration == Calibration({"Edema": Threshold(0.05, 0.05)}, "44 films")
    truth[:24], probability[24] = False, 0.9
    probability[20:24] = 0.1
    calibration = calibrate(sample_of(truth, probability), "44 films")
    assert calibration.thresholds["Edema"] == Threshold(0.2, 0.2)


def test_what_separates_worse_is_uncertain_in_between() -> None:
    truth = np.array([False] * 40 + [True] * 20)
    probability = np.array([0.1] * 30 + [0.4] * 10 + [0.4] * 3 + [0.8] * 17)
    threshold = calibrate(sample_of(truth, probability), "").thresholds["Edema"]
    assert threshold == Threshold(present=0.6, uncertain=0.25)


def test_a_rare_label_keeps_the_default() -> None:
    truth = np.array([False] * 40 + [True] * 9)
    assert calibrate(sample_of(truth, truth * 1.0), "").thresholds == {}


def test_a_label_that_no_trace_names_keeps_the_default() -> None:
    truth = np.array([False] * 40 + [True] * 20)
    assert calibrate(sample_of(truth, truth * 0.0), "").thresholds["Edema"] == Threshold()


def test_a_server_reads_what_was_written(tmp_path: Path) -> None:
    calibration = Calibration({"Edema": Threshold(0.6, 0.25)}, "60 films")
    write_calibration(calibration, tmp_path / "calibration.json")
    assert read_calibration(tmp_path / "calibration.json") == calibration
    with pytest.raises(DataError, match="cannot be written"):
        write_calibration(UNCALIBRATED, tmp_path / "none" / "calibration.json")

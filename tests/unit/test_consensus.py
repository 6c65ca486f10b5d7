"""Several traces of one film: shares of traces become probabilities, and these become states."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxr_reason.errors import BadRequestError
from cxr_reason.reading.consensus import (
    UNCALIBRATED,
    Calibration,
    Threshold,
    audit_traces,
    read_calibration,
    support_of,
)
from cxr_reason.reading.trace import Trace, parse_trace


def trace(reasoning: str, answer: str) -> Trace:
    text = f"<think> {reasoning} </think>\n<answer> {answer} </answer>"
    return parse_trace(text, truncated=False)


EDEMA = trace("There is pulmonary edema.", "Edema")
DOUBTFUL = trace("Possible pulmonary edema.", "No Finding")
CLEAR = trace("No pulmonary edema. No pneumothorax.", "No Finding")


def test_a_trace_supports_what_it_answers_and_half_of_what_it_suspects() -> None:
    assert support_of(EDEMA) == {"Edema": 1.0}
    assert support_of(DOUBTFUL) == {"Edema": 0.5, "No Finding": 1.0}
    assert support_of(CLEAR) == {"No Finding": 1.0}


def test_one_trace_has_no_probability() -> None:
    findings, _ = audit_traces([EDEMA], UNCALIBRATED)
    assert [(finding.label, finding.probability) for finding in findings] == [("Edema", None)]


@pytest.mark.parametrize(
    ("traces", "probability", "status"),
    [
        ([EDEMA, EDEMA, CLEAR], 2 / 3, "present"),
        ([CLEAR, EDEMA, CLEAR], 1 / 3, "uncertain"),
        ([CLEAR, DOUBTFUL, CLEAR, CLEAR], 0.125, "absent"),
        ([CLEAR, EDEMA], 0.5, "present"),
    ],
)
def test_probability_is_the_share_of_the_traces(
    traces: list[Trace], probability: float, status: str
) -> None:
    findings = {finding.label: finding for finding in audit_traces(traces, UNCALIBRATED)[0]}
    assert findings["Edema"].probability == pytest.approx(probability)
    assert findings["Edema"].status == status


def test_evidence_is_that_of_the_first_trace() -> None:
    findings = {finding.label: finding for finding in audit_traces([CLEAR, EDEMA], UNCALIBRATED)[0]}
    (quote,) = findings["Edema"].evidence
    assert CLEAR.reasoning[quote.start : quote.end].startswith("No pulmonary edema")
    assert not findings["Edema"].in_answer
    assert findings["Pneumothorax"].probability == 0.0
    # What only another trace names has nothing to show in this one.
    (edema,) = [
        f
        for f in audit_traces([trace("Fine.", "No Finding"), EDEMA], UNCALIBRATED)[0]
        if f.label == "Edema"
    ]
    assert edema.evidence == ()


def test_a_calibration_sets_the_thresholds_of_a_label(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    fields = {"source": "100 films", "thresholds": {"Edema": {"present": 0.9, "uncertain": 0.7}}}
    path.write_text(json.dumps(fields))
    calibration = read_calibration(path)
    assert calibration == Calibration({"Edema": Threshold(0.9, 0.7)}, "100 films")
    findings = {finding.label: finding for finding in audit_traces([EDEMA, CLEAR], calibration)[0]}
    assert findings["Edema"].status == "absent"
    assert findings["No Finding"].status == "present"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"source": "a"}',
        '{"source": "a", "thresholds": {"Gout": {"present": 0.5, "uncertain": 0.2}}}',
        '{"source": "a", "thresholds": {"Edema": {"present": 0.2, "uncertain": 0.5}}}',
        '{"source": "a", "thresholds": {"Edema": {"present": 1.5, "uncertain": 0.5}}}',
        '{"source": "a", "thresholds": {"Edema": {"present": "x", "uncertain": 0.5}}}',
        '{"source": "a", "thresholds": {"Edema": {"present": 0.5}, "Edema": {"often": 0.5}}}',
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(BadRequestError, match=r"calibration|threshold"):
        read_calibration(path)
    with pytest.raises(BadRequestError, match="calibration"):
        read_calibration(tmp_path / "none.json")

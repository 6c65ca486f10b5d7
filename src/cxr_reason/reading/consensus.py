"""Several sampled traces of one film → findings with probabilities.

The share of traces that state a finding is the uncertainty that this project reports: a model that
answers differently when it is asked again is uncertain. Self-consistency: Wang et al. 2022, arXiv
2203.11171.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxr_reason.errors import BadRequestError
from cxr_reason.findings import LABELS
from cxr_reason.reading.audit import Contradiction, Finding, audit_trace
from cxr_reason.reading.trace import Trace
from cxr_reason.statements import Polarity

_UNCERTAIN_SUPPORT = 0.5


@dataclass(frozen=True)
class Threshold:
    """The lowest probability for each state of a label.

    Attributes:
        present: From here on the label is present.
        uncertain: From here on the label is uncertain; below, absent.

    Raises:
        BadRequestError: Not 0 < uncertain <= present <= 1.
    """

    present: float = 0.5
    uncertain: float = 0.2

    def __post_init__(self) -> None:
        values = (self.present, self.uncertain)
        if not all(isinstance(value, int | float) for value in values) or not (
            0.0 < self.uncertain <= self.present <= 1.0
        ):
            raise BadRequestError(
                f"threshold: present {self.present!r}, uncertain {self.uncertain!r}; give numbers "
                "with 0 < uncertain <= present <= 1"
            )


@dataclass(frozen=True)
class Calibration:
    """Thresholds for each label; where a label has none, the default.

    Attributes:
        thresholds: Label to threshold.
        source: The data that they were set on; shown in every reading.
    """

    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    source: str = "default thresholds, not calibrated"

    def state_of(self, label: str, probability: float) -> Polarity:
        """Return the state of a label that has this probability."""
        threshold = self.thresholds.get(label, Threshold())
        if probability >= threshold.present:
            return "present"
        return "uncertain" if probability >= threshold.uncertain else "absent"


UNCALIBRATED = Calibration()


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    It is JSON: `{"source": "…", "thresholds": {"Edema": {"present": 0.6, "uncertain": 0.3}}}`;
    `cxr-reason calibrate --output FILE` writes one.

    Raises:
        BadRequestError: Unreadable, unknown labels, or thresholds outside their range.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        given = {str(label): Threshold(**values) for label, values in fields["thresholds"].items()}
        source = str(fields["source"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequestError(
            f"calibration {path.name}: not a JSON object with `source` and, for each label, "
            "`thresholds` of `present` and `uncertain`"
        ) from error
    if unknown := sorted(set(given) - set(LABELS)):
        raise BadRequestError(
            f"calibration {path.name}: unknown label {unknown[0]!r}; allowed: {', '.join(LABELS)}"
        )
    return Calibration(given, source)


def audit_traces(
    traces: Sequence[Trace], calibration: Calibration
) -> tuple[tuple[Finding, ...], tuple[Contradiction, ...]]:
    """Audit the first trace, and combine its findings with those of the others.

    Args:
        traces: At least one. The first is the one that is shown: evidence points into it.
        calibration: Thresholds for the states.

    Returns:
        As `audit.audit_trace`. With several traces, every label that any of them supports, with its
        probability and the state that follows.
    """
    findings, contradictions = audit_trace(traces[0])
    if len(traces) == 1:
        return findings, contradictions
    shown = {finding.label: finding for finding in findings}
    supports = [support_of(trace) for trace in traces]
    combined = []
    for label in LABELS:
        probability = sum(support.get(label, 0.0) for support in supports) / len(supports)
        if label in shown or probability > 0.0:
            finding = shown.get(label, Finding(label, "absent", False, ()))
            state = calibration.state_of(label, probability)
            combined.append(replace(finding, status=state, probability=probability))
    return tuple(combined), contradictions


def support_of(trace: Trace) -> dict[str, float]:
    """Return how strongly a trace supports each label that it does not deny.

    1 where the answer names it; else 0.5 where the reasoning states it as uncertain.
    """
    findings, _ = audit_trace(trace)
    uncertain = {
        finding.label: _UNCERTAIN_SUPPORT for finding in findings if finding.status == "uncertain"
    }
    return uncertain | dict.fromkeys(trace.labels, 1.0)

"""Outputs of one film → what the metrics need: answered labels, probabilities, form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_reason.evaluation.backends import Output
from cxr_reason.findings import LABELS
from cxr_reason.reading.audit import audit_trace
from cxr_reason.reading.consensus import support_of
from cxr_reason.reading.trace import Outcome, Trace, parse_trace
from cxr_reason.training.rewards import consistency_reward


@dataclass(frozen=True, eq=False)
class FilmScores:
    """One film as it was read.

    Attributes:
        answered: bool `[14]` in the order of `findings.LABELS`: the greedy answer names the label.
        probability: float64 `[14]`: see `label_probability`.
        outcome: How the greedy trace ended.
        num_contradictions: Of the greedy trace; None where it has no labels in its answer.
        consistency: `rewards.consistency_reward` of the greedy trace.
        num_tokens: Mean over the traces.
    """

    answered: NDArray[np.bool_]
    probability: NDArray[np.float64]
    outcome: Outcome
    num_contradictions: int | None
    consistency: float
    num_tokens: float


def score_film(outputs: Sequence[Output]) -> FilmScores:
    """Score the outputs of a film.

    Args:
        outputs: The greedy trace, then the sampled ones. Without sampled ones the probabilities
            are the greedy trace's.
    """
    traces = [parse_trace(output.text, truncated=output.truncated) for output in outputs]
    greedy = traces[0]
    _, contradictions = audit_trace(greedy)
    return FilmScores(
        answered=np.array([label in greedy.labels for label in LABELS]),
        probability=label_probability(traces[1:] or traces),
        outcome=greedy.outcome,
        num_contradictions=len(contradictions) if greedy.labels else None,
        consistency=consistency_reward(greedy.text),
        num_tokens=sum(output.num_tokens for output in outputs) / len(outputs),
    )


def label_probability(traces: Sequence[Trace]) -> NDArray[np.float64]:
    """Return the mean over traces of the support that each gives a label, float64 `[14]`.

    See `consensus.support_of`.
    """
    supports = [support_of(trace) for trace in traces]
    return np.mean([[each.get(label, 0.0) for label in LABELS] for each in supports], axis=0)

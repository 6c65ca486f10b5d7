"""A trace and its answer → findings with their evidence, and what contradicts what.

This is what makes a reading auditable: each label of the answer is traced back to the sentences of
the reasoning that mention it, so a label without support, or a statement without a label, is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cxr_reason.findings import LABELS, NO_FINDING, labels_above
from cxr_reason.reading.projection import find_other_projection
from cxr_reason.reading.trace import Trace
from cxr_reason.statements import TO_CHEXPERT, Polarity, Statement, collect_labels, find_statements

ContradictionKind = Literal["absent_in_reasoning", "not_in_answer", "view"]


@dataclass(frozen=True)
class Evidence:
    """One sentence of the reasoning that mentions a finding.

    Attributes:
        polarity: What it says: present, uncertain or absent.
        side: "left", "right" or "bilateral", as seen from the patient, or None.
        region: Region as the sentence names it, or None.
        start: First character of the sentence in the reading's `reasoning`.
        end: Index just after its last character.
    """

    polarity: Polarity
    side: str | None
    region: str | None
    start: int
    end: int


@dataclass(frozen=True)
class Finding:
    """One of the fourteen labels that the output mentions.

    Attributes:
        label: A name of `findings.LABELS`.
        status: "present" if the answer names it; else the strongest statement of the reasoning.
            With several traces, it follows from the probability (`consensus.Calibration`).
        in_answer: The answer names it.
        evidence: Sentences of the reasoning, in their order.
        probability: Share of the sampled traces that state it; None with one trace.
    """

    label: str
    status: Polarity
    in_answer: bool
    evidence: tuple[Evidence, ...]
    probability: float | None = None


@dataclass(frozen=True)
class Contradiction:
    """A label on which answer and reasoning differ, or what the reasoning says against the file.

    Attributes:
        label: A name of `findings.LABELS`; empty where the kind is about no label.
        kind: "absent_in_reasoning": the answer names what the reasoning only ever denies.
            "not_in_answer": the reasoning states what the answer leaves out. "view": the reasoning
            names another projection (AP or PA) than the header of the file, `film.view`.
        start: First character in the reading's `reasoning` of the sentence that contradicts, for
            the kind "view"; else None: the sentences are the evidence of the label's finding.
        end: Index just after its last character, or None.
    """

    label: str
    kind: ContradictionKind
    start: int | None = None
    end: int | None = None


def audit_trace(trace: Trace) -> tuple[tuple[Finding, ...], tuple[Contradiction, ...]]:
    """Trace the answer back to the reasoning.

    Returns:
        Every label that the answer or the reasoning mentions, and the labels on which the two
        differ (none where there is no answer); both in the order of `LABELS`.
    """
    statements = find_statements(trace.reasoning)
    stated = collect_stated(statements)
    findings = tuple(
        Finding(
            label=label,
            status="present" if label in trace.labels else stated[label],
            in_answer=label in trace.labels,
            evidence=find_evidence(statements, label),
        )
        for label in LABELS
        if label in trace.labels or label in stated
    )
    compared = [(label, _compare(label, stated.get(label), trace.labels)) for label in LABELS]
    contradictions = tuple(Contradiction(label, kind) for label, kind in compared if kind)
    return findings, contradictions if trace.labels else ()


def compare_view(reasoning: str, view: str | None) -> tuple[Contradiction, ...]:
    """Compare the projection that a reasoning names with the film's own.

    Args:
        reasoning: Text of the thinking.
        view: `FilmInfo.view`. Where the header does not say, nothing contradicts it.

    Returns:
        One contradiction, at the first sentence that names the other projection, or none.
    """
    named = find_other_projection(reasoning, view)
    return (Contradiction("", "view", named.start, named.end),) if named else ()


def collect_stated(statements: Sequence[Statement]) -> dict[str, Polarity]:
    """Return the labels that statements are about, each with its strongest polarity."""
    stated = collect_labels(statements, "chexpert")
    # No Finding that only follows from other labels is not a statement of the model.
    stated.pop(NO_FINDING, None)
    return stated


def find_evidence(statements: Sequence[Statement], label: str) -> tuple[Evidence, ...]:
    """Return the sentences of the statements about a label, in their order."""
    return tuple(
        Evidence(
            polarity=statement.polarity,
            side=statement.side,
            region=statement.region,
            start=statement.sentence_start,
            end=statement.sentence_end,
        )
        for statement in statements
        if TO_CHEXPERT.get(statement.finding) == label
    )


def _compare(
    label: str, stated: Polarity | None, answer: tuple[str, ...]
) -> ContradictionKind | None:
    if label in answer:
        return "absent_in_reasoning" if stated == "absent" else None
    # An answer that names a child need not repeat its parent.
    is_covered = any(label in labels_above(named) for named in answer)
    return "not_in_answer" if stated == "present" and not is_covered else None

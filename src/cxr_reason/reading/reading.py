"""`Reading`: one film read once, with everything needed to audit it. To and from JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cxr_reason.errors import BadRequestError
from cxr_reason.film.info import FilmInfo
from cxr_reason.reading.audit import Contradiction, Evidence, Finding, compare_view
from cxr_reason.reading.consensus import UNCALIBRATED, Calibration, audit_traces
from cxr_reason.reading.sections import (
    Alternatives,
    ReasoningSection,
    find_alternatives,
    split_reasoning,
)
from cxr_reason.reading.trace import Ending, Trace
from cxr_reason.usage import Usage

SCHEMA = "cxr-reason/reading/5"
DISCLAIMER = "Research use only. Not a medical device; not for diagnosis."


@dataclass(frozen=True)
class Provenance:
    """How the reading was made, so that it can be repeated.

    Attributes:
        software_version: Version of cxr-reason.
        backend: Engine backend.
        precision: Precision of the decoder's weights.
        engine_digest: SHA-256 of the engine's manifest.
        checkpoint_digest: SHA-256 over the checkpoint's files.
        model_notice: Notice of the checkpoint to its users, e.g. that it is untrained.
        max_tokens: Limit of generated tokens.
        temperature: 0 is greedy.
        top_p: Nucleus probability.
        seed: Seed of the sampling; trace k, counted from 0, has the seed `seed + k`.
        num_traces: Sampled traces of the film.
        answer_format: What the answer was constrained to: "", "labels" or a JSON schema.
        calibration: Where the thresholds of the findings' states come from.
    """

    software_version: str
    backend: str
    precision: str
    engine_digest: str
    checkpoint_digest: str
    model_notice: str
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    num_traces: int
    answer_format: str
    calibration: str


@dataclass(frozen=True)
class TraceRecord:
    """One output of the model, and how it ended.

    Attributes:
        text: The output as generated.
        finish_reason: "length" if the token limit ended it, else "stop".
        outcome: A value of `trace.Outcome`.
    """

    text: str
    finish_reason: Ending
    outcome: str


@dataclass(frozen=True)
class Reading:
    """One film read once.

    Attributes:
        outcome: How the output ended: a value of `trace.Outcome`.
        issues: Values of `trace.Issue`.
        findings: Labels that the answer or the reasoning mentions, with their evidence.
        contradictions: Labels on which answer and reasoning differ, and a projection (AP or PA)
            that the reasoning names and the header of the film does not.
        differential: Sentences of the reasoning that leave several findings open.
        sections: The reasoning, divided by the part of the film that it describes.
        unknown_labels: Other names in the answer, as written.
        reasoning: Text of the thinking.
        answer: Text of the answer.
        text: The whole output as generated. With several traces, the first.
        traces: All outputs, in the order of their seeds.
        film: Attributes of the film, or None in a turn without one.
        usage: Tokens and times.
        provenance: How it was made.
    """

    outcome: str
    issues: tuple[str, ...]
    findings: tuple[Finding, ...]
    contradictions: tuple[Contradiction, ...]
    differential: tuple[Alternatives, ...]
    sections: tuple[ReasoningSection, ...]
    unknown_labels: tuple[str, ...]
    reasoning: str
    answer: str
    text: str
    traces: tuple[TraceRecord, ...]
    film: FilmInfo | None
    usage: Usage
    provenance: Provenance

    def to_json(self) -> str:
        """Return one line of JSON, with the schema's name and the disclaimer first."""
        fields = {"schema": SCHEMA, "disclaimer": DISCLAIMER, **asdict(self)}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Reading:
        """Inverse of `to_json`.

        Raises:
            BadRequestError: Not JSON, another schema, or fields missing.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            schema = fields.pop("schema")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadRequestError("reading: not a JSON object with a `schema`") from error
        if schema != SCHEMA:
            raise BadRequestError(f"reading: schema must be {SCHEMA}; update client or server")
        try:
            fields.pop("disclaimer", None)
            film = fields.pop("film")
            return cls(
                film=None if film is None else FilmInfo.from_dict(film),
                usage=Usage(**fields.pop("usage")),
                provenance=Provenance(**fields.pop("provenance")),
                issues=tuple(fields.pop("issues")),
                findings=tuple(_read_finding(finding) for finding in fields.pop("findings")),
                contradictions=tuple(
                    Contradiction(**item) for item in fields.pop("contradictions")
                ),
                differential=tuple(
                    Alternatives(**{**item, "findings": tuple(item["findings"])})
                    for item in fields.pop("differential")
                ),
                sections=tuple(ReasoningSection(**item) for item in fields.pop("sections")),
                unknown_labels=tuple(fields.pop("unknown_labels")),
                traces=tuple(TraceRecord(**item) for item in fields.pop("traces")),
                **fields,
            )
        except (KeyError, TypeError) as error:
            raise BadRequestError(f"reading: fields do not match schema {SCHEMA}") from error


def make_reading(
    traces: Sequence[Trace],
    *,
    film: FilmInfo | None,
    usage: Usage,
    provenance: Provenance,
    calibration: Calibration = UNCALIBRATED,
) -> Reading:
    """Put parsed outputs together with their audit, their film, their cost and their origin."""
    findings, contradictions = audit_traces(traces, calibration)
    trace = traces[0]
    return Reading(
        outcome=trace.outcome.value,
        issues=tuple(issue.value for issue in trace.issues),
        findings=findings,
        contradictions=contradictions + compare_view(trace.reasoning, film.view if film else None),
        differential=find_alternatives(trace.reasoning),
        sections=split_reasoning(trace.reasoning),
        unknown_labels=trace.unknown_labels,
        reasoning=trace.reasoning,
        answer=trace.answer,
        text=trace.text,
        traces=tuple(TraceRecord(one.text, one.finish_reason, one.outcome.value) for one in traces),
        film=film,
        usage=usage,
        provenance=provenance,
    )


def _read_finding(fields: dict[str, Any]) -> Finding:
    evidence = tuple(Evidence(**item) for item in fields["evidence"])
    return Finding(**{**fields, "evidence": evidence})

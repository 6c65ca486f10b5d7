"""Findings, their evidence, and contradictions between reasoning and answer."""

from __future__ import annotations

import pytest

from cxr_reason.reading.audit import Contradiction, audit_trace, compare_view
from cxr_reason.reading.trace import parse_trace

REASONING = (
    "This is a PA film. There is a small left pleural effusion with blunting of the angle. "
    "No pneumothorax is seen. The heart is enlarged. "
    "An opacity at the right base may represent pneumonia."
)


def output(reasoning: str, answer: str) -> str:
    return f"<think> {reasoning} </think>\n<answer> {answer} </answer>"


def test_each_finding_has_its_status_and_its_sentences() -> None:
    trace = parse_trace(
        output(REASONING, "Pleural Effusion, Cardiomegaly, Lung Opacity"), truncated=False
    )
    findings, contradictions = audit_trace(trace)
    status = {finding.label: finding.status for finding in findings}
    assert status == {
        "Cardiomegaly": "present",
        "Lung Opacity": "present",
        "Pleural Effusion": "present",
        "Pneumonia": "uncertain",
        "Pneumothorax": "absent",
    }
    assert [finding.label for finding in findings if not finding.in_answer] == [
        "Pneumonia",
        "Pneumothorax",
    ]
    effusion = next(finding for finding in findings if finding.label == "Pleural Effusion")
    first = effusion.evidence[0]
    assert first.polarity == "present"
    assert first.side == "left"
    sentence = trace.reasoning[first.start : first.end]
    assert sentence.startswith("There is a small left pleural effusion")
    assert contradictions == ()


@pytest.mark.parametrize(
    ("reasoning", "answer", "expected"),
    [
        ("No pneumothorax.", "Pneumothorax", [("Pneumothorax", "absent_in_reasoning")]),
        ("A left pneumothorax is seen.", "No Finding", [("Pneumothorax", "not_in_answer")]),
        ("There may be a pneumothorax.", "No Finding", []),
        ("There is pneumonia with a dense opacity.", "Pneumonia", []),
        ("The lungs are clear.", "Pneumonia", []),
        ("No effusion on the right; a small effusion on the left.", "Pleural Effusion", []),
        ("No pneumothorax.", "nothing known", []),
    ],
    ids=[
        "denied but answered",
        "stated but not answered",
        "only uncertain",
        "a child covers its parent",
        "answered without a word",
        "absent on one side only",
        "no readable answer",
    ],
)
def test_contradictions(reasoning: str, answer: str, expected: list[tuple[str, str]]) -> None:
    _, contradictions = audit_trace(parse_trace(output(reasoning, answer), truncated=False))
    assert [(item.label, item.kind) for item in contradictions] == expected


def test_a_truncated_trace_shows_what_it_said_so_far() -> None:
    findings, contradictions = audit_trace(
        parse_trace("<think> There is a right pneumothorax. The hea", truncated=True)
    )
    assert [(finding.label, finding.status, finding.in_answer) for finding in findings] == [
        ("Pneumothorax", "present", False)
    ]
    assert contradictions == ()


def test_no_finding_is_only_listed_when_answered() -> None:
    findings, _ = audit_trace(
        parse_trace(output("No effusion. No pneumothorax.", "No Finding"), truncated=False)
    )
    assert [finding.label for finding in findings if finding.status == "present"] == ["No Finding"]


def test_a_projection_against_the_header_is_a_contradiction() -> None:
    assert compare_view(REASONING, "PA") == ()
    assert compare_view(REASONING, None) == ()
    (found,) = compare_view(f"Clear. {REASONING} It is a PA film.", "AP")
    assert found == Contradiction("", "view", 7, 25)
    assert compare_view("", "AP") == ()

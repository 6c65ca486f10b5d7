"""What `check_trace` refuses: a good trace, made bad in one way at a time."""

from __future__ import annotations

import pytest

from cxr_reason.errors import BadRequestError, from_wire, to_wire
from cxr_reason.findings import LABELS
from cxr_reason.statements import Polarity
from cxr_reason.training.traces import Facts, Sign, TraceError, check_trace, write_trace

STATES: dict[str, Polarity] = {
    **dict.fromkeys(LABELS, "absent"),
    "Consolidation": "present",
    "Lung Opacity": "present",
    "Pleural Effusion": "present",
    "Pneumothorax": "uncertain",
}
SIGNS = (
    Sign("Consolidation", "present", "right", "lower"),
    Sign("Pleural Effusion", "present", "right", "lower"),
    Sign("Pneumothorax", "uncertain", "left", "upper"),
)
FACTS = Facts(STATES, SIGNS, "PA")
GOOD = write_trace(FACTS, 0)


def find(part: str) -> str:
    """Return the first sentence of the good trace that holds these characters."""
    return next(f"{sentence.strip()}." for sentence in GOOD.split(".") if part in sentence)


def test_the_good_trace_is_good() -> None:
    check_trace(GOOD, FACTS)


def refuse(text: str, reason: str, facts: Facts = FACTS) -> None:
    assert text != GOOD or facts is not FACTS, "nothing was changed"
    with pytest.raises(TraceError, match=reason):
        check_trace(text, facts)


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("There is pulmonary edema.", "Edema is absent but present stated"),
        ("Pulmonary edema is possible.", "Edema is absent but uncertain stated"),
        ("There is a hiatal hernia.", "Hernia is stated without a source"),
        ("The aorta is tortuous.", "Other Abnormality is stated without a source"),
        ("No pleural effusion is seen.", "Pleural Effusion is both stated and denied"),
        ("There is consolidation on the left.", "Consolidation is stated on the side 'left'"),
        ("There is consolidation in the right upper zone.", "Consolidation .* upper zone"),
        ("There is a pneumothorax.", "Pneumothorax is uncertain but present stated"),
        ("The right lower zone is clear.", "right lower zone is clear where a sign is in it"),
        ("The chest is normal.", "a normal film is stated"),
    ],
)
def test_an_unsupported_sentence(sentence: str, reason: str) -> None:
    refuse(GOOD.replace("In summary", f"{sentence} In summary"), reason)


def test_a_statement_of_an_unknown_label() -> None:
    known = {label: state for label, state in STATES.items() if label != "Fracture"}
    refuse(GOOD, "Fracture is unknown but absent stated", Facts(known, SIGNS))


def test_a_denied_side_is_not_a_contradiction() -> None:
    check_trace(GOOD.replace("In summary", "No pleural effusion on the left. In summary"), FACTS)


def test_a_flipped_sentence() -> None:
    clause = find("onsolidation")
    refuse(GOOD.replace(clause, "No consolidation is seen."), "Consolidation is both stated and")


def test_a_flipped_sentence_and_summary() -> None:
    clause = find("onsolidation")
    text = GOOD.replace(clause, "No consolidation is seen.").replace(
        "shows consolidation, ", "shows "
    )
    refuse(text, "Consolidation is present but absent stated.*absent_in_reasoning")


def test_a_suspicion_that_is_not_mentioned() -> None:
    text = GOOD.replace(find("neumothorax"), "").replace(find("The uncertain part"), "")
    refuse(text, "Pneumothorax is uncertain but not stated")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("Consolidation, Lung Opacity", "the answer is 'Consolidation, Lung Opacity' where"),
        ("Consolidation, Edema, Lung Opacity, Pleural Effusion", "the answer is .* where"),
        ("Consolidation, Lung Opacity, Pleural Effusion, Pneumothorax", "the answer is .* where"),
        ("No Finding", "the answer is 'No Finding'.*not_in_answer"),
        ("No Finding, Consolidation, Lung Opacity, Pleural Effusion", "no_finding_beside"),
        ("Consolidation, Lung Opacity, Hydrothorax", "unknown_label"),
        ("", "empty_answer"),
    ],
)
def test_another_answer(answer: str, reason: str) -> None:
    refuse(GOOD.replace("Consolidation, Lung Opacity, Pleural Effusion", answer), reason)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("</think>", "", "malformed .missing_tag"),
        ("<answer>", "<answer><answer>", "doubled_tag"),
        ("<think>", "Sure: <think>", "text_outside_tags"),
        ("</answer>", "</answer> Done.", "text_outside_tags"),
    ],
)
def test_broken_tags(old: str, new: str, reason: str) -> None:
    refuse(GOOD.replace(old, new), reason)


def test_no_tags() -> None:
    refuse("The film is normal.", "the form is free_text")


def test_a_missing_section() -> None:
    refuse(GOOD.replace(find("The hila"), ""), "the sections must be")


def test_sections_out_of_order() -> None:
    hila = find("The hila")
    text = GOOD.replace(hila, "").replace("<think>", f"<think> {hila}")
    refuse(text, "the sections must be")


def test_everything_wrong_is_named_at_once() -> None:
    text = GOOD.replace("In summary", "There is edema. There is a fracture. In summary")
    refuse(text, "Edema is absent.*Fracture is absent")


def test_a_suspicion_places_nothing_that_is_present() -> None:
    states: dict[str, Polarity] = {"Pleural Effusion": "present"}
    signs = (
        Sign("Pleural Effusion", "present", "right"),
        Sign("Pleural Effusion", "uncertain", "left"),
    )
    facts = Facts(states, signs)
    good = write_trace(facts, 0)
    hedged = good.replace("In summary", "A left pleural effusion is possible. In summary")
    check_trace(hedged, facts)
    refuse(hedged.replace("is possible", "is present"), "side 'left'", facts)


def test_the_error_travels_like_every_other() -> None:
    assert isinstance(from_wire(to_wire(TraceError("what is wrong"))), TraceError)
    assert issubclass(TraceError, BadRequestError)

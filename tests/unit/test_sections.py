"""The outline of a reasoning: its sections, and the sentences that leave several findings open."""

from __future__ import annotations

from cxr_reason.reading.sections import PARTS, SUMMARY, find_alternatives, split_reasoning

REASONING = (
    "The film is a PA view. It is well exposed. No support devices are seen. The trachea is "
    "midline.\nThe lungs show a left basal opacity. It may be atelectasis or pneumonia. No pleural "
    "effusion. The heart may be enlarged.\nIn summary, a left basal opacity. The ribs are intact."
)


def texts_of(reasoning: str) -> list[tuple[str, str]]:
    return [(one.name, reasoning[one.start : one.end]) for one in split_reasoning(reasoning)]


def test_a_reasoning_is_split_at_the_parts_that_it_names() -> None:
    assert texts_of(REASONING) == [
        ("quality", "The film is a PA view. It is well exposed."),
        ("devices", "No support devices are seen."),
        ("airways", "The trachea is midline."),
        (
            "lungs",
            "The lungs show a left basal opacity. It may be atelectasis or pneumonia.",
        ),
        ("pleura", "No pleural effusion."),
        ("heart", "The heart may be enlarged."),
        ("summary", "In summary, a left basal opacity."),
        ("bones", "The ribs are intact."),
    ]


def test_sentences_before_the_first_part_are_in_none() -> None:
    assert texts_of("Let us begin. We look closely. The heart is normal.") == [
        ("heart", "The heart is normal.")
    ]
    assert texts_of("") == texts_of("Nothing to say.") == []


def test_a_part_that_is_taken_up_again_is_a_section_again() -> None:
    names = [name for name, _ in texts_of("The lungs are clear. No effusion. No consolidation.")]
    assert names == ["lungs", "pleura", "lungs"]


def test_only_its_first_words_make_a_sentence_the_summary() -> None:
    assert texts_of("2. Impression: normal.") == [(SUMMARY, "2. Impression: normal.")]
    assert texts_of("The overall heart size is normal.")[0][0] == "heart"
    assert SUMMARY not in PARTS


def test_a_sentence_with_two_open_findings_is_a_differential() -> None:
    (alternatives,) = find_alternatives(REASONING)
    assert alternatives.findings == ("Atelectasis", "Pneumonia")
    sentence = REASONING[alternatives.start : alternatives.end]
    assert sentence == "It may be atelectasis or pneumonia."


def test_one_open_finding_or_a_settled_one_is_not_a_differential() -> None:
    assert find_alternatives("Possible small effusion.") == ()
    assert find_alternatives("Possible pneumonia. Possible edema.") == ()
    assert find_alternatives("Atelectasis and effusion. No pneumonia or edema.") == ()
    assert find_alternatives("Possible pneumonia; a pneumonia is not excluded.") == ()

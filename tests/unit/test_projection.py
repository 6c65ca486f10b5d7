"""Which projection a reasoning names: AP, PA, or none of this film's."""

from __future__ import annotations

import pytest

from cxr_reason.reading import projection
from cxr_reason.reading.projection import find_other_projection, find_projections
from cxr_reason.statements.patterns import is_unbounded

NAMED = {
    "AP": [
        "This is an AP film.",
        "AP view of the chest.",
        "The film is AP.",
        "Portable AP.",
        "Supine AP.",
        "Single frontal AP view.",
        "An anteroposterior projection.",
        "Antero-posterior view.",
        "This is an anteroposterior (AP) chest X-ray.",
        "Frontal (AP) view.",
        "AP and lateral views of the chest.",
        "AP supine film with low volumes.",
        "View: AP.",
        "ap view of the chest.",
        "The view appears to be AP.",
        "This is likely an AP portable film.",
        "The radiograph was obtained in AP projection.",
        "The film was taken in the AP position.",
        "The patient is rotated on this AP film.",
        "Looking at this AP chest X-ray, the lungs are clear.",
        "This is not a PA but an AP film.",
        "This is an AP, not PA, film.",
        "AP rather than PA projection.",
        "The heart is magnified by the AP projection.",
        "Heart size may be exaggerated by the AP projection.",
        "Cardiomegaly, possibly accentuated by the portable AP technique.",
        "Given the AP technique, the heart may be magnified.",
        "Heart size is within normal limits for AP\ntechnique.",
    ],
    "PA": [
        "frontal PA view",
        "PA and lateral chest.",
        "This is a posteroanterior radiograph.",
        "PA chest X-ray, good inspiration.",
        "The view is PA.",
        "This is a standard PA chest radiograph.",
        "The film is a frontal PA view of the chest.",
    ],
}
NOT_NAMED = [
    "The AP window is clear.",
    "The aortopulmonary (AP) window is normal.",
    "The AP diameter of the chest is increased.",
    "AP chest diameter is increased.",
    "Increased anteroposterior diameter.",
    "The main PA is enlarged.",
    "The chest shows an enlarged PA.",
    "The PA segment is prominent on this film.",
    "PA pressure is high.",
    "PA catheter in place.",
    "Swan-Ganz catheter tip in the right PA.",
    "No PA view is available.",
    "This is not an AP view.",
    "Compared with the prior PA film, unchanged.",
    "A PA view would help.",
    "PA and lateral chest radiograph may be of benefit.",
    "Recommend PA and lateral views.",
    "Is this an AP view?",
    "AP or PA view.",
    "AP versus PA projection.",
    "It is unclear whether the film is AP or PA.",
    "This may be an AP film.",
    "If this were an AP film, the heart would look larger.",
    "On an AP film the heart may look larger.",
    "Die AP Aufnahme ist eine AP view.",
    "A frontal film of the chest.",
    "",
]


@pytest.mark.parametrize(
    ("expected", "text"), [(name, text) for name, texts in NAMED.items() for text in texts]
)
def test_a_projection_is_found(expected: str, text: str) -> None:
    assert [one.projection for one in find_projections(text)] == [expected]


@pytest.mark.parametrize("text", NOT_NAMED)
def test_what_looks_like_a_projection_is_none(text: str) -> None:
    assert list(find_projections(text)) == []


def test_only_the_other_projection_of_two_is_returned() -> None:
    text = "The lungs are clear. This is a PA view. The heart is large for an AP film."
    named = find_other_projection(text, "PA")
    assert named is not None
    assert text[named.start : named.end] == "The heart is large for an AP film."
    assert named.projection == "AP"
    named = find_other_projection(text, "AP")
    assert named is not None
    assert named.start == len("The lungs are clear. ")


@pytest.mark.parametrize("view", [None, "", "LL"])
def test_without_a_frontal_view_in_the_header_nothing_contradicts(view: str | None) -> None:
    assert find_other_projection("This is an AP film.", view) is None


@pytest.mark.parametrize("name", ["_PROJECTION", "_OTHER_FILM", "_GIVEN"])
def test_no_expression_repeats_without_a_bound(name: str) -> None:
    """As for statements: no text makes matching explode."""
    assert not is_unbounded(getattr(projection, name).pattern)

"""The fourteen labels and how an answer is split into them."""

from __future__ import annotations

import pytest

from cxr_reason.findings import LABELS, NO_FINDING, find_label, split_answer


def test_labels_are_the_fourteen_of_chexpert() -> None:
    assert len(LABELS) == len(set(LABELS)) == 14
    assert list(LABELS) == sorted(LABELS)
    assert NO_FINDING in LABELS


@pytest.mark.parametrize("label", LABELS)
def test_label_is_found_in_any_case_and_spacing(label: str) -> None:
    for spelling in (label, label.upper(), label.lower(), f"  {label.replace(' ', '   ')}\t"):
        assert find_label(spelling) == label


@pytest.mark.parametrize(
    "name", ["", " ", "Oedema", "Pleural", "Effusion", "Edema.", "PleuralEffusion", "Edemas"]
)
def test_near_names_are_not_labels(name: str) -> None:
    assert find_label(name) is None


@pytest.mark.parametrize(
    ("answer", "labels", "unknown"),
    [
        pytest.param("", (), (), id="empty"),
        pytest.param(" , ,\n, ", (), (), id="only-separators"),
        pytest.param("...", (), (), id="only-periods"),
        pytest.param(". . ,.", (), (), id="only-spaced-periods"),
        pytest.param("Edema", ("Edema",), (), id="one"),
        pytest.param("Pneumonia, Edema", ("Edema", "Pneumonia"), (), id="order-of-the-labels"),
        pytest.param("Edema, edema , EDEMA", ("Edema",), (), id="each-once"),
        pytest.param("Edema.", ("Edema",), (), id="period"),
        pytest.param("Edema ., Fracture .", ("Edema", "Fracture"), (), id="space-and-period"),
        pytest.param("Edema\r\nFracture\n", ("Edema", "Fracture"), (), id="lines"),
        pytest.param("Gout, Edema, Mass.", ("Edema",), ("Gout", "Mass"), id="unknown"),
        pytest.param("b, a, b, A", (), ("b", "a", "A"), id="unknown-each-once-in-order"),
        pytest.param("Hilar mass .", (), ("Hilar mass",), id="unknown-space-and-period"),
        pytest.param("Edema and Fracture", (), ("Edema and Fracture",), id="and-is-no-comma"),
        pytest.param("No Finding, Edema", ("Edema", "No Finding"), (), id="contradiction-is-kept"),
        pytest.param("No.5, Edema", ("Edema",), ("No.5",), id="inner-period-stays"),
    ],
)
def test_answer_is_split(answer: str, labels: tuple[str, ...], unknown: tuple[str, ...]) -> None:
    assert split_answer(answer) == (labels, unknown)


def test_all_labels_round_trip() -> None:
    assert split_answer(", ".join(reversed(LABELS))) == (LABELS, ())

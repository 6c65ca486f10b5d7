"""The film record: JSON and back, anything else refused."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import pytest

from cxr_reason.errors import BadRequestError
from cxr_reason.film.info import FilmInfo

FULL = FilmInfo(
    image_digest="ab" * 32,
    source="dicom",
    height_px=2544,
    width_px=3056,
    bits_stored=12,
    view="PA",
    laterality="B",
    body_part="CHEST",
    pixel_spacing_mm=(0.139, 0.143),
    spacing_kind="detector",
    flags=("window_estimated", "laterality_missing"),
    orientation=6,
)
BARE = FilmInfo("cd" * 32, "png", 512, 640, 8)


@pytest.mark.parametrize("film", [FULL, BARE], ids=["full", "bare"])
def test_json_round_trip(film: FilmInfo) -> None:
    text = film.to_json()
    assert "\n" not in text
    again = FilmInfo.from_json(text)
    assert again == film
    assert FilmInfo.from_json(text.encode()) == film
    # Equal is not enough: a list in place of a tuple cannot be hashed.
    assert hash(again) == hash(film)


def test_optional_fields_may_be_left_out() -> None:
    required = {
        name: value
        for name, value in asdict(BARE).items()
        if name in ("image_digest", "source", "height_px", "width_px", "bits_stored")
    }
    assert FilmInfo.from_dict(required) == BARE


@pytest.mark.parametrize("name", ["image_digest", "source", "height_px", "width_px", "bits_stored"])
def test_missing_field_is_refused(name: str) -> None:
    record = asdict(FULL)
    del record[name]
    with pytest.raises(BadRequestError, match="not a film record"):
        FilmInfo.from_dict(record)


def test_extra_field_is_refused() -> None:
    with pytest.raises(BadRequestError, match="not a film record"):
        FilmInfo.from_dict({**asdict(FULL), "patient_name": "A"})


@pytest.mark.parametrize("text", ["", "{", "nul", b"\xff\xfe", "[" * 100_000])
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(BadRequestError, match="not JSON"):
        FilmInfo.from_json(text)


@pytest.mark.parametrize("value", [None, 5, "film", [], [1], {}, {"flags": None}], ids=repr)
def test_other_json_is_refused(value: Any) -> None:
    with pytest.raises(BadRequestError, match="not a film record"):
        FilmInfo.from_json(json.dumps(value))


@pytest.mark.parametrize("change", [{"pixel_spacing_mm": 5}, {"flags": 5}], ids=str)
def test_wrong_kinds_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match="not a film record"):
        FilmInfo.from_dict({**asdict(FULL), **change})


def test_error_does_not_repeat_the_record() -> None:
    with pytest.raises(BadRequestError) as caught:
        FilmInfo.from_dict({"patient_name": "Mustermann"})
    assert "Mustermann" not in caught.value.message


def test_no_field_identifies_a_patient() -> None:
    """A new field is a decision: it travels with every reading."""
    assert [field.name for field in fields(FilmInfo)] == [
        "image_digest",
        "source",
        "height_px",
        "width_px",
        "bits_stored",
        "view",
        "laterality",
        "body_part",
        "pixel_spacing_mm",
        "spacing_kind",
        "flags",
        "orientation",
    ]

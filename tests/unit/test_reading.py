"""The reading: one line of JSON and back, anything else refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from cxr_reason.errors import BadRequestError
from cxr_reason.film.info import FilmInfo
from cxr_reason.reading.reading import DISCLAIMER, SCHEMA, Provenance, Reading, make_reading
from cxr_reason.reading.trace import parse_trace
from cxr_reason.usage import Usage

FILM = FilmInfo(
    "ab" * 32,
    "dicom",
    2544,
    3056,
    12,
    view="PA",
    pixel_spacing_mm=(0.139, 0.143),
    spacing_kind="detector",
    flags=("window_estimated",),
)
USAGE = Usage(
    prompt_tokens=321,
    visual_tokens=289,
    completion_tokens=64,
    queue_s=0.25,
    time_to_first_token_s=1.5,
    generation_s=4.125,
)
PROVENANCE = Provenance(
    software_version="0.1.0",
    backend="onnx",
    precision="int4",
    engine_digest="cd" * 32,
    checkpoint_digest="ef" * 32,
    model_notice="Untrained.",
    max_tokens=2048,
    temperature=0.5,
    top_p=0.9,
    seed=2**64 - 1,
    num_traces=1,
    answer_format="",
    calibration="",
)
TEXT = "<think>Größe «≥ 5 mm».\n\u2028</think>\n<answer>Edema, Gout</answer>"


def reading_of(text: str, film: FilmInfo | None = FILM, *, truncated: bool = False) -> Reading:
    trace = parse_trace(text, truncated=truncated)
    return make_reading([trace], film=film, usage=USAGE, provenance=PROVENANCE)


READING = reading_of(TEXT)


def test_reading_holds_the_whole_trace() -> None:
    assert READING.outcome == "complete"
    assert READING.issues == ("unknown_label", "language_unknown")
    assert [finding.label for finding in READING.findings if finding.in_answer] == ["Edema"]
    assert READING.unknown_labels == ("Gout",)
    assert READING.reasoning == "Größe «≥ 5 mm»."
    assert READING.answer == "Edema, Gout"
    assert READING.text == TEXT
    assert (READING.film, READING.usage, READING.provenance) == (FILM, USAGE, PROVENANCE)


def test_a_projection_against_the_header_is_a_contradiction_of_the_reading() -> None:
    text = "<think>This is an AP film.</think><answer>Edema</answer>"
    film = replace(FILM, view="PA")
    assert [
        (one.label, one.kind, one.start, one.end) for one in reading_of(text, film).contradictions
    ] == [("", "view", 0, 19)]
    assert reading_of(text, replace(FILM, view="AP")).contradictions == ()
    assert reading_of(text, replace(FILM, view=None)).contradictions == ()
    assert reading_of(text, None).contradictions == ()


@pytest.mark.parametrize(
    "reading",
    [
        pytest.param(READING, id="complete"),
        pytest.param(
            reading_of("<think>This is an AP film.</think>", replace(FILM, view="PA")), id="view"
        ),
        pytest.param(reading_of("Small.", film=None), id="follow-up-without-film"),
        pytest.param(reading_of("<think>a", truncated=True), id="truncated"),
        pytest.param(reading_of('\\ " \n\r\t\0 \U0001fa7b'), id="characters-that-json-escapes"),
        pytest.param(reading_of(""), id="empty"),
    ],
)
def test_json_round_trip(reading: Reading) -> None:
    text = reading.to_json()
    assert "\n" not in text and "\r" not in text
    again = Reading.from_json(text)
    assert again == reading
    assert Reading.from_json(text.encode()) == reading
    assert again.to_json() == text
    # Equal is not enough: a list in place of a tuple cannot be hashed.
    assert hash(again) == hash(reading)


def test_schema_and_disclaimer_come_first() -> None:
    names = list(json.loads(READING.to_json()))
    assert names == ["schema", "disclaimer", *(field.name for field in fields(Reading))]
    record = json.loads(READING.to_json())
    assert (record["schema"], record["disclaimer"]) == (SCHEMA, DISCLAIMER)


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(READING.to_json()), **changes})


def without(*path: str) -> str:
    record = json.loads(READING.to_json())
    place = record
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return json.dumps(record)


def test_disclaimer_may_be_another() -> None:
    assert Reading.from_json(without("disclaimer")) == READING
    assert Reading.from_json(changed(disclaimer="Nur für die Forschung.")) == READING


@pytest.mark.parametrize(
    "schema", ["cxr-reason/reading/1", "cxr-reason/reading/1 ", "", None, 1, ["x"]], ids=repr
)
def test_other_schema_is_refused_with_what_to_do(schema: object) -> None:
    with pytest.raises(BadRequestError, match=f"schema must be {SCHEMA}; update"):
        Reading.from_json(changed(schema=schema))


@pytest.mark.parametrize("text", ["", "{", b"\xff", "null", "5", '"x"', "[]", "[1]", "{}"])
def test_what_has_no_schema_is_refused(text: str | bytes) -> None:
    with pytest.raises(BadRequestError, match="not a JSON object with a `schema`"):
        Reading.from_json(text)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(BadRequestError, match="not a JSON object"):
        Reading.from_json('{"schema":' + "[" * 100_000)


@pytest.mark.parametrize("name", [field.name for field in fields(Reading)])
def test_missing_field_is_refused(name: str) -> None:
    with pytest.raises(BadRequestError, match=f"do not match schema {SCHEMA}"):
        Reading.from_json(without(name))


@pytest.mark.parametrize(
    "path",
    [("usage", field.name) for field in fields(Usage)]
    + [("provenance", field.name) for field in fields(Provenance)],
    ids=".".join,
)
def test_missing_inner_field_is_refused(path: tuple[str, str]) -> None:
    with pytest.raises(BadRequestError, match=f"do not match schema {SCHEMA}"):
        Reading.from_json(without(*path))


@pytest.mark.parametrize(
    "changes",
    [
        {"probabilities": {}},
        {"usage": {**json.loads(READING.to_json())["usage"], "cost": 1}},
        {"provenance": {**json.loads(READING.to_json())["provenance"], "host": "a"}},
        {"usage": None},
        {"usage": []},
        {"provenance": "x"},
        {"issues": None},
        {"findings": 5},
    ],
    ids=str,
)
def test_fields_that_do_not_match_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match=f"do not match schema {SCHEMA}"):
        Reading.from_json(changed(**changes))


@pytest.mark.parametrize("film", [{}, [], "x", {"extra": 1}], ids=repr)
def test_damaged_film_is_refused(film: object) -> None:
    with pytest.raises(BadRequestError, match="not a film record"):
        Reading.from_json(changed(film=film))

"""The published schema of readings is that of the dataclasses, and readings match it."""

from __future__ import annotations

import json

import jsonschema
import pytest

from cxr_reason.client import Client, MockTransport
from cxr_reason.reading.schema import make_schema

SCHEMA = make_schema()
TEXTS = [
    "<think> Small left effusion. No edema. </think>\n<answer> Pleural Effusion, Odd </answer>",
    "<think> Possible edema.</think><answer>Fracture</answer>",
    "free text",
    "",
]


def read(text, **settings):
    reading = Client(transport=MockTransport(text)).read(b"\x89PNG\r\n\x1a\n", **settings)
    return json.loads(reading.to_json())


def test_the_published_file_is_current(repository):
    """`python -m cxr_reason.reading.schema > docs/reading.schema.json` writes it."""
    published = (repository / "docs" / "reading.schema.json").read_text()
    assert json.loads(published) == SCHEMA


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("num_traces", [1, 3])
def test_readings_match_it(text, num_traces):
    jsonschema.validate(read(text, num_traces=num_traces), SCHEMA)


def test_a_turn_without_a_film_matches_it():
    reading = Client(transport=MockTransport()).read(None)
    jsonschema.validate(json.loads(reading.to_json()), SCHEMA)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda reading: reading.pop("usage"),
        lambda reading: reading.update(schema="cxr-reason/reading/1"),
        lambda reading: reading.update(patient="x"),
        lambda reading: reading["findings"][0].update(status="likely"),
        lambda reading: reading["findings"][0]["evidence"][0].update(start="0"),
        lambda reading: reading["film"].update(pixel_spacing_mm=[0.1]),
        lambda reading: reading["provenance"].pop("seed"),
    ],
)
def test_what_is_not_a_reading_does_not_match(spoil):
    reading = read(TEXTS[0])
    spoil(reading)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(reading, SCHEMA)


def test_every_field_has_a_meaning():
    for definition in (SCHEMA, *SCHEMA["$defs"].values()):
        for name, field in definition["properties"].items():
            assert "const" in field or len(field["description"]) > 5, name

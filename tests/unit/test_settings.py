from __future__ import annotations

import json
from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pytest

from cxr_reason import connect
from cxr_reason.cli.reading_options import with_reading_options
from cxr_reason.client import AsyncClient, Client, Settings
from cxr_reason.client.mock_transport import MockTransport
from cxr_reason.contract import REASON_MODEL
from cxr_reason.errors import BadRequestError
from cxr_reason.gateway.readings import _FIELDS
from cxr_reason.reading.reading import Provenance
from cxr_reason.settings import (
    SETTINGS,
    TEMPERATURE_OF_SEVERAL_TRACES,
    ReadingSettings,
    parse_setting,
)

WRONG = [
    ("max_tokens", 0),
    ("max_tokens", 2**31),
    ("max_tokens", 8.0),
    ("max_tokens", "8"),
    ("max_tokens", True),
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("temperature", float("nan")),
    ("temperature", False),
    ("top_p", 0.0),
    ("top_p", 1.1),
    ("seed", -1),
    ("seed", 2**64),
    ("seed", 1.5),
    ("num_traces", 0),
    ("num_traces", 17),
    ("answer_format", "names"),
    ("answer_format", "[1]"),
    ("answer_format", 7),
    ("answer_format", {"type": {1, 2}}),
    ("timeout_s", 0),
    ("timeout_s", float("inf")),
    ("timeout_s", float("nan")),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_before_anything_is_sent(name, value):
    transport = MockTransport()
    with Client(transport=transport) as client:
        for call in (
            lambda: client.stream(b"film", **{name: value}),
            lambda: client.read_many([b"film"], **{name: value}),
            lambda: client.conversation(b"film", **{name: value}),
        ):
            with pytest.raises(BadRequestError) as caught:
                call()
            assert caught.value.param == name
    with pytest.raises(BadRequestError):
        AsyncClient(transport=transport).stream(b"film", **{name: value})
    assert transport.requests == []


def test_a_text_that_is_given_by_mistake_is_not_repeated():
    with pytest.raises(BadRequestError) as caught:
        ReadingSettings(seed="Jane Canary")
    assert "Canary" not in caught.value.message
    with pytest.raises(BadRequestError) as caught:
        parse_setting("seed", "Jane Canary")
    assert "Canary" not in caught.value.message


def test_several_traces_are_sampled():
    assert ReadingSettings().temperature == 0.0
    assert ReadingSettings(num_traces=2).temperature == TEMPERATURE_OF_SEVERAL_TRACES
    with pytest.raises(BadRequestError, match="several traces"):
        ReadingSettings(num_traces=2, temperature=0.0)


def test_values_become_those_that_are_declared():
    settings = ReadingSettings(
        max_tokens=np.int64(5), top_p=np.float32(0.5), answer_format={"type": "object"}
    )
    assert (type(settings.max_tokens), settings.max_tokens) == (int, 5)
    assert (type(settings.top_p), settings.top_p) == (float, 0.5)
    assert json.loads(settings.answer_format) == {"type": "object"}
    assert ReadingSettings(seed=2**64 - 1).seed == parse_setting("seed", str(2**64 - 1))


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), "5", None])
def test_a_wrong_time_limit_of_a_client_is_refused(timeout_s):
    with pytest.raises(BadRequestError, match="timeout_s"):
        connect("127.0.0.1:1", timeout_s=timeout_s)


def test_every_way_to_ask_has_every_setting():
    """A setting that is added to the record alone is missing nowhere."""
    assert set(SETTINGS) <= Settings.__optional_keys__
    sent = set(SETTINGS) - {"timeout_s"}
    assert sent <= {spec.name for spec in REASON_MODEL.inputs}
    assert sent <= set(_FIELDS)
    assert sent <= {entry.name for entry in fields(Provenance)}

    def command(*, settings: dict) -> None:
        """A command."""

    assert set(get_type_hints(with_reading_options(command))) == set(SETTINGS)

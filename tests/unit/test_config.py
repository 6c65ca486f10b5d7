"""EngineConfig: ranges, and JSON that says what is wrong with it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import BadRequestError

LEAST = {
    "max_batch": 1,
    "max_queue": 0,
    "context_length": 0,
    "prefill_chunk": 16,
    "prefix_cache_mib": 0,
    "num_threads": 0,
}


def test_table_has_every_field() -> None:
    assert list(LEAST) == [field.name for field in fields(EngineConfig)]


@pytest.mark.parametrize(("name", "least"), LEAST.items(), ids=LEAST)
def test_range_begins_where_it_says(name: str, least: int) -> None:
    assert getattr(EngineConfig(**{name: least}), name) == least
    with pytest.raises(BadRequestError, match=rf"{name} is {least - 1}; .* at least {least}"):
        EngineConfig(**{name: least - 1})


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("value", [32.0, "32", None, True, [32]], ids=repr)
def test_only_whole_numbers(name: str, value: Any) -> None:
    with pytest.raises(BadRequestError, match=f"{name} is .*must be a whole number"):
        EngineConfig(**{name: value})


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        EngineConfig().max_batch = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    "config", [EngineConfig(), EngineConfig(2, 3, 4096, 64, 5)], ids=["default", "all"]
)
def test_json_round_trip(config: EngineConfig) -> None:
    assert EngineConfig.from_json(config.to_json()) == config


def test_keys_may_be_left_out() -> None:
    assert EngineConfig.from_json("{}") == EngineConfig()
    assert EngineConfig.from_json('{"max_batch": 2}') == EngineConfig(max_batch=2)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "5", "true", "[]", '""', '"max_batch"', '["max_batch"]', "[[]]"]
)
def test_what_is_not_a_json_object_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="not a JSON object"):
        EngineConfig.from_json(text)


def test_unknown_key_is_named_with_the_allowed_ones() -> None:
    with pytest.raises(BadRequestError, match="'max_bacth'; allowed: max_batch, max_queue"):
        EngineConfig.from_json('{"max_bacth": 2}')


def test_value_in_json_is_checked_too() -> None:
    with pytest.raises(BadRequestError, match="max_batch is 0"):
        EngineConfig.from_json('{"max_batch": 0}')

"""Requests that join, leave, fail and overflow, on the real engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cxr_reason.engine.base import (
    Array,
    FinishReason,
    GenerationRequest,
    SamplingParams,
    TokenEvent,
    VisualInput,
)
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.onnx.decoder import OnnxDecoder
from cxr_reason.engine.onnx.engine import OnnxEngine
from cxr_reason.engine.registry import load_engine
from cxr_reason.errors import CapacityError, GenerationError
from cxr_reason.prompts import parse_prompt

Film = tuple[Array, tuple[int, int]]
ENDLESS = 3_500


def open_engine(folder: Path, **settings: int) -> OnnxEngine:
    engine = load_engine(folder, EngineConfig(**settings))
    assert isinstance(engine, OnnxEngine)
    return engine


def ask(prompt: str, max_tokens: int, visual: VisualInput | None = None) -> GenerationRequest:
    return GenerationRequest(parse_prompt(prompt), visual, SamplingParams(max_tokens=max_tokens))


def token_ids(events: list[TokenEvent]) -> list[int]:
    return [event.token_id for event in events]


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "condition did not come true"
        time.sleep(0.001)


def test_sixteen_requests_over_four_slots_each_get_their_own_answer(
    engine_dir: Path, rg1: Film
) -> None:
    with open_engine(engine_dir, max_batch=4) as engine:
        visual = engine.encode(*rg1)
        requests = [
            ask(f"Question {index}.", 10 + 7 * index, visual if index % 3 else None)
            for index in range(16)
        ]
        alone = [token_ids(list(engine.submit(request))) for request in requests]
        assert len({tuple(ids) for ids in alone}) == 16
        generations = [engine.submit(request) for request in requests]
        assert [token_ids(list(generation)) for generation in generations] == alone
        assert (engine.num_active, engine.num_waiting) == (0, 0)


def test_a_cancelled_request_frees_its_slot_within_one_step(engine_dir: Path) -> None:
    with open_engine(engine_dir, max_batch=1) as engine:
        endless = engine.submit(ask("One.", ENDLESS))
        next_one = engine.submit(ask("Two.", 5))
        events = iter(endless)
        next(events)
        num_before = endless.usage().completion_tokens
        endless.cancel()
        last = list(events)[-1]
        assert last.finish_reason is FinishReason.CANCELLED
        assert len(list(next_one)) == 5
        # The step under way, and one that may begin before the flag is seen.
        assert endless.usage().completion_tokens <= num_before + 3


def test_cancelling_in_the_queue_and_twice(engine_dir: Path) -> None:
    with open_engine(engine_dir, max_batch=1) as engine:
        running = engine.submit(ask("One.", ENDLESS))
        waiting = engine.submit(ask("Two.", 5))
        waiting.cancel()
        waiting.cancel()
        (event,) = list(waiting)
        assert event == TokenEvent("", -1, FinishReason.CANCELLED)
        running.cancel()
        wait_until(lambda: engine.num_active == 0)


def test_cancelling_one_of_many_leaves_the_others_alone(engine_dir: Path) -> None:
    with open_engine(engine_dir, max_batch=4) as engine:
        requests = [ask(f"Case {index}.", 60) for index in range(4)]
        alone = [token_ids(list(engine.submit(request))) for request in requests]
        for victim in range(4):
            generations = [engine.submit(request) for request in requests]
            next(iter(generations[victim]))
            generations[victim].cancel()
            others = [
                (token_ids(list(generation)), alone[index])
                for index, generation in enumerate(generations)
                if index != victim
            ]
            assert all(ids == expected for ids, expected in others)


def test_a_full_queue_answers_busy_and_recovers(engine_dir: Path) -> None:
    with open_engine(engine_dir, max_batch=1, max_queue=2) as engine:
        running = engine.submit(ask("One.", ENDLESS))
        wait_until(lambda: engine.num_active == 1)
        waiting = [engine.submit(ask("Two.", 3)) for _ in range(2)]
        with pytest.raises(CapacityError, match="busy, 2 requests are waiting"):
            engine.submit(ask("Three.", 3))
        running.cancel()
        assert [len(list(generation)) for generation in waiting] == [3, 3]
        assert len(list(engine.submit(ask("Three.", 3)))) == 3


def test_a_failed_step_ends_its_requests_and_not_the_engine(
    engine_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = OnnxDecoder.run
    with open_engine(engine_dir) as engine:
        expected = token_ids(list(engine.submit(ask("One.", 20))))
        quoted = "what it was given"

        def fail(*_: object) -> Array:
            raise RuntimeError(quoted)

        monkeypatch.setattr(OnnxDecoder, "run", fail)
        with pytest.raises(GenerationError, match="a step failed"):
            list(engine.submit(ask("One.", 20)))
        monkeypatch.setattr(OnnxDecoder, "run", run)
        assert token_ids(list(engine.submit(ask("One.", 20)))) == expected
    assert "RuntimeError" in caplog.text and "in fail" in caplog.text
    assert quoted not in caplog.text


def test_closing_ends_what_runs_and_what_waits(engine_dir: Path) -> None:
    engine = open_engine(engine_dir, max_batch=1)
    generations = [engine.submit(ask("One.", ENDLESS)) for _ in range(3)]
    next(iter(generations[0]))
    engine.close()
    engine.close()
    for generation in generations:
        assert list(generation)[-1].finish_reason is FinishReason.CANCELLED
    with pytest.raises(CapacityError, match="shutting down"):
        engine.submit(ask("One.", 3))


def test_running_requests_continue_while_a_long_prompt_is_prefilled(engine_dir: Path) -> None:
    with open_engine(engine_dir, prefill_chunk=16) as engine:
        running = engine.submit(ask("One.", ENDLESS))
        events = iter(running)
        next(events)
        long_prompt = engine.submit(ask("word " * 300, 1))
        assert len(list(long_prompt)) == 1
        usage = long_prompt.usage()
        # One decoding step for each chunk of the other's prefill, at least.
        assert running.usage().completion_tokens >= usage.prompt_tokens // 16
        running.cancel()

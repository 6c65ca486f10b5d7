"""Prompts that share a beginning: what is shared, and that sharing changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxr_reason.engine.base import (
    Array,
    Engine,
    GenerationRequest,
    SamplingParams,
    TokenEvent,
    VisualInput,
)
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.onnx.decoder import OnnxDecoder
from cxr_reason.engine.onnx.prefix_cache import CachedSegment, PrefixCache
from cxr_reason.engine.prefix import split_prompt
from cxr_reason.engine.registry import load_engine
from cxr_reason.prompts import Message, parse_prompt

Film = tuple[Array, tuple[int, int]]
IMAGE, ANSWER = 9, np.array([1, 2])
FIRST = np.array([5, IMAGE, IMAGE, 7, 1, 2])
FOLLOW_UP = np.array([*FIRST, 30, 31, 8, 1, 2])


def film(value: float) -> VisualInput:
    return VisualInput(np.full((2, 4), value, np.float32), (2, 4))


def split(ids: np.ndarray, visual: VisualInput | None = None) -> list[tuple[int, bytes, bool]]:
    parts = split_prompt(ids, visual, image_token_id=IMAGE, answer_start=ANSWER)
    return [(part.end, part.key, part.starts_answer) for part in parts]


def test_segments_end_after_the_film_and_where_answers_start() -> None:
    assert [(end, starts) for end, _, starts in split(FOLLOW_UP, film(0))] == [
        (3, False),
        (6, True),
        (11, True),
    ]
    assert [end for end, _, _ in split(np.array([4, 1, 2]))] == [3]


def test_a_follow_up_shares_the_first_turn_and_another_film_shares_nothing() -> None:
    first, later = split(FIRST, film(0)), split(FOLLOW_UP, film(0))
    assert later[:2] == first
    other = split(FIRST, film(1))
    assert not {key for _, key, _ in other} & {key for _, key, _ in first}
    asked = FIRST.copy()
    asked[3] = 8
    assert split(asked, film(0))[0] == first[0]
    assert split(asked, film(0))[1] != first[1]


def test_the_grid_of_a_film_is_part_of_it() -> None:
    turned = VisualInput(film(0).tokens, (4, 2))
    assert split(FIRST, turned)[0][1] != split(FIRST, film(0))[0][1]


def segment(num_tokens: int) -> CachedSegment:
    return CachedSegment({"0.key": np.zeros((1, num_tokens, 1), np.float32)}, None)


def test_the_cache_is_bounded_by_bytes_and_drops_the_least_recently_used() -> None:
    cache = PrefixCache(capacity_bytes=40)  # ten tokens
    cache.put(b"a", segment(4))
    cache.put(b"b", segment(4))
    assert len(cache.find([b"a"])) == 1
    cache.put(b"c", segment(4))
    assert (len(cache.find([b"a"])), len(cache.find([b"b"])), cache.size_bytes) == (1, 0, 32)
    cache.put(b"d", segment(11))
    assert cache.find([b"d"]) == []
    assert cache.size_bytes == 32
    cache.put(b"c", segment(4))
    assert cache.size_bytes == 32


def test_only_leading_segments_are_found() -> None:
    cache = PrefixCache(capacity_bytes=100)
    cache.put(b"b", segment(1))
    assert cache.find([b"a", b"b"]) == []
    cache.put(b"a", segment(1))
    assert len(cache.find([b"a", b"b", b"c"])) == 2


def run(engine: Engine, messages: tuple[Message, ...], visual: VisualInput) -> list[TokenEvent]:
    request = GenerationRequest(messages, visual, SamplingParams(max_tokens=40))
    return list(engine.submit(request))


@pytest.fixture(params=["fp32", "int4"])
def folder(request: pytest.FixtureRequest, engine_dirs: dict[str, Path]) -> Path:
    return engine_dirs[request.param]


def test_a_hit_gives_the_text_of_a_miss(
    folder: Path, rg1: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = (
        (Message("user", "Find the abnormalities."),),
        (
            Message("user", "Find the abnormalities."),
            Message("assistant", "Nothing is there."),
            Message("user", "Are you sure?"),
        ),
        (Message("user", "Is it in focus?"),),
    )
    prefilled: list[int] = []
    prefill = OnnxDecoder.prefill

    def count(self: OnnxDecoder, slot: int, embeddings: Array, *rest: object, **kw: object):
        prefilled.append(len(embeddings))
        return prefill(self, slot, embeddings, *rest, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(OnnxDecoder, "prefill", count)
    # A small chunk: its bounds must not depend on what is cached either.
    with load_engine(folder, EngineConfig(prefix_cache_mib=0, prefill_chunk=48)) as engine:
        visual = engine.encode(*rg1)
        alone = [run(engine, messages, visual) for messages in turns]
    whole = sum(prefilled)
    with load_engine(folder, EngineConfig(prefill_chunk=48)) as engine:
        prefilled.clear()
        shared = [run(engine, messages, visual) for messages in turns]
        assert sum(prefilled) < whole - 2 * len(visual.tokens)
        prefilled.clear()
        again = [run(engine, messages, visual) for messages in turns]
        assert prefilled == []
    assert len({tuple(event.token_id for event in events) for events in alone}) == 3
    assert shared == alone
    assert again == alone


def test_samples_of_one_film_prefill_it_once(
    engine_dir: Path, rg1: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    prefill, decode = OnnxDecoder.prefill, OnnxDecoder.run
    chunks: list[int] = []

    def count(self: OnnxDecoder, slot: int, embeddings: Array, *rest: object, **kw: object):
        chunks.append(len(embeddings))
        return prefill(self, slot, embeddings, *rest, **kw)  # type: ignore[arg-type]

    def step(self: OnnxDecoder, slot: int, embeddings: Array, *rest: object):
        steps.append(len(embeddings))
        return decode(self, slot, embeddings, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(OnnxDecoder, "prefill", count)
    monkeypatch.setattr(OnnxDecoder, "run", step)
    with load_engine(engine_dir) as engine:
        visual = engine.encode(*rg1)
        requests = [
            GenerationRequest(
                parse_prompt("Read it."), visual, SamplingParams(20, temperature=1.0, seed=seed)
            )
            for seed in range(4)
        ]
        running = [engine.submit(request) for request in requests]
        outputs = [[event.token_id for event in generation] for generation in running]
        assert sum(chunks) == running[0].usage().prompt_tokens
        assert max(steps) == 4
        alone = [[event.token_id for event in engine.submit(request)] for request in requests]
    assert outputs == alone
    assert len({tuple(ids) for ids in outputs}) == 4

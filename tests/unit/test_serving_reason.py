from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import logging
import threading
import time

import numpy as np
import pytest
from support import fake_engine

from cxr_reason.contract import (
    DIGEST_PARAMETER,
    PROMPT,
    SETTING_TENSORS,
    VISUAL_TOKENS,
)
from cxr_reason.engine.base import VisualInput
from cxr_reason.errors import (
    BadRequestError,
    CapacityError,
    CxrError,
    GenerationError,
    RequestCancelledError,
    UnknownFilmError,
    UnreadableImageError,
)
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.source import hash_film
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.prompts import Message
from cxr_reason.reader.cancellation import Cancellation
from cxr_reason.reader.encoder import FilmPreprocessor
from cxr_reason.reader.failures import as_cxr_error
from cxr_reason.reader.film_cache import EncodedFilm, FilmCache
from cxr_reason.reader.reader import Reader
from cxr_reason.reader.request import ReadRequest
from cxr_reason.serving.cancellation import CancellationWatcher
from cxr_reason.serving.preprocess import Preprocessor
from cxr_reason.serving.tensors import make_array, read_tensor
from cxr_reason.settings import TEMPERATURE_OF_SEVERAL_TRACES, ReadingSettings

FakeEngine, TRAINED_FORM = fake_engine.FakeEngine, fake_engine.TRAINED_FORM

CANARY = "Jane Canary 1970-01-01"


def film(digest="a" * 64, num_tokens=4):
    tokens = np.zeros((num_tokens, 8), dtype=np.float32)
    return EncodedFilm(VisualInput(tokens, (4, num_tokens)), FilmInfo(digest, "png", 56, 56, 8))


def ask(text="What?", **fields):
    return ReadRequest((Message("user", text),), ReadingSettings(**fields))


def with_image(image):
    return ReadRequest((Message("user", "What?"),), ReadingSettings(), image=image)


class Encoder:
    """Counts how often a film is encoded, slowly enough for callers to meet."""

    def __init__(self, error=None):
        self.num_calls = 0
        self.error = error

    def __call__(self, image, digest):
        assert digest == hash_film(image)
        self.num_calls += 1
        time.sleep(0.05)
        if self.error:
            raise self.error
        return film(hash_film(image))


def run(reasoner, request, cancellation=None, usages=None):
    keep = (usages if usages is not None else []).append
    return list(reasoner.answer(request, cancellation or Cancellation(), keep))


@pytest.fixture
def engine():
    with FakeEngine(step_s=0.001) as engine:
        yield engine


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def reasoner(engine, encoder):
    return Reader(engine, encoder, FilmCache(2**20))


def test_parts_carry_new_text_and_the_last_one_the_reading(reasoner):
    usages = []
    parts = run(reasoner, with_image(b"film"), usages=usages)
    assert "".join(part.text for part in parts) == TRAINED_FORM
    assert all(part.text for part in parts[:-1]), "an empty part tells a client nothing"
    assert [part.finish_reason for part in parts[:-1]] == [None] * (len(parts) - 1)
    reading = parts[-1].reading
    assert parts[-1].finish_reason == "stop"
    assert [finding.label for finding in reading.findings if finding.in_answer] == ["Cardiomegaly"]
    assert reading.film.image_digest == hashlib.sha256(b"film").hexdigest()
    assert reading.usage == usages[0]
    assert reading.usage.visual_tokens == 4
    assert reading.provenance.model_notice == "a fake"


def test_ensemble_uses_the_tokens_given_and_caches_nothing(reasoner, engine, encoder):
    given = film("b" * 64)
    request = ReadRequest((Message("user", "What?"),), ReadingSettings(), encoded=given)
    assert run(reasoner, request)[-1].reading.film == given.info
    assert engine.requests[0].visual is given.visual
    assert encoder.num_calls == 0
    follow_up = ReadRequest(request.messages, request.settings, image_digest="b" * 64)
    with pytest.raises(UnknownFilmError):
        run(reasoner, follow_up)


def test_model_reason_encodes_a_film_once_and_then_knows_its_digest(reasoner, encoder):
    run(reasoner, with_image(b"film"))
    run(reasoner, with_image(b"film"))
    digest = hashlib.sha256(b"film").hexdigest()
    request = ReadRequest((Message("user", "And now?"),), ReadingSettings(), image_digest=digest)
    assert run(reasoner, request)[-1].reading.film.image_digest == digest
    assert encoder.num_calls == 1


def test_a_data_url_is_the_same_film_as_its_payload():
    url = b"data:image/png;base64," + base64.b64encode(b"film")
    assert hash_film(url) == hash_film(b"film")
    assert (
        hash_film(b"data:image/png;base64,!")
        == hashlib.sha256(b"data:image/png;base64,!").hexdigest()
    )


def test_a_conversation_may_have_no_film(reasoner, engine):
    assert run(reasoner, ask())[-1].reading.film is None
    assert engine.requests[0].visual is None


def test_token_limit_is_a_state_of_the_reading(reasoner):
    last = run(reasoner, ask("count 9", max_tokens=3))[-1]
    assert last.finish_reason == "length"
    assert last.reading.outcome == "truncated"


def test_callers_of_one_film_share_its_encoding_and_its_error(engine):
    for error, expected in ((None, 1), (UnreadableImageError("image: no"), 1)):
        encoder = Encoder(error)
        reasoner = Reader(engine, encoder, FilmCache(2**20))
        outcomes = []

        def call(reasoner=reasoner, outcomes=outcomes):
            try:
                outcomes.append(run(reasoner, with_image(b"film"))[-1].finish_reason)
            except CxrError as caught:
                outcomes.append(caught)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes == [error or "stop"] * 4
        assert encoder.num_calls == expected


def test_a_failed_film_is_tried_again():
    cache = FilmCache(2**20)
    failing = Encoder(UnreadableImageError("image: no"))
    with pytest.raises(UnreadableImageError):
        cache.get_or_encode("a", functools.partial(failing, b"", hash_film(b"")))
    assert cache.get_or_encode("a", film).info.image_digest == "a" * 64


def test_cache_drops_the_film_used_least_recently():
    size_bytes = film().visual.tokens.nbytes
    cache = FilmCache(2 * size_bytes)
    for digest in ("a", "b"):
        cache.get_or_encode(digest, film)
    assert cache.get("a") is not None
    cache.get_or_encode("c", film)
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.size_bytes == 2 * size_bytes


def test_a_film_over_the_whole_cache_is_used_but_not_kept():
    cache = FilmCache(0)
    assert cache.get_or_encode("a", film) is not None
    assert cache.get("a") is None


def test_several_traces_make_one_reading(reasoner, engine):
    usages = []
    settings = ReadingSettings(temperature=1.0, seed=2**64 - 2, num_traces=3)
    request = dataclasses.replace(with_image(b"film"), settings=settings)
    parts = run(reasoner, request, usages=usages)
    assert "".join(part.text for part in parts) == TRAINED_FORM
    reading = parts[-1].reading
    assert [trace.text for trace in reading.traces] == [TRAINED_FORM] * 3
    assert {finding.label: finding.probability for finding in reading.findings}["Cardiomegaly"] == 1
    assert [one.sampling.seed for one in engine.requests] == [2**64 - 2, 2**64 - 1, 0]
    assert reading.usage == usages[0]
    assert reading.usage.completion_tokens == 3 * engine.generations[0].usage().completion_tokens
    assert reading.provenance.num_traces == 3
    assert "not calibrated" in reading.provenance.calibration


def test_cancelling_ends_every_trace(reasoner, engine):
    request = ask("count 1000", temperature=1.0, num_traces=2)
    parts = reasoner.answer(request, Cancellation(), id)
    next(parts)
    parts.close()
    assert [one.cancelled.is_set() for one in engine.generations] == [True, True]


def test_a_full_queue_takes_no_trace_of_many(reasoner, engine):
    engine.max_queue = 0
    request = ask("count 1000", temperature=1.0, num_traces=3)
    with pytest.raises(CapacityError):
        run(reasoner, request)
    assert all(one.cancelled.is_set() for one in engine.generations)


@pytest.mark.parametrize("num_traces", [0, -1, 17])
def test_the_number_of_traces_has_bounds(num_traces):
    with pytest.raises(BadRequestError, match=r"num_traces.*1 to 16"):
        ReadRequest.from_inputs({"prompt": b"Read.", "num_traces": num_traces})


def test_traces_are_sampled_by_default():
    request = ReadRequest.from_inputs({"prompt": b"Read.", "num_traces": 2})
    assert request.settings.temperature == TEMPERATURE_OF_SEVERAL_TRACES
    with pytest.raises(BadRequestError, match="all be the same"):
        ReadRequest.from_inputs({"prompt": b"Read.", "num_traces": 2, "temperature": 0.0})


def test_an_answer_by_a_schema_has_no_labels(reasoner, engine):
    reading = run(reasoner, ask(answer_format='{"type": "object"}'))[-1].reading
    assert engine.requests[0].answer_format == '{"type": "object"}'
    assert reading.unknown_labels == ()
    assert not [finding for finding in reading.findings if finding.in_answer]


def test_cancelling_frees_the_slot_within_one_step(reasoner, engine):
    engine.step_s = 0.01
    cancellation, usages = Cancellation(), []
    parts = reasoner.answer(ask("count 1000"), cancellation, usages.append)
    next(parts)
    cancellation.set()
    with pytest.raises(RequestCancelledError):
        list(parts)
    assert engine.num_running == 0
    assert usages[0].completion_tokens <= 2


def test_a_request_that_waits_can_be_cancelled(reasoner, engine):
    running = [reasoner.answer(ask("count 1000"), Cancellation(), id) for _ in range(2)]
    for parts in running:
        next(parts)
    cancellation = Cancellation()
    threading.Timer(0.05, cancellation.set).start()
    with pytest.raises(RequestCancelledError):
        run(reasoner, ask(), cancellation)
    assert engine.num_running == 2


def test_a_request_cancelled_before_its_film_is_encoded_takes_no_slot(reasoner, engine):
    cancellation = Cancellation()
    cancellation.set()
    with pytest.raises(RequestCancelledError):
        run(reasoner, with_image(b"film"), cancellation)
    assert engine.requests == []


def test_a_caller_that_stops_iterating_frees_the_slot(reasoner, engine):
    parts = reasoner.answer(ask("count 1000"), Cancellation(), id)
    next(parts)
    parts.close()
    assert engine.generations[0].cancelled.is_set()


def test_a_full_queue_is_an_error_of_its_own(reasoner, engine):
    running = [reasoner.answer(ask("count 1000"), Cancellation(), id) for _ in range(2)]
    for parts in running:
        next(parts)
    engine.max_queue = 0
    with pytest.raises(CapacityError, match="try again"):
        run(reasoner, ask())


def test_watcher_asks_until_the_block_ends_and_never_after():
    watcher = CancellationWatcher(poll_interval_s=0.001)
    asked = []
    answers = iter([False, False, True])
    cancellation, cancelled = Cancellation(), threading.Event()
    cancellation.on_set(cancelled.set)
    with watcher.watch(cancellation, lambda: asked.append(1) or next(answers)):
        assert cancelled.wait(5)
    with watcher.watch(Cancellation(), lambda: bool(asked.append(2))):
        time.sleep(0.02)
    num_asked = len(asked)
    time.sleep(0.02)
    assert len(asked) == num_asked
    assert asked.count(1) == 3
    watcher.close()


def test_internal_errors_reach_neither_client_nor_log_with_content(reasoner, caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(RuntimeError) as caught:
        run(reasoner, ask(f"fail {CANARY}"))
    assert CANARY in str(caught.value)
    with caplog.at_level(logging.DEBUG):
        told = as_cxr_error(caught.value)
    assert type(told) is GenerationError
    assert CANARY not in told.message
    assert CANARY not in caplog.text
    assert "fake_engine.py" in caplog.text
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"prompt": b"x", "image": b"a", "image_digest": b"0" * 64}, "not several"),
        ({"prompt": b"x", "image_digest": b"../etc"}, "64 lower-case"),
        ({"prompt": b"\xff"}, "UTF-8"),
        ({"prompt": b" "}, "empty"),
        ({"prompt": b"x", "max_tokens": 0}, "from 1 to"),
        ({"prompt": b"x", "top_p": 0.0}, "over 0"),
        ({"prompt": b"x", "visual_tokens": np.zeros((4, 8))}, "need grid and film"),
        (
            {
                "prompt": b"x",
                "visual_tokens": np.zeros((4, 8)),
                "grid": np.array([4, 6]),
                "film": b"{}",
            },
            "does not match",
        ),
        (
            {
                "prompt": b"x",
                "visual_tokens": np.zeros((4, 8)),
                "grid": np.array([4, 4]),
                "film": b"{}",
            },
            "film record",
        ),
    ],
)
def test_bad_inputs_say_what_is_allowed(inputs, message):
    with pytest.raises(BadRequestError, match=message):
        ReadRequest.from_inputs(inputs)


def test_inputs_become_a_request():
    info = film().info
    request = ReadRequest.from_inputs(
        {
            "prompt": b'[{"role": "user", "content": "Hello"}]',
            "visual_tokens": np.zeros((4, 8), dtype=np.float32),
            "grid": np.array([4, 4], dtype=np.int32),
            "film": info.to_json().encode(),
            "seed": 7,
        }
    )
    assert request.messages == (Message("user", "Hello"),)
    assert request.settings == ReadingSettings(seed=7)
    assert request.encoded.info == info
    assert request.encoded.visual.grid == (4, 4)


def test_model_preprocess_takes_the_digest_that_reason_has_computed(rg1_path):
    model = Preprocessor(FilmPreprocessor(PixelBudget()))
    inputs = {"image": rg1_path.read_bytes()}
    told, own = (
        FilmInfo.from_json(model(inputs, parameters)["film"].decode())
        for parameters in ({DIGEST_PARAMETER: "a" * 64}, {})
    )
    assert told.image_digest == "a" * 64
    assert own.image_digest == hash_film(inputs["image"])


def test_tensors_keep_their_values():
    temperature, seed = SETTING_TENSORS["temperature"], SETTING_TENSORS["seed"]
    for spec, value in ((PROMPT, b"a\0b"), (temperature, 0.7), (seed, 2**64 - 1)):
        assert read_tensor(make_array(value, spec), spec) == value
    tokens = np.arange(6, dtype=np.float32).reshape(2, 3)
    copy = read_tensor(tokens, VISUAL_TOKENS)
    np.testing.assert_array_equal(copy, tokens)
    assert not np.shares_memory(copy, tokens)
    with pytest.raises(BadRequestError, match="2 elements"):
        read_tensor(np.array([b"a", b"b"], dtype=object), PROMPT)

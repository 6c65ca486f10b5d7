"""An engine in this process behind the client: the calls and the answers of a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.fake_engine import FakeEngine

import cxr_reason
from cxr_reason.client import AsyncClient, Client, DoneEvent, LocalTransport, TextEvent
from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import (
    ArtifactError,
    BadRequestError,
    CapacityError,
    GenerationError,
    RequestTimeoutError,
    UnreadableImageError,
)
from cxr_reason.reader.local import LocalReader
from cxr_reason.settings import LABEL_ANSWER


@pytest.fixture(scope="module")
def reader(engine_dir: Path) -> Iterator[Client]:
    with cxr_reason.load(engine_dir, config=EngineConfig(max_batch=4)) as reader:
        yield reader


def make_client(engine: FakeEngine, config: EngineConfig | None = None) -> Client:
    reader = LocalReader(engine, config or EngineConfig(max_batch=engine.num_slots))
    return Client(transport=LocalTransport(reader), max_retries=0)


def test_reads_a_film(reader: Client, rg1_path: Path) -> None:
    reading = reader.read(rg1_path, max_tokens=12)
    assert reading.usage.completion_tokens == 12
    assert reading.film is not None and reading.film.source == "dicom"
    assert reader.is_ready()


def test_a_stream_brings_the_text_of_the_reading(reader: Client, rg1_path: Path) -> None:
    events = list(reader.stream(rg1_path, max_tokens=12))
    done = events[-1]
    assert isinstance(done, DoneEvent)
    text = "".join(event.text for event in events if isinstance(event, TextEvent))
    assert text == done.reading.text.strip()


def test_settings_reach_the_engine(reader: Client, rg1_path: Path) -> None:
    # 0.7 has no exact form in 32 bits: a server gets it rounded, and so does this reader.
    settings = {"max_tokens": 8, "temperature": 0.7, "top_p": 0.9, "seed": 5, "num_traces": 3}
    reading = reader.read(rg1_path, **settings)
    made_by = reading.provenance
    assert (made_by.temperature, made_by.top_p, made_by.seed) == (0.7, 0.9, 5)
    assert len(reading.traces) == made_by.num_traces == 3
    assert reader.read(rg1_path, **settings).traces == reading.traces


def test_many_films_and_a_bad_one(reader: Client, rg1_path: Path) -> None:
    results = reader.read_many([rg1_path, b"no film", rg1_path], max_tokens=4)
    assert isinstance(results[1], UnreadableImageError)
    assert results[0].text == results[2].text  # type: ignore[union-attr]


def test_a_conversation_encodes_its_film_once(rg1_path: Path) -> None:
    engine = FakeEngine()
    with make_client(engine) as client:
        conversation = client.conversation(rg1_path)
        conversation.ask()
        conversation.ask("Why?")
    assert engine.num_encoded == 1
    assert [message.role for message in engine.requests[1].messages] == [
        *("user", "assistant", "user")
    ]


def test_asyncio(rg1_path: Path) -> None:
    async def read() -> list[str]:
        transport = LocalTransport(LocalReader(FakeEngine()))
        async with AsyncClient(transport=transport) as client:
            readings = await asyncio.gather(*(client.read(rg1_path) for _ in range(4)))
        return [reading.outcome for reading in readings]

    assert asyncio.run(read()) == ["complete"] * 4


def test_leaving_frees_the_slot(rg1_path: Path) -> None:
    engine = FakeEngine(num_slots=1, step_s=0.005)
    with make_client(engine) as client:
        events = client.stream(rg1_path, prompt="count 10000")
        for event in events:
            if isinstance(event, TextEvent):
                break
        events.close()
        assert client.read(rg1_path).outcome == "complete"
    assert engine.generations[0].cancelled.is_set()


def test_a_request_has_its_time(rg1_path: Path) -> None:
    with make_client(FakeEngine(step_s=0.01)) as client, pytest.raises(RequestTimeoutError):
        client.read(rg1_path, prompt="count 10000", timeout_s=0.2)


def test_more_requests_than_places(rg1_path: Path) -> None:
    engine = FakeEngine(num_slots=1)
    with (
        make_client(engine, EngineConfig(max_batch=1, max_queue=0)) as client,
        closing(client.stream(rg1_path, prompt="count 10000")) as events,
    ):
        next(event for event in events if isinstance(event, TextEvent))
        with pytest.raises(CapacityError):
            client.read(rg1_path)


def test_closing_ends_what_runs(rg1_path: Path) -> None:
    client = make_client(FakeEngine(step_s=0.005))
    began, errors = threading.Event(), []

    def read() -> None:
        try:
            for event in client.stream(rg1_path, prompt="count 10000"):
                if isinstance(event, TextEvent):
                    began.set()
        except Exception as error:
            errors.append(type(error).__name__)

    thread = threading.Thread(target=read)
    thread.start()
    assert began.wait(10)
    client.close()
    thread.join(10)
    assert errors == ["RequestCancelledError"]
    assert not client.is_ready()


def test_internal_errors_are_reported_without_content(rg1_path: Path) -> None:
    with make_client(FakeEngine()) as client:
        with pytest.raises(GenerationError) as caught:
            client.read(rg1_path, prompt="fail with a secret")
        assert "secret" not in str(caught.value)
        with pytest.raises(BadRequestError):
            client.read(rg1_path, num_traces=99)


def test_an_answer_format_holds(reader: Client, rg1_path: Path) -> None:
    with pytest.raises(BadRequestError):
        reader.read(rg1_path, answer_format="neither labels nor a schema")
    assert reader.read(rg1_path, answer_format=LABEL_ANSWER, max_tokens=4).outcome == "truncated"


def test_a_folder_that_is_not_an_engine(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        cxr_reason.load(tmp_path)


def test_connect_asks_the_address() -> None:
    with cxr_reason.connect("127.0.0.1:1") as client:
        assert not client.is_ready(timeout_s=0.2)


def test_a_calibration_sets_the_states(engine_dir: Path, rg1_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text('{"source": "a test", "thresholds": {}}')
    with cxr_reason.load(engine_dir, calibration=path) as reader:
        reading = reader.read(rg1_path, num_traces=2, max_tokens=2)
        assert reading.provenance.calibration == "a test"
    with pytest.raises(BadRequestError):
        cxr_reason.load(engine_dir, calibration=tmp_path / "none.json")

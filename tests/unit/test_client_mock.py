"""What the clients do with an answer, without a server."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest

import cxr_reason.client
from cxr_reason.client import (
    AsyncClient,
    Client,
    DoneEvent,
    FindingEvent,
    MockTransport,
    QueuedEvent,
    Response,
    SentFilm,
    TextEvent,
)
from cxr_reason.client.assembler import EventAssembler
from cxr_reason.client.finding_tracker import FindingTracker
from cxr_reason.contract import IMAGE, IMAGE_DIGEST, PROMPT
from cxr_reason.errors import (
    BadRequestError,
    CapacityError,
    GenerationError,
    RequestCancelledError,
    RequestTimeoutError,
    ServerUnavailableError,
    UnknownFilmError,
    UnreadableImageError,
)
from cxr_reason.reading.reading import Reading

FILM = b"\x89PNG\r\n\x1a\na film"
TRACE = (
    "<think> The heart is enlarged. There is a small left pleural effusion. No pneumothorax is "
    "seen.\nA nodule in the right upper lobe measures 1.5 cm. The effusion may be loculated. "
    "</think>\n<answer> Cardiomegaly, Pleural Effusion </answer>"
)
ODD_OUTPUTS = [
    TRACE,
    "<think> Clear lungs.",
    "<think> A. </think> between <think>\n B. </think>\n<answer> Edema </answer>\n",
    "no tags at all ",
    "<answer>Edema</answer><answer> Fracture</answer>",
    " <thinking>Large heart.</thinking> a < b",
]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("cxr_reason.client.retries._FIRST_DELAY_S", 0.01)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def reading_of(text):
    return Client(transport=MockTransport(text)).read(FILM)


def test_exported_names_are_sorted_and_there():
    names = cxr_reason.client.__all__
    assert names == sorted(names)
    assert all(hasattr(cxr_reason.client, name) for name in names)


def test_both_clients_have_the_same_names():
    def public(cls):
        return {name for name in dir(cls) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)


@pytest.mark.parametrize("text", ODD_OUTPUTS)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_texts_of_a_section_are_what_the_reading_holds(text, size):
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    *events, done = Client(transport=MockTransport(lambda _: pieces)).stream(FILM)
    reading = done.reading
    assert reading.text == text
    reasoning = "".join(
        event.text
        for event in events
        if isinstance(event, TextEvent) and event.section == "reasoning"
    )
    assert reasoning == reading.reasoning
    texts = [event for event in events if isinstance(event, TextEvent)]
    assert not any("<think" in event.text or "</answer" in event.text for event in texts)


def test_findings_come_when_their_sentence_ends_and_agree_with_the_reading():
    *events, done = Client(transport=MockTransport(TRACE)).stream(FILM)
    so_far, seen = "", {}
    for event in events:
        if isinstance(event, TextEvent) and event.section == "reasoning":
            so_far += event.text
        if isinstance(event, FindingEvent):
            finding = seen[event.finding.label] = event.finding
            for evidence in finding.evidence:
                assert so_far[evidence.start : evidence.end].endswith(".")
            if finding.label == "Cardiomegaly":
                assert len(so_far) < 40, "not before the end of the trace"
    stated = {finding.label: finding for finding in done.reading.findings}
    assert set(seen) == set(stated)
    for label, finding in seen.items():
        assert finding.status == stated[label].status
        # Later sentences that change no status bring no event.
        assert finding.evidence == stated[label].evidence[: len(finding.evidence)]
    assert isinstance(events[-1], TextEvent), "the last finding comes with the end of the reasoning"


def test_a_finding_comes_again_when_its_status_changes():
    tracker = FindingTracker()
    found = [
        (finding.label, finding.status)
        for piece in ("Possible edema. ", "The heart is normal. ", "There is edema. ", "Edema. ")
        for finding in tracker.feed(piece)
    ]
    assert found + [(one.label, one.status) for one in tracker.close()] == [
        ("Edema", "uncertain"),
        ("Cardiomegaly", "absent"),
        ("Edema", "present"),
    ]


def test_a_decimal_does_not_end_a_sentence():
    tracker = FindingTracker()
    pieces = ["A", " nodule", " of", " 1", ".", "5", " cm", " is", " seen", "."]
    assert [tracker.feed(piece) for piece in pieces] == [[]] * len(pieces)
    (finding,) = tracker.close()
    assert (finding.evidence[0].start, finding.evidence[0].end) == (0, 27)


def test_a_stream_begins_with_its_request_id():
    transport = MockTransport()
    events = Client(transport=transport).stream(FILM, request_id="mine")
    assert next(events) == QueuedEvent("mine")
    events.close()
    assert transport.requests[0].id == "mine"


def test_two_requests_have_two_ids_that_cannot_be_guessed():
    transport = MockTransport()
    client = Client(transport=transport)
    client.read(FILM)
    client.read(FILM)
    one, other = (request.id for request in transport.requests)
    assert one != other
    assert len(one) == 32


def test_settings_reach_the_server():
    transport = MockTransport()
    reading = Client(transport=transport).read(
        FILM,
        prompt="Look.",
        max_tokens=100,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        num_traces=3,
        answer_format={"type": "object"},
    )
    made_by = reading.provenance
    assert (made_by.max_tokens, made_by.temperature, made_by.top_p, made_by.seed) == (
        100,
        0.5,
        0.9,
        7,
    )
    assert len(reading.traces) == made_by.num_traces == 3
    assert json.loads(made_by.answer_format) == {"type": "object"}
    assert reading.findings[0].probability == 1.0
    assert transport.requests[0].inputs[PROMPT.name] == b"Look."


def test_an_unknown_setting_is_refused():
    for call in (
        Client(transport=MockTransport()).read,
        AsyncClient(transport=MockTransport()).stream,
    ):
        with pytest.raises(TypeError, match="unknown setting 'max_token'; allowed: "):
            call(FILM, max_token=3)


def failing(*errors):
    """Return a reply that fails as often as there are errors."""
    left = list(errors)

    def reply(_):
        if left:
            raise left.pop(0)
        return TRACE

    return reply


@pytest.mark.parametrize("error", [CapacityError("busy"), ServerUnavailableError("gone")])
def test_a_passing_failure_is_tried_again(error):
    transport = MockTransport(failing(error, error))
    queued, *_, done = Client(transport=transport).stream(FILM)
    assert isinstance(queued, QueuedEvent)
    assert done.reading.outcome == "complete"
    assert len(transport.requests) == 3
    assert transport.requests[2].timeout_s < transport.requests[0].timeout_s


def test_retries_have_an_end():
    transport = MockTransport(failing(*[CapacityError("busy")] * 3))
    with pytest.raises(CapacityError):
        Client(transport=transport).read(FILM)
    assert len(transport.requests) == 3
    transport = MockTransport(failing(CapacityError("busy")))
    with pytest.raises(CapacityError):
        Client(transport=transport, max_retries=0).read(FILM)


@pytest.mark.parametrize(
    "error", [GenerationError("x"), BadRequestError("x"), RequestTimeoutError("x")]
)
def test_what_would_fail_again_is_not_tried_again(error):
    transport = MockTransport(failing(error))
    with pytest.raises(type(error)):
        Client(transport=transport).read(FILM)
    assert len(transport.requests) == 1


def test_nothing_is_tried_again_after_text():
    def reply(_):
        yield "<think> The"
        raise ServerUnavailableError("gone")

    transport = MockTransport(reply)
    events = Client(transport=transport).stream(FILM)
    assert isinstance(next(events), QueuedEvent)
    assert next(events) == TextEvent("reasoning", "The")
    with pytest.raises(ServerUnavailableError):
        next(events)
    assert len(transport.requests) == 1


def test_no_retry_begins_after_the_time_is_over(monkeypatch):
    monkeypatch.setattr("cxr_reason.client.retries._FIRST_DELAY_S", 5.0)
    transport = MockTransport(failing(CapacityError("busy")))
    with pytest.raises(CapacityError):
        Client(transport=transport, timeout_s=1.0).read(FILM)
    assert len(transport.requests) == 1


def endless(stopped):
    """Return a reply that goes on until the call is stopped, and tells that by an event."""

    def reply(_):
        try:
            while True:
                yield "word "
                time.sleep(0.001)
        finally:
            stopped.set()

    return reply


def test_closing_a_stream_stops_the_request():
    stopped = threading.Event()
    events = Client(transport=MockTransport(endless(stopped))).stream(FILM)
    next(event for event in events if isinstance(event, TextEvent))
    assert not stopped.is_set()
    events.close()
    assert stopped.wait(1.0)


def test_cancelling_a_task_stops_the_request():
    stopped = threading.Event()

    async def main():
        async with AsyncClient(transport=MockTransport(endless(stopped))) as client:
            task = asyncio.ensure_future(client.read(FILM, max_tokens=10**6))
            await asyncio.sleep(0.05)
            assert not stopped.is_set()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())
    assert stopped.wait(1.0)


def test_a_timeout_is_an_error():
    stopped = threading.Event()
    client = Client(transport=MockTransport(endless(stopped)))
    with pytest.raises(RequestTimeoutError):
        client.read(FILM, timeout_s=0.05, max_tokens=10**6)
    assert stopped.is_set()


def test_the_async_client_gives_the_same_events():
    async def collect():
        async with AsyncClient(transport=MockTransport(TRACE)) as client:
            assert await client.is_ready()
            return [event async for event in client.stream(FILM, request_id="same")]

    assert run(collect()) == list(
        Client(transport=MockTransport(TRACE)).stream(FILM, request_id="same")
    )


def test_the_async_client_retries_and_fails_alike():
    async def main():
        transport = MockTransport(failing(CapacityError("busy")))
        assert (await AsyncClient(transport=transport).read(FILM)).outcome == "complete"
        assert len(transport.requests) == 2
        with pytest.raises(GenerationError):
            await AsyncClient(transport=MockTransport(failing(GenerationError("x")))).read(FILM)
        with pytest.raises(UnreadableImageError):
            await AsyncClient(transport=MockTransport()).read("/none.dcm")

    run(main())


def inputs_of(transport):
    return [
        (
            set(request.inputs) & {IMAGE.name, IMAGE_DIGEST.name},
            request.inputs[PROMPT.name].decode(),
        )
        for request in transport.requests
    ]


FIRST, SECOND = "Find abnormalities and support devices.", "Provide differentials."


def check_conversation(transport, readings):
    first, second, third = inputs_of(transport)
    assert first[0] == {IMAGE.name}
    assert second[0] == third[0] == {IMAGE_DIGEST.name}
    assert json.loads(third[1]) == [
        {"role": "user", "content": FIRST},
        {"role": "assistant", "content": TRACE},
        {"role": "user", "content": SECOND},
        {"role": "assistant", "content": TRACE},
        {"role": "user", "content": "Third."},
    ]
    assert len({reading.film.image_digest for reading in readings}) == 1


def test_a_conversation_sends_its_film_once():
    transport = MockTransport(TRACE)
    talk = Client(transport=transport).conversation(FILM, max_tokens=1000)
    readings = [talk.ask(), talk.ask(SECOND), talk.ask("Third.", max_tokens=500)]
    check_conversation(transport, readings)
    assert talk.readings == readings
    assert [reading.provenance.max_tokens for reading in readings] == [1000, 1000, 500]


def test_an_async_conversation_sends_its_film_once():
    transport = MockTransport(TRACE)

    async def main():
        async with AsyncClient(transport=transport) as client:
            talk = client.conversation(FILM)
            return [await talk.ask(), await talk.ask(SECOND), await talk.ask("Third.")]

    check_conversation(transport, run(main()))


def test_a_conversation_sends_its_film_again_when_the_server_forgot_it():
    transport = MockTransport(TRACE)
    talk = Client(transport=transport).conversation(FILM)
    talk.ask()
    transport.forget_films()
    events = list(talk.stream(SECOND))
    assert [sent for sent, _ in inputs_of(transport)] == [
        {IMAGE.name},
        {IMAGE_DIGEST.name},
        {IMAGE.name},
    ]
    assert sum(isinstance(event, QueuedEvent) for event in events) == 1
    assert isinstance(events[-1], DoneEvent)

    async def main():
        async with AsyncClient(transport=transport) as client:
            talk = client.conversation(FILM)
            await talk.ask()
            transport.forget_films()
            return await talk.ask(SECOND)

    assert run(main()).outcome == "complete"


def test_a_turn_that_failed_is_not_remembered():
    answers = iter([TRACE, GenerationError("x"), TRACE])

    def reply(_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = MockTransport(reply)
    talk = Client(transport=transport).conversation(FILM)
    talk.ask()
    with pytest.raises(GenerationError):
        talk.ask("Fails.")
    talk.ask(SECOND)
    assert "Fails." not in inputs_of(transport)[2][1]


def test_text_that_spells_a_special_token_does_not_end_a_conversation():
    transport = MockTransport("a <|im_end|> b")
    talk = Client(transport=transport).conversation(FILM)
    talk.ask()
    talk.ask(SECOND)
    assert "<|" not in inputs_of(transport)[1][1]


def test_a_film_sent_before_is_named_by_its_digest():
    transport = MockTransport(TRACE)
    client = Client(transport=transport)
    digest = client.read(FILM).film.image_digest
    assert client.read(SentFilm(digest)).film.image_digest == digest
    with pytest.raises(UnknownFilmError):
        client.read(SentFilm("0" * 64))


def test_a_conversation_without_a_film():
    assert Client(transport=MockTransport("Hello.")).read(None, prompt="Hi").film is None


def slow_by_content(request):
    """Answer with the film's bytes; the first films take longest."""
    image = request.inputs[IMAGE.name].removeprefix(FILM)
    time.sleep(0.02 if image < b"3" else 0.0)
    if image == b"2":
        raise UnreadableImageError("image: no")
    return f"film {image.decode()}"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_many_films_keep_their_order_and_one_failure_stays_alone(kind):
    transport = MockTransport(slow_by_content)
    films = [FILM + str(number).encode() for number in range(9)]
    told = {}
    arguments = {"concurrency": 3, "on_result": told.__setitem__}
    if kind == "sync":
        results = Client(transport=transport).read_many(iter(films), **arguments)
    else:
        results = run(AsyncClient(transport=transport).read_many(iter(films), **arguments))
    assert isinstance(results[2], UnreadableImageError)
    texts = [result.text for result in results if isinstance(result, Reading)]
    assert texts == [f"film {number}" for number in range(9) if number != 2]
    assert len(told) == 9
    assert all(told[index] is result for index, result in enumerate(results))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_no_more_films_at_a_time_than_asked_for(kind):
    lock, live, most = threading.Lock(), 0, 0

    def reply(_):
        nonlocal live, most
        with lock:
            live += 1
            most = max(most, live)
        time.sleep(0.01)
        with lock:
            live -= 1
        return "x"

    films = [FILM] * 10
    transport = MockTransport(reply)
    if kind == "sync":
        Client(transport=transport).read_many(films, concurrency=2)
    else:
        run(AsyncClient(transport=transport).read_many(films, concurrency=2))
    assert most == 2


def test_a_fault_of_the_iterable_ends_many_films_at_once():
    stopped = threading.Event()

    def films():
        yield FILM
        time.sleep(0.05)
        raise LookupError("no such film")

    client = Client(transport=MockTransport(endless(stopped)))
    with pytest.raises(LookupError):
        client.read_many(films(), concurrency=2, max_tokens=10**6)
    assert stopped.wait(1.0)


def test_bad_arguments_of_many_films():
    client = Client(transport=MockTransport())
    with pytest.raises(BadRequestError, match="concurrency: 0"):
        client.read_many([FILM], concurrency=0)
    with pytest.raises(BadRequestError, match="request_id"):
        client.read_many([FILM], request_id="one for all")


@pytest.mark.parametrize("address", ["localhost", "ftp://a:1", "host:port", "http://", "a/b:1"])
def test_an_invalid_address_is_refused(address):
    with pytest.raises(BadRequestError, match="address: must be"):
        Client(address)


def test_an_answer_without_a_reading_is_an_error():
    class Truncating(MockTransport):
        def _answer(self, request):
            yield Response("<think> The")

    with pytest.raises(ServerUnavailableError, match="ended before the reading"):
        Client(transport=Truncating()).read(FILM)


def test_a_reading_of_another_version_is_refused():
    with pytest.raises(BadRequestError, match="schema"):
        list(EventAssembler().feed(Response("", "stop", b'{"schema": "cxr-reason/reading/0"}')))


def test_mock_says_what_the_server_reports():
    def reply(_):
        raise RequestCancelledError("stopped by another")

    with pytest.raises(RequestCancelledError, match="stopped by another"):
        Client(transport=MockTransport(reply)).read(FILM)


def test_a_fault_of_the_mock_itself_is_shown():
    with pytest.raises(GenerationError, match="ZeroDivisionError") as caught:
        Client(transport=MockTransport(lambda _: 1 / 0)).read(FILM)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)

"""The gateway over a real tritonserver, on a real film."""

from __future__ import annotations

import base64
import json
import struct
import time
import urllib.request
import zlib

import httpx2 as httpx
import openai
import pytest
from support.gateway_service import running_gateway

from cxr_reason.client import Client, DoneEvent, QueuedEvent, TextEvent
from cxr_reason.gateway.chat_response import split_message
from cxr_reason.reading.reading import Reading

pytestmark = pytest.mark.server

NUM_TOKENS = 40
ENDLESS = 3_500


@pytest.fixture(scope="module", params=["grpc", "http"])
def gateway(request, server):
    addresses = {"grpc": server.grpc_address, "http": f"http://{server.http_address}"}
    with running_gateway(addresses[request.param]) as gateway:
        yield gateway


@pytest.fixture
def caller(gateway):
    with openai.OpenAI(
        base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=60
    ) as caller:
        yield caller


@pytest.fixture(scope="module")
def reading(server, rg1_path):
    """What the client says of the film, for comparison."""
    with Client(server.grpc_address) as client:
        return client.read(rg1_path, max_tokens=NUM_TOKENS)


def ask_about(film, media_type="application/dicom"):
    url = f"data:{media_type};base64,{base64.b64encode(film).decode()}"
    text = {"type": "text", "text": "Find abnormalities and support devices."}
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, text]}]


def num_under_way(server):
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("cxr_requests{"))


def wait_until_idle(server, within_s=2.0):
    deadline = time.monotonic() + within_s
    while num_under_way(server):
        assert time.monotonic() < deadline, "the slot is still taken"
        time.sleep(0.02)


def test_a_dicom_film_by_chat_completions(caller, rg1_path, reading):
    messages = ask_about(rg1_path.read_bytes())
    answer = caller.chat.completions.create(
        model="cxr-reason", messages=messages, max_tokens=NUM_TOKENS
    )
    message = answer.choices[0].message
    assert (message.reasoning or "", message.content) == split_message(reading.text)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == NUM_TOKENS
    assert answer.usage.prompt_tokens == reading.usage.prompt_tokens
    stream = caller.chat.completions.create(
        model="cxr-reason", messages=messages, max_tokens=NUM_TOKENS, stream=True
    )
    deltas = [chunk.choices[0].delta for chunk in stream]
    assert "".join(delta.content or "" for delta in deltas) == message.content
    assert len(deltas) > 5, "it comes in pieces"


def test_a_dicom_film_by_readings(gateway, rg1_path, reading):
    with rg1_path.open("rb") as film:
        answer = httpx.post(
            f"{gateway.url}/v1/readings",
            files={"film": film, "max_tokens": (None, str(NUM_TOKENS))},
            timeout=60,
        )
    assert answer.status_code == 200
    given = Reading.from_json(answer.text)
    assert (given.text, given.film) == (reading.text, reading.film)


def test_several_traces(caller, rg1_path):
    answer = caller.chat.completions.create(
        model="cxr-reason",
        messages=ask_about(rg1_path.read_bytes()),
        max_tokens=8,
        temperature=1.0,
        n=3,
    )
    assert len(answer.choices) == 3
    assert len({choice.message.content for choice in answer.choices}) > 1


def test_a_follow_up_names_the_film_by_its_digest(caller, reading):
    messages = [
        {
            "role": "user",
            "content": [
                {
                    "type": "image_url",
                    "image_url": {"url": f"sha256:{reading.film.image_digest}"},
                },
                {"type": "text", "text": "Find abnormalities and support devices."},
            ],
        },
        {"role": "assistant", "content": "No Finding", "reasoning": "Clear."},
        {"role": "user", "content": "Provide differentials."},
    ]
    answer = caller.chat.completions.create(model="cxr-reason", messages=messages, max_tokens=5)
    assert answer.usage.completion_tokens == 5
    assert answer.usage.prompt_tokens > reading.usage.prompt_tokens


def test_a_schema_holds_the_answer(caller, rg1_path):
    schema = {
        "type": "object",
        "properties": {"effusion": {"type": "boolean"}},
        "required": ["effusion"],
        "additionalProperties": False,
    }
    answer = caller.chat.completions.create(
        model="cxr-reason",
        messages=ask_about(rg1_path.read_bytes()),
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        max_tokens=60,
    )
    choice = answer.choices[0]
    if choice.finish_reason == "stop":
        assert set(json.loads(choice.message.content)) == {"effusion"}
    else:
        assert choice.finish_reason == "length"


def test_leaving_a_stream_frees_the_slot(server, caller, rg1_path):
    wait_until_idle(server)
    stream = caller.chat.completions.create(
        model="cxr-reason",
        messages=ask_about(rg1_path.read_bytes()),
        max_tokens=ENDLESS,
        stream=True,
    )
    for _ in range(5):
        next(stream)
    assert num_under_way(server) == 1
    stream.close()
    wait_until_idle(server)


def test_leaving_a_stream_of_events_frees_the_slot(server, gateway, rg1_path):
    wait_until_idle(server)
    files = {
        "film": rg1_path.read_bytes(),
        "max_tokens": (None, str(ENDLESS)),
        "stream": (None, "true"),
    }
    with httpx.stream("POST", f"{gateway.url}/v1/readings", files=files, timeout=60) as answer:
        for number, _ in enumerate(answer.iter_bytes()):
            if number == 5:
                break
        assert num_under_way(server) == 1
    wait_until_idle(server)


def oversize_png():
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


@pytest.mark.parametrize(
    ("film", "status", "code"),
    [
        (b"no film", 400, "unreadable_image"),
        (oversize_png(), 413, "too_large"),
    ],
    ids=["unreadable", "too many pixels"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_film_has_its_status(caller, film, status, code, stream):
    with pytest.raises(openai.APIStatusError) as caught:
        caller.chat.completions.create(
            model="cxr-reason", messages=ask_about(film, "image/png"), stream=stream
        )
    assert (caught.value.status_code, caught.value.code) == (status, code)


def test_health(gateway):
    assert httpx.get(f"{gateway.url}/health").status_code == 200


def test_a_gateway_without_a_server():
    with running_gateway("127.0.0.1:1") as gateway:
        assert httpx.get(f"{gateway.url}/health", timeout=20).status_code == 503
        films = {"film": b"\x89PNG\r\n\x1a\n"}
        answer = httpx.post(f"{gateway.url}/v1/readings", files=films, timeout=20)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


def test_a_conversation_of_the_client_sends_its_film_once(server, rg1_path):
    for address in (server.grpc_address, f"http://{server.http_address}"):
        with Client(address) as client:
            talk = client.conversation(rg1_path, max_tokens=5)
            first = talk.ask()
            queued, *_, done = talk.stream("Provide differentials.")
            assert isinstance(queued, QueuedEvent)
            assert isinstance(done, DoneEvent)
            assert done.reading.film == first.film
            assert done.reading.usage.prompt_tokens > first.usage.prompt_tokens


def test_the_client_reads_many_real_films(server, film_paths):
    with Client(server.grpc_address) as client:
        results = client.read_many([*film_paths, b"none"], concurrency=2, max_tokens=5)
        alone = [client.read(path, max_tokens=5).text for path in film_paths]
    assert [result.text for result in results[:-1]] == alone
    assert isinstance(results[-1], Exception)


def test_texts_of_a_stream_are_those_of_the_reading(server, rg1_path):
    with Client(f"http://{server.http_address}") as client:
        *events, done = client.stream(rg1_path, max_tokens=NUM_TOKENS)
    reasoning = [
        event.text
        for event in events
        if isinstance(event, TextEvent) and event.section == "reasoning"
    ]
    assert "".join(reasoning) == done.reading.reasoning

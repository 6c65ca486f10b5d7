"""Chat completions as OpenAI's own client sees them, over a mock of the server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
import threading
import time

import openai
import pytest
from support.gateway_service import TRACE, Script, running_gateway

from cxr_reason.client import MockTransport
from cxr_reason.contract import IMAGE, IMAGE_DIGEST, PROMPT
from cxr_reason.errors import (
    CapacityError,
    GenerationError,
    RequestTimeoutError,
    ServerUnavailableError,
    TooLargeError,
    UnreadableImageError,
)
from cxr_reason.gateway.chat_response import split_message
from cxr_reason.gateway.config import GatewayConfig, Limits

FILM = b"\x89PNG\r\n\x1a\n a film"
MODEL = "cxr-reason"


@pytest.fixture(scope="module")
def script():
    return Script()


@pytest.fixture(scope="module")
def transport(script):
    return MockTransport(script)


@pytest.fixture(scope="module")
def gateway(transport):
    config = GatewayConfig(limits=Limits(requests_per_minute=100_000, max_film_mib=1))
    with running_gateway(transport, config) as gateway:
        yield gateway


@pytest.fixture
def client(gateway, script, transport):
    script.reply = TRACE
    transport.requests.clear()
    with openai.OpenAI(
        base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=20
    ) as client:
        yield client


def data_url(film=FILM, media_type="image/png"):
    return f"data:{media_type};base64,{base64.b64encode(film).decode()}"


def ask_about(url=None, text="Find abnormalities and support devices."):
    image = {"type": "image_url", "image_url": {"url": url or data_url(), "detail": "high"}}
    return [{"role": "user", "content": [image, {"type": "text", "text": text}]}]


def complete(client, messages=None, **settings):
    return client.chat.completions.create(model=MODEL, messages=messages or ask_about(), **settings)


def gather(stream):
    """Return reasoning, content and finish reason by choice, and the usage."""
    choices, usage = {}, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            gathered = choices.setdefault(choice.index, ["", "", None])
            reasoning = getattr(choice.delta, "reasoning", None) or ""
            assert (getattr(choice.delta, "reasoning_content", None) or "") == reasoning
            gathered[0] += reasoning
            gathered[1] += choice.delta.content or ""
            gathered[2] = choice.finish_reason or gathered[2]
    return choices, usage


def test_models(client):
    (model,) = client.models.list().data
    assert model.id == MODEL
    assert client.models.retrieve(MODEL).id == MODEL
    assert model.model_extra["max_film_bytes"] == 2**20
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_a_completion(client, transport):
    answer = complete(client)
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == "Cardiomegaly"
    assert choice.message.reasoning == choice.message.reasoning_content
    assert choice.message.reasoning == "The heart is large. No effusion."
    assert choice.finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens > 5
    (request,) = transport.requests
    assert request.inputs[IMAGE.name] == FILM
    assert json.loads(request.inputs[PROMPT.name]) == [
        {
            "role": "user",
            "content": [
                {"type": "image"},
                {"type": "text", "text": "Find abnormalities and support devices."},
            ],
        }
    ]


def test_every_answer_has_a_request_id_made_by_the_gateway(client):
    answers = [
        client.chat.completions.with_raw_response.create(
            model=MODEL, messages=ask_about(), extra_headers={"X-Request-ID": "PATIENT 12"}
        )
        for _ in range(2)
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len({*ids}) == 2
    assert "PATIENT 12" not in ids
    assert answers[0].parse().id == f"chatcmpl-{ids[0]}"


def test_a_stream(client):
    stream = complete(client, stream=True, stream_options={"include_usage": True})
    choices, usage = gather(stream)
    assert choices == {0: ["The heart is large. No effusion.", "Cardiomegaly", "stop"]}
    assert usage.total_tokens > 0
    _, usage = gather(complete(client, stream=True))
    assert usage is None


def test_flags_of_the_film_come_with_the_completion(client):
    assert complete(client).model_extra["film_flags"] == ["window_estimated"]
    chunks = list(complete(client, stream=True))
    flags = [chunk.model_extra.get("film_flags") for chunk in chunks]
    assert [one for one in flags if one is not None] == [["window_estimated"]]
    text_only = complete(client, messages=[{"role": "user", "content": "What is an effusion?"}])
    assert "film_flags" not in text_only.model_extra


@pytest.mark.parametrize(
    "text",
    [
        TRACE,
        "free text, as in a follow-up",
        "<think> Unclosed",
        "<answer> Edema </answer>",
        "before <think> A. </think> between <think>B.</think><answer> Edema </answer> after",
        "<answer>A</answer> x <answer>B</answer> y",
        "",
    ],
)
def test_a_stream_adds_up_to_the_completion(client, script, text):
    script.reply = text
    message = complete(client).choices[0].message
    choices, _ = gather(complete(client, stream=True))
    assert choices[0][:2] == [message.reasoning or "", message.content]
    for part in (message.reasoning or "", message.content):
        assert "<think" not in part and "answer>" not in part
    assert (message.reasoning or "", message.content) == split_message(text)


def test_truncation_in_the_reasoning(client):
    choice = complete(client, max_tokens=3).choices[0]
    assert choice.finish_reason == "length"
    assert choice.message.reasoning == "The heart"
    assert choice.message.content == ""
    choices, _ = gather(complete(client, max_completion_tokens=3, stream=True))
    assert choices == {0: ["The heart", "", "length"]}


def test_an_unclosed_think_tag_is_not_content(client, script):
    script.reply = "<think> The heart is large."
    choice = complete(client).choices[0]
    assert choice.message.content == ""
    assert choice.message.reasoning == "The heart is large."
    assert choice.finish_reason == "stop"


def test_several_traces_are_choices(client, transport):
    answer = complete(client, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {"Cardiomegaly"}
    assert transport.requests[0].inputs["num_traces"] == 3
    choices, _ = gather(complete(client, n=3, stream=True))
    whole = ["The heart is large. No effusion.", "Cardiomegaly", "stop"]
    assert choices == {0: whole, 1: whole, 2: whole}


def test_every_choice_ends_as_its_own_trace_did(client, script):
    script.reply = "Free text of a follow-up, without any tag."
    assert endings(client, n=2, max_tokens=3) == ["length", "length"]
    script.reply = "<think> The heart is large."  # the model ended its turn there
    assert endings(client, n=2) == ["stop", "stop"]


def endings(client, **arguments):
    """Return the finish reason of each choice, which a stream gives too."""
    whole = [choice.finish_reason for choice in complete(client, **arguments).choices]
    choices, _ = gather(complete(client, **arguments, stream=True))
    assert [choices[index][2] for index in sorted(choices)] == whole
    return whole


def test_a_follow_up_in_text_alone(client, transport):
    first = complete(client).choices[0].message
    messages = [
        *ask_about(),
        {"role": "assistant", "content": first.content, "reasoning_content": first.reasoning},
        {"role": "user", "content": "Provide differentials."},
    ]
    complete(client, messages)
    turns = json.loads(transport.requests[1].inputs[PROMPT.name])
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    # As the model wrote it.
    assert turns[1]["content"] == [{"type": "text", "text": TRACE}]
    assert turns[2]["content"] == [{"type": "text", "text": "Provide differentials."}]


def test_what_openai_returned_can_be_sent_back(client, transport):
    message = complete(client).choices[0].message.model_dump()
    complete(client, [*ask_about(), message, {"role": "user", "content": "More."}])
    assert "<think>" in transport.requests[1].inputs[PROMPT.name].decode()


def test_a_conversation_without_a_film(client, transport, script):
    script.reply = "Hello."
    answer = complete(
        client, [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    )
    assert answer.choices[0].message.content == "Hello."
    assert IMAGE.name not in transport.requests[0].inputs
    assert json.loads(transport.requests[0].inputs[PROMPT.name])[0]["role"] == "system"


def test_a_film_sent_before_is_named_by_its_digest(client, transport):
    complete(client)
    digest = hashlib.sha256(FILM).hexdigest()
    complete(client, ask_about(f"sha256:{digest}"))
    assert transport.requests[1].inputs[IMAGE_DIGEST.name] == digest.encode()
    with pytest.raises(openai.BadRequestError) as caught:
        complete(client, ask_about(f"sha256:{'0' * 64}"))
    assert caught.value.param == "image_digest"


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "application/dicom"])
def test_media_types(client, transport, media_type):
    complete(client, ask_about(data_url(FILM, media_type)))
    assert transport.requests[0].inputs[IMAGE.name] == FILM


SCHEMA = {"type": "object", "properties": {"effusion": {"type": "boolean"}}}


def test_response_format(client, transport, script):
    script.reply = '<think> Clear. </think>\n<answer> {"effusion": false} </answer>'
    answer = complete(
        client,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "report", "schema": SCHEMA, "strict": True},
        },
    )
    assert json.loads(answer.choices[0].message.content) == {"effusion": False}
    assert json.loads(transport.requests[0].inputs["answer_format"]) == SCHEMA
    complete(client, response_format={"type": "json_object"})
    assert json.loads(transport.requests[1].inputs["answer_format"]) == {"type": "object"}
    complete(client, response_format={"type": "text"})
    assert "answer_format" not in transport.requests[2].inputs


def test_cut_json_is_never_reported_as_complete(client, script):
    script.reply = '<think> Clear. </think> <answer> {"effusion": false} </answer>'
    choice = complete(client, max_tokens=5).choices[0]
    assert choice.finish_reason == "length"


def test_settings_reach_the_server(client, transport):
    complete(client, temperature=0.5, top_p=0.9, seed=7, max_tokens=50, user="me", stop=None)
    inputs = transport.requests[0].inputs
    assert [inputs[name] for name in ("temperature", "top_p", "seed", "max_tokens")] == [
        0.5,
        0.9,
        7,
        50,
    ]


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"stop": ["."]}, "stop"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logprobs": True}, "logprobs"),
        ({"n": 17}, "n"),
        ({"n": 0}, "n"),
        ({"extra_body": {"colour": "CANARY"}}, None),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"temperature": "warm"}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "CANARY", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "CANARY"}]}]}, "messages.0.content"),
    ],
    ids=str,
)
def test_what_cannot_be_followed_is_refused(client, transport, settings, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": MODEL, "messages": ask_about(), **settings})
    error = caught.value
    assert error.type == "invalid_request_error"
    assert error.request_id
    assert (error.param or "").startswith(param or "")
    assert "CANARY" not in error.message
    assert not transport.requests


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("data:image/png;base64,AAA", "invalid_base64"),
        ("data:image/png;base64,!!!!", "invalid_base64"),
        ("data:image/gif;base64,AAAA", "invalid_image_url"),
        ("data:image/png,AAAA", "invalid_image_url"),
        ("https://example.org/film.png", "invalid_image_url"),
        ("http://127.0.0.1:1/film.png", "invalid_image_url"),
        ("file:///etc/passwd", "invalid_image_url"),
        ("http://[::1", "invalid_image_url"),
        ("", "invalid_image_url"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_invalid_image_is_refused(client, transport, url, code, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        complete(
            client,
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": url}},
                        {"type": "text", "text": "x"},
                    ],
                }
            ],
            stream=stream,
        )
    assert caught.value.code == code
    assert not transport.requests


def test_an_image_over_the_limit_is_refused(client, transport):
    with pytest.raises(openai.APIStatusError) as caught:
        complete(client, ask_about(data_url(bytes(2**20 + 1))))
    assert (caught.value.status_code, caught.value.code) == (413, "too_large")
    assert complete(client, ask_about(data_url(FILM.ljust(2**20)))).choices


def test_two_images_are_refused(client):
    two = ask_about()
    two[0]["content"] *= 2
    with pytest.raises(openai.BadRequestError, match="one film"):
        complete(client, two)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (UnreadableImageError("image: no"), 400, "invalid_request_error"),
        (TooLargeError("image: too many pixels"), 413, "invalid_request_error"),
        (CapacityError("busy: later"), 503, "server_error"),
        (ServerUnavailableError("server: gone"), 503, "server_error"),
        (RequestTimeoutError("server: late"), 504, "server_error"),
        (GenerationError("a step failed"), 500, "server_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_server_have_their_status(client, script, error, status, kind, stream):
    script.reply = error
    with pytest.raises(openai.APIStatusError) as caught:
        complete(client, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.type == kind
    assert caught.value.code == error.code
    assert error.message in caught.value.message


def test_an_error_in_mid_stream_is_an_error_for_the_caller(client, script):
    def reply(_):
        yield "<think> The"
        raise GenerationError("a step failed")

    script.reply = reply
    stream = complete(client, stream=True)
    with pytest.raises(openai.APIError, match="a step failed"):
        gather(stream)


def endless(stopped):
    def reply(_):
        try:
            while True:
                yield "word "
                time.sleep(0.002)
        finally:
            stopped.set()

    return reply


def test_leaving_a_stream_stops_the_generation(client, script):
    stopped = threading.Event()
    script.reply = endless(stopped)
    stream = complete(client, stream=True, max_tokens=10**6)
    for _ in range(5):
        next(stream)
    assert not stopped.is_set()
    stream.close()
    assert stopped.wait(2.0)


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_before_the_first_text_stops_the_generation(gateway, client, script, stream):
    started, stopped = threading.Event(), threading.Event()

    def reply(_):
        started.set()
        try:
            while True:
                yield ""
                time.sleep(0.002)
        finally:
            stopped.set()

    script.reply = reply
    body = json.dumps(
        {"model": MODEL, "messages": ask_about(), "stream": stream, "max_tokens": 10**6}
    ).encode()
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body
        )
        assert started.wait(5.0)
        assert not stopped.is_set()
    assert stopped.wait(2.0)


def test_an_async_caller(gateway, client):
    async def main():
        async with openai.AsyncOpenAI(
            base_url=f"{gateway.url}/v1", api_key="any", max_retries=0
        ) as caller:
            answers = await asyncio.gather(
                *(
                    caller.chat.completions.create(model=MODEL, messages=ask_about())
                    for _ in range(8)
                )
            )
        return {answer.choices[0].message.content for answer in answers}

    assert asyncio.run(main()) == {"Cardiomegaly"}

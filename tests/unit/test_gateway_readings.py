"""`POST /v1/readings`, operations and the page, over a mock of the server."""

from __future__ import annotations

import json
import tempfile
import threading
import time

import httpx2 as httpx
import pytest
from support.gateway_service import TRACE, Script, running_gateway

from cxr_reason.client import MockTransport
from cxr_reason.contract import IMAGE, IMAGE_DIGEST
from cxr_reason.errors import CapacityError, GenerationError
from cxr_reason.gateway.config import GatewayConfig, Limits
from cxr_reason.reading.reading import Reading

FILM = b"\x89PNG\r\n\x1a\n a film" * 1000


@pytest.fixture(scope="module")
def script():
    return Script()


@pytest.fixture(scope="module")
def transport(script):
    return MockTransport(script)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text("<title>Films</title>")
    (folder / "assets").mkdir()
    (folder / "assets" / "a.js").write_text("1")
    (folder.parent / "secret.txt").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def gateway(transport, page):
    config = GatewayConfig(
        limits=Limits(requests_per_minute=100_000, max_film_mib=1, max_body_mib=2)
    )
    with running_gateway(transport, config, page=page) as gateway:
        yield gateway


@pytest.fixture
def http(gateway, script, transport):
    script.reply = TRACE
    transport.requests.clear()
    with httpx.Client(base_url=gateway.url, timeout=20) as http:
        yield http


def post(http, film=FILM, **fields):
    files = {name: (None, value) for name, value in fields.items()}
    if film is not None:
        files["film"] = ("name", film, "application/dicom")
    return http.post("/v1/readings", files=files)


def read_events(answer):
    events = []
    for block in answer.text.split("\n\n"):
        if block:
            name, data = block.split("\n", 1)
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def test_a_reading(http, transport):
    answer = post(
        http, prompt="Look.", max_tokens="100", temperature="0.5", seed="7", num_traces="2"
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    reading = Reading.from_json(answer.text)
    assert reading.outcome == "complete"
    assert (reading.provenance.seed, reading.provenance.num_traces) == (7, 2)
    assert reading.findings[0].probability == 1.0
    inputs = transport.requests[0].inputs
    assert inputs[IMAGE.name] == FILM
    assert inputs["prompt"] == b"Look."


def test_empty_fields_are_left_to_the_server(http, transport):
    assert post(http, prompt="", seed="", answer_format="").status_code == 200
    assert set(transport.requests[0].inputs) == {"prompt", "image"}


def test_a_stream_of_events(http):
    answer = post(http, stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = read_events(answer)
    names = [name for name, _ in events]
    assert (names[0], names[-1]) == ("queued", "done")
    assert set(names) == {"queued", "reasoning", "answer", "finding", "done"}
    reasoning = "".join(data["text"] for name, data in events if name == "reasoning")
    assert reasoning == "The heart is large. No effusion."
    findings = [data for name, data in events if name == "finding"]
    assert [(one["label"], one["status"]) for one in findings] == [
        ("Cardiomegaly", "present"),
        ("Pleural Effusion", "absent"),
    ]
    (evidence,) = findings[1]["evidence"]
    assert reasoning[evidence["start"] : evidence["end"]] == "No effusion."
    reading = Reading.from_json(json.dumps(events[-1][1]))
    assert reading.reasoning == reasoning


def test_text_outside_of_tags_is_an_event_too(http, script):
    script.reply = "free text"
    events = read_events(post(http, stream="true"))
    assert [data["text"] for name, data in events if name == "other"] == ["free", " text"]


def test_a_film_sent_before(http, transport):
    digest = post(http).json()["film"]["image_digest"]
    assert post(http, None, image_digest=digest, prompt="More.").status_code == 200
    assert transport.requests[1].inputs[IMAGE_DIGEST.name] == digest.encode()
    assert post(http, None, image_digest="0" * 64).json()["error"]["param"] == "image_digest"


@pytest.mark.parametrize(
    ("film", "fields", "param"),
    [
        (None, {"stream": "false"}, "film"),
        (FILM, {"max_tokens": "many"}, "max_tokens"),
        (FILM, {"temperature": "CANARY"}, "temperature"),
        (FILM, {"stream": "maybe"}, "stream"),
        (FILM, {"image_digest": "0" * 64}, "film"),
        (FILM, {"colour": "CANARY"}, None),
        (FILM, {"CANARY": "x"}, None),
        (FILM, {"seed": "-1"}, "seed"),
    ],
)
def test_a_bad_form_is_refused(http, transport, film, fields, param):
    answer = post(http, film, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert "CANARY" not in answer.text
    assert not transport.requests


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", {"content-type": "application/json"}),
        (b"x", {"content-type": "multipart/form-data"}),
        (b"x", {"content-type": "multipart/form-data; boundary=b"}),
        (
            b"--b\r\nContent-Disposition: form-data\r\n\r\n",
            {"content-type": "multipart/form-data; boundary=b"},
        ),
    ],
)
def test_what_is_not_a_form_is_refused(http, body, headers):
    answer = http.post("/v1/readings", content=body, headers=headers)
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_two_films_are_refused(http):
    files = [("film", ("a", b"x")), ("film", ("b", b"y"))]
    assert http.post("/v1/readings", files=files).status_code == 400


def test_films_over_the_limit_are_refused(http, transport):
    assert post(http, bytes(2**20 + 1)).status_code == 413
    assert post(http, bytes(3 * 2**20)).status_code == 413
    assert not transport.requests
    assert post(http, FILM.ljust(2**20)).status_code == 200


def test_a_body_that_does_not_say_its_size_has_the_same_limit(http):
    def chunks():
        for _ in range(64):
            yield bytes(2**16)

    for path in ("/v1/chat/completions", "/v1/readings"):
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = http.post(path, content=chunks(), headers=headers)
        assert answer.status_code in (400, 413)  # not a form, or too long before that shows
    answer = http.post("/v1/chat/completions", content=chunks())
    assert answer.status_code == 413


def test_a_film_leaves_no_temporary_file(http, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a film was written to the disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    assert post(http, FILM.ljust(2**20)).status_code == 200


def test_errors_of_the_server(http, script):
    script.reply = CapacityError("busy: later")
    answer = post(http)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")
    assert int(answer.headers["retry-after"]) > 0
    # A stream has begun by then: the error is its last event.
    events = read_events(post(http, stream="true"))
    assert [name for name, _ in events] == ["queued", "error"]
    assert events[1][1]["error"]["code"] == "busy"


def test_an_error_in_mid_stream(http, script):
    def reply(_):
        yield "<think> The"
        raise GenerationError("a step failed")

    script.reply = reply
    names = [name for name, _ in read_events(post(http, stream="true"))]
    assert names == ["queued", "reasoning", "error"]


def test_leaving_a_stream_stops_the_generation(http, script):
    stopped = threading.Event()

    def reply(_):
        try:
            while True:
                yield "word "
                time.sleep(0.002)
        finally:
            stopped.set()

    script.reply = reply
    fields = {"stream": "true", "max_tokens": "1000000"}
    with http.stream("POST", "/v1/readings", data=fields, files={"film": FILM}) as answer:
        for number, _ in enumerate(answer.iter_bytes()):
            if number == 3:
                break
        assert not stopped.is_set()
    assert stopped.wait(2.0)


def test_health(http, transport, monkeypatch):
    assert http.get("/health").json() == {"status": "ok"}
    monkeypatch.setattr(transport, "is_ready", lambda timeout_s: False)
    assert http.get("/health").status_code == 503


def test_metrics_count_answers_without_content(http):
    post(http)
    post(http, max_tokens="many")
    text = http.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['cxr_gateway_requests_total{route="/v1/readings",status="200"}']) >= 1
    assert float(values['cxr_gateway_requests_total{route="/v1/readings",status="400"}']) >= 1
    assert float(values['cxr_gateway_request_seconds_count{route="/v1/readings"}']) >= 2
    http.get("/CANARY")
    assert "CANARY" not in http.get("/metrics").text


def test_the_page_and_its_policy(http):
    answer = http.get("/")
    assert "Films" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "script-src 'self';" in policy and "worker-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert http.get("/assets/a.js").text == "1"


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt"]
)
def test_nothing_beside_the_page_is_served(http, path):
    answer = http.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_unknown_routes_answer_with_the_error_object(http):
    for answer in (http.get("/v1/none"), http.get("/v1/readings"), http.post("/v1/none")):
        assert answer.status_code in (404, 405)
        assert answer.json()["error"]["message"]


def test_without_a_page_none_is_served(tmp_path):
    with running_gateway(MockTransport(), page=tmp_path) as gateway:
        answer = httpx.get(f"{gateway.url}/")
        assert answer.status_code == 404
        assert answer.json()["error"]

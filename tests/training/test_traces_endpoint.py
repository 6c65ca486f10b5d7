"""The endpoint writer, against a small HTTP server that stands in for a language model's.

A stand-in, because what is tested is what the writer does with a reply, not what a model writes:
good and bad text, HTTP errors, delays, and replies that are no chat completion.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cxr_reason.errors import RequestTimeoutError, ServerError, ServerUnavailableError
from cxr_reason.training.traces import TraceError, check_trace, facts_of_report, write_trace
from cxr_reason.training.traces.endpoint import TraceRewriter

REPORT = "Moderate left pleural effusion. No pneumothorax. Possible right lower lobe pneumonia."
FACTS = facts_of_report(REPORT)
GOOD = write_trace(FACTS, 3)
BAD = GOOD.replace("In summary", "There is pulmonary edema. In summary")

# Status, media type, body; a number is a delay in seconds before a good reply.
Reply = tuple[int, str, str] | float


class StandIn(ThreadingHTTPServer):
    """Answers each request with the next of `replies`, the last one again and again."""

    daemon_threads = True

    def __init__(self, replies: list[Reply]) -> None:
        self.replies = replies
        self.requests: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append({"path": self.path, **json.loads(body)})
        num_seen = len(self.server.requests)
        reply = self.server.replies[min(num_seen, len(self.server.replies)) - 1]
        if isinstance(reply, float):
            time.sleep(reply)
            reply = said(GOOD)
        status, media_type, text = reply
        try:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client gave up, as it should

    def log_message(self, format: str, *args: object) -> None:
        pass


def said(content: str | None) -> tuple[int, str, str]:
    """Return the reply of a model that wrote this."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": content},
    }
    completion = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "stand-in",
        "choices": [choice],
    }
    return 200, "application/json", json.dumps(completion)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    server = StandIn([])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def rewrite(server: StandIn, *replies: Reply, **options: Any) -> str:
    server.replies = [*replies]
    with TraceRewriter(server.url, "key", "a-model", **{"max_retries": 0, **options}) as rewriter:
        return rewriter.rewrite(REPORT)


def test_a_good_trace_is_returned(stand_in: StandIn) -> None:
    assert rewrite(stand_in, said(f"\n{GOOD}\n")) == GOOD
    request = stand_in.requests[0]
    assert request["path"] == "/v1/chat/completions"
    assert request["model"] == "a-model"


def test_the_prompt_teaches_the_form_with_a_good_example(stand_in: StandIn) -> None:
    rewrite(stand_in, said(GOOD))
    system, example, example_trace, task = stand_in.requests[0]["messages"]
    assert [system["role"], example["role"], example_trace["role"], task["role"]] == [
        *("system", "user", "assistant", "user")
    ]
    assert "<think> reasoning </think>\n<answer>" in system["content"]
    report = example["content"].split("\n")[1]
    check_trace(example_trace["content"], facts_of_report(report))
    assert REPORT in task["content"]
    assert "- Pleural Effusion: present, left\n" in task["content"]
    assert "- Pneumonia: uncertain, right lower\n" in task["content"]
    assert task["content"].endswith("Answer: Pleural Effusion")


def test_a_bad_trace_goes_back_with_the_complaint(stand_in: StandIn) -> None:
    assert rewrite(stand_in, said(BAD), said(GOOD)) == GOOD
    *_, answer, complaint = stand_in.requests[1]["messages"]
    assert answer == {"role": "assistant", "content": BAD}
    assert "Edema is unknown but present stated" in complaint["content"]


@pytest.mark.parametrize("content", [BAD, "I cannot read films.", "", None, "<think> <answer>"])
def test_attempts_are_bounded(stand_in: StandIn, content: str | None) -> None:
    with pytest.raises(TraceError, match="none of 2 attempts passed; the last: trace: "):
        rewrite(stand_in, said(content), max_attempts=2)
    assert len(stand_in.requests) == 2


def test_a_slow_endpoint(stand_in: StandIn) -> None:
    # Far more than the limit, so that a busy machine decides nothing.
    with pytest.raises(RequestTimeoutError, match=r"no reply in 0\.2 s"):
        rewrite(stand_in, 1.5, timeout_s=0.2)


def test_a_failing_endpoint(stand_in: StandIn) -> None:
    failure = 500, "application/json", json.dumps({"error": {"message": REPORT}})
    with pytest.raises(ServerUnavailableError, match="HTTP status 500") as caught:
        rewrite(stand_in, failure)
    assert REPORT not in str(caught.value)
    assert caught.value.__suppress_context__, "the reply must not show in a traceback"


def test_the_library_tries_again(stand_in: StandIn) -> None:
    failure = 503, "application/json", "{}"
    assert rewrite(stand_in, failure, said(GOOD), max_retries=1) == GOOD
    assert len(stand_in.requests) == 2


def test_a_refused_request(stand_in: StandIn) -> None:
    with pytest.raises(ServerError, match="HTTP status 401") as caught:
        rewrite(stand_in, (401, "application/json", "{}"))
    assert not isinstance(caught.value, ServerUnavailableError)


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("text/html", "<html>a login page</html>"),
        ("application/json", "not JSON"),
        ("application/json", "[]"),
        ("application/json", "{}"),
        ("application/json", '{"choices": []}'),
        ("application/json", '{"choices": [{"message": null}]}'),
        ("application/json", '{"choices": 7}'),
    ],
)
def test_no_chat_completion(stand_in: StandIn, media_type: str, body: str) -> None:
    with pytest.raises(ServerError, match="not a chat completion"):
        rewrite(stand_in, (200, media_type, body))


def test_no_endpoint() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"  # bound, but nothing listens
        with (
            TraceRewriter(url, "key", "a-model", max_retries=0) as rewriter,
            pytest.raises(ServerUnavailableError, match="cannot be reached"),
        ):
            rewriter.rewrite(REPORT)


def test_a_report_without_an_answer_is_not_sent(stand_in: StandIn) -> None:
    with (
        TraceRewriter(stand_in.url, "key", "a-model") as rewriter,
        pytest.raises(TraceError, match="no answer follows"),
    ):
        rewriter.rewrite("Emphysema.")
    assert stand_in.requests == []

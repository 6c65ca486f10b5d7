"""HTTP servers that do not stop when they are asked to."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cxr_reason.client import Client, TextEvent
from cxr_reason.contract import CANCEL_PARAMETER
from cxr_reason.errors import RequestCancelledError as Cancelled
from cxr_reason.errors import RequestTimeoutError, ServerError, to_wire

FILM = b"\x89PNG\r\n\x1a\n a film"


class _Endless(BaseHTTPRequestHandler):
    """Generates until it has received enough stop messages, or its caller is gone."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        if CANCEL_PARAMETER in body:
            self.server.stops.append(body["id"])
            return
        try:
            while len(self.server.stops) < self.server.num_needed:
                self._send({"text": "word ", "finish_reason": "", "reading": ""})
                time.sleep(0.005)
            self._send({"error": to_wire(Cancelled("the caller cancelled the request"))})
        except OSError:
            self.server.was_cut_off.set()

    def _send(self, fields):
        self.wfile.write(b"data: " + json.dumps(fields).encode() + b"\n\n")

    def log_message(self, *_):
        pass


@pytest.fixture
def endless():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endless)
    server.stops, server.num_needed, server.was_cut_off = [], 1, threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.num_needed = 0
    server.shutdown()
    thread.join()
    server.server_close()


def connect(server):
    return Client(f"http://127.0.0.1:{server.server_port}")


@pytest.mark.parametrize("num_needed", [1, 3])
def test_a_stop_that_overtook_its_request_is_sent_again(endless, num_needed):
    endless.num_needed = num_needed
    with connect(endless) as client, pytest.raises(RequestTimeoutError):
        client.read(FILM, timeout_s=0.1, request_id="mine")
    assert endless.stops == ["mine"] * num_needed
    assert not endless.was_cut_off.is_set()


def test_closing_a_stream_sends_it_again_too(endless):
    endless.num_needed = 2
    with connect(endless) as client:
        events = client.stream(FILM)
        next(event for event in events if isinstance(event, TextEvent))
        events.close()
    assert len(endless.stops) == 2


def test_a_server_that_does_not_stop_is_cut_off(endless, monkeypatch):
    monkeypatch.setattr("cxr_reason.client.http_transport.GRACE_S", 0.3)
    endless.num_needed = 10**6
    with connect(endless) as client, pytest.raises(RequestTimeoutError):
        client.read(FILM, timeout_s=0.1)
    assert endless.was_cut_off.wait(5.0)


def test_a_server_that_is_not_a_cxr_reason_server(endless):
    class _Other(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(b"data: hello\n\n")

        def log_message(self, *_):
            pass

    endless.RequestHandlerClass = _Other
    for endless.status in (200, 404):
        with connect(endless) as client, pytest.raises(ServerError, match="its HTTP address"):
            client.read(FILM)

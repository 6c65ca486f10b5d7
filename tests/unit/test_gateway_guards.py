"""Keys, rates, remote images, the config file, and what is never written to a log."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address

import httpx2 as httpx
import openai
import pytest
from support.gateway_service import running_gateway

from cxr_reason.client import MockTransport
from cxr_reason.contract import IMAGE
from cxr_reason.errors import BadRequestError, GenerationError, ServerError
from cxr_reason.film.source import PNG_START
from cxr_reason.gateway import remote
from cxr_reason.gateway.admission import Admission
from cxr_reason.gateway.api_errors import ApiError
from cxr_reason.gateway.config import GatewayConfig, Key, Limits, read_config
from cxr_reason.gateway.service import GatewayService

SECRET = "a-long-random-key"
KEYS = (Key("ward", hashlib.sha256(SECRET.encode()).hexdigest()),)
CANARY = "JaneCanary"
MESSAGES = [{"role": "user", "content": "Hi"}]


def ask(gateway, messages=None, *, key="any", **settings):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
        answer = client.chat.completions.create(
            model="cxr-reason", messages=messages or MESSAGES, **settings
        )
        return list(answer) if settings.get("stream") else answer


def ask_about(url):
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "x"}]
    return [{"role": "user", "content": content}]


def test_a_wrong_key_is_refused_everywhere_under_v1():
    transport = MockTransport()
    with running_gateway(transport, GatewayConfig(keys=KEYS)) as gateway:
        for key in ("wrong", SECRET + "x", KEYS[0].sha256):
            with pytest.raises(openai.AuthenticationError) as caught:
                ask(gateway, key=key)
            assert caught.value.code == "invalid_api_key"
        for headers in ({}, {"authorization": SECRET}, {"authorization": f"Basic {SECRET}"}):
            assert httpx.get(f"{gateway.url}/v1/models", headers=headers).status_code == 401
            answer = httpx.post(f"{gateway.url}/v1/readings", files={"film": b"x"}, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert not transport.requests
        assert ask(gateway, key=SECRET).choices
        assert httpx.get(f"{gateway.url}/health").status_code == 200


def test_a_caller_over_the_rate_limit_is_told_when_to_retry():
    with running_gateway(
        MockTransport(), GatewayConfig(limits=Limits(requests_per_minute=2))
    ) as gateway:
        for _ in range(2):
            ask(gateway)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(gateway)
        assert caught.value.code == "rate_limit_exceeded"
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 30
        assert httpx.get(f"{gateway.url}/v1/models").status_code == 200, "looking costs nothing"


def test_the_rate_limit_recovers_with_time_and_each_caller_has_its_own():
    now_s = 0.0
    limits = Limits(requests_per_minute=6)
    guard = Admission(None, GatewayConfig(limits=limits), clock=lambda: now_s)
    for _ in range(6):
        guard._take("one")
    with pytest.raises(ApiError):
        guard._take("one")
    guard._take("other")
    now_s = 10.0  # a sixth of a minute
    guard._take("one")
    with pytest.raises(ApiError) as caught:
        guard._take("one")
    assert caught.value.headers["Retry-After"] == "10"
    now_s = 1e6
    for _ in range(6):
        guard._take("one")
    with pytest.raises(ApiError):
        guard._take("one")


def test_one_request_too_many_at_a_time_is_busy():
    release = threading.Event()

    def reply(_):
        release.wait(10)
        return "x"

    transport = MockTransport(reply)
    with running_gateway(transport, GatewayConfig(limits=Limits(max_in_flight=1))) as gateway:
        first = threading.Thread(target=ask, args=(gateway,))
        first.start()
        while not transport.requests:
            time.sleep(0.01)
        with pytest.raises(openai.InternalServerError) as caught:
            ask(gateway)
        assert (caught.value.status_code, caught.value.code) == (503, "busy")
        release.set()
        first.join()
        assert ask(gateway).choices


class _Films(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/film.png?x=1")
            self.end_headers()
            return
        body = (
            bytes(2 * 2**20)
            if self.path == "/large"
            else PNG_START + b"film of " + self.path.encode()
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the reader may have had enough
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def films():
    server = HTTPServer(("127.0.0.1", 0), _Films)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_remote_images_of_allowed_hosts_only(films, monkeypatch):
    transport = MockTransport()
    config = GatewayConfig(
        allowed_image_hosts=(f"localhost:{films}",), limits=Limits(max_film_mib=1)
    )
    with running_gateway(transport, config) as gateway:
        url = f"http://localhost:{films}"
        with pytest.raises(openai.BadRequestError, match="not public"):
            ask(gateway, ask_about(f"{url}/film.png"))
        # The test's own server has no public address.
        monkeypatch.setattr(remote, "is_public", lambda _: True)
        ask(gateway, ask_about(f"{url}/film.png?x=1"))
        assert transport.requests[0].inputs[IMAGE.name] == PNG_START + b"film of /film.png?x=1"
        for path, what in (("/moved", "redirects are not followed"), ("/large", "1048576 bytes")):
            with pytest.raises(openai.APIStatusError, match=what):
                ask(gateway, ask_about(url + path))
        for other in (
            "http://localhost/film.png",
            f"http://127.0.0.1:{films}/film.png",
            f"http://user@127.0.0.1:{films}/film.png",
            f"ftp://localhost:{films}/film.png",
            f"http://localhost:{films + 1}/film.png",
            f"http://localhost:{films}@evil.example/film.png",
            "http://localhost:99999/film.png",
        ):
            with pytest.raises(openai.BadRequestError) as caught:
                ask(gateway, ask_about(other))
            assert caught.value.code == "invalid_image_url"
        assert len(transport.requests) == 1


def test_the_checked_address_is_the_one_connected_to(films, monkeypatch):
    """A name that resolves to another address the second time is not connected to."""
    answers = iter([[(2, 1, 6, "", ("127.0.0.1", films))]])

    def resolve_once(*_, **__):
        return next(answers)

    real = socket.create_connection
    connected = []

    def connect(address, *arguments):
        connected.append(address)
        monkeypatch.undo()
        return real(address, *arguments)

    monkeypatch.setattr(remote, "is_public", lambda _: True)
    monkeypatch.setattr(socket, "getaddrinfo", resolve_once)
    monkeypatch.setattr(socket, "create_connection", connect)
    body = remote._get(remote.urlsplit("http://films.example/a"), "films.example", films, 1000)
    assert body == PNG_START + b"film of /a"
    assert connected == [("127.0.0.1", films)]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_public_addresses(address, public):
    assert remote.is_public(ip_address(address)) is public


def test_a_host_with_one_private_address_is_refused(monkeypatch):
    found = [(2, 1, 6, "", (address, 80)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ApiError, match="not public"):
        remote.resolve("both.example", 80)


def test_nothing_of_a_request_stands_in_a_log(caplog, monkeypatch, capfd):
    caplog.set_level(logging.DEBUG)

    def reply(request):
        prompt = request.inputs["prompt"].decode()
        if "refused" in prompt:
            raise GenerationError("a step failed")
        if "broken" in prompt:
            raise RuntimeError(prompt)
        return f"<think> {CANARY} </think>"

    with running_gateway(MockTransport(reply), GatewayConfig(keys=KEYS)) as gateway:
        film = PNG_START + CANARY.encode() * 100
        url = f"data:application/dicom;base64,{base64.b64encode(film).decode()}"
        for text in ("fine", "refused", "broken"):
            for stream in (False, True):
                messages = [*ask_about(url), {"role": "user", "content": f"{CANARY} {text}"}]
                try:
                    assert ask(gateway, messages, key=SECRET, stream=stream)
                except openai.APIError:
                    assert text != "fine"
        # A fault of the gateway itself.
        monkeypatch.setattr(
            "cxr_reason.gateway.app.parse_chat", lambda *_, **__: {}[f"fault with {CANARY}"]
        )
        with pytest.raises(openai.InternalServerError) as caught:
            ask(gateway, key=SECRET)
        assert caught.value.code == "internal"
        assert CANARY not in caught.value.message
        headers = {"authorization": f"Bearer {SECRET}", "x-request-id": CANARY}
        for path in (f"/{CANARY}", f"/v1/models/{CANARY}", f"/v1/readings?name={CANARY}"):
            httpx.get(gateway.url + path, headers=headers)
            httpx.post(
                gateway.url + path, headers=headers, files={CANARY: (CANARY, CANARY.encode())}
            )
        with socket.create_connection(gateway._socket.getsockname()) as broken:
            broken.sendall(f"{CANARY} {CANARY}\r\n\r\n".encode())
            broken.recv(1000)
    # The callers' own libraries are in this process, and log what they send.
    lines = [
        record.getMessage() + str(record.exc_text or "")
        for record in caplog.records
        if not record.name.startswith(("openai", "httpx", "httpcore"))
    ]
    log = "\n".join([*lines, *capfd.readouterr()])
    assert "KeyError" in log, "the place of a fault is there"
    assert "status 200" in log
    for secret in (CANARY, base64.b64encode(CANARY.encode()).decode()[:10], SECRET):
        assert secret not in log


CONFIG = f"""
model = "reader"
timeout_s = 30
allowed_image_hosts = ["films.example:8443"]

[limits]
max_film_mib = 8

[[keys]]
name = "ward"
sha256 = "{KEYS[0].sha256}"
"""


def test_a_config_file(tmp_path):
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    assert read_config(path) == GatewayConfig(
        keys=KEYS,
        limits=Limits(max_film_mib=8),
        model="reader",
        timeout_s=30,
        allowed_image_hosts=("films.example:8443",),
    )
    path.write_text("")
    assert read_config(path) == GatewayConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = ", "TOML"),
        ("modell = 'x'", "takes keys, limits"),
        ("[limits]\nmax_film = 3", "Limits takes"),
        ("[limits]\nmax_film_mib = 0", "max_film_mib must be"),
        ("[limits]\nmax_film_mib = true", "max_film_mib must be"),
        ("limits = 3", "Limits takes"),
        ("[[keys]]\nname = 'x'", "Key needs name, sha256"),
        (f"[[keys]]\nname = 'x'\nsha256 = '{SECRET}'", "64 lower-case"),
        ("keys = 'x'", "must be lists"),
        ("allowed_image_hosts = ['http://a']", "allowed_image_hosts"),
        ("allowed_image_hosts = 'a'", "must be lists"),
        ("timeout_s = 0", "timeout_s"),
        ("allow_anonymous = 1", "allow_anonymous"),
        ("model = ''", "model"),
    ],
)
def test_an_invalid_config_is_refused(tmp_path, text, message):
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    with pytest.raises(BadRequestError, match=message):
        read_config(path)


def test_a_missing_config_is_refused(tmp_path):
    with pytest.raises(BadRequestError, match="cannot be read"):
        read_config(tmp_path / "none.toml")


def test_listening_beyond_this_machine_needs_keys():
    for host in ("127.0.0.1", "localhost", "::1"):
        GatewayConfig().check_host(host)
    for host in ("0.0.0.0", "::", "192.168.0.3"):
        with pytest.raises(BadRequestError, match="no keys"):
            GatewayConfig().check_host(host)
        GatewayConfig(keys=KEYS).check_host(host)
        GatewayConfig(allow_anonymous=True).check_host(host)
    with pytest.raises(BadRequestError), running_gateway(MockTransport(), host="0.0.0.0"):
        pass


def test_a_port_that_is_taken_is_reported():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServerError, match="another --port"):
            GatewayService.for_server(
                "127.0.0.1:1", GatewayConfig(), host="127.0.0.1", port=taken.getsockname()[1]
            )


def test_tokens_are_not_held_back_to_fill_packets():
    """Asyncio turns Nagle's algorithm off only on sockets that name TCP as their protocol."""
    with running_gateway(MockTransport()) as gateway:
        assert gateway._socket.proto == socket.IPPROTO_TCP


def test_a_large_body_does_not_stop_the_other_callers():
    with running_gateway(MockTransport()) as gateway:
        url = f"data:image/png;base64,{base64.b64encode(PNG_START.ljust(40 * 2**20)).decode()}"
        body = json.dumps({"model": "cxr-reason", "messages": ask_about(url)})
        done = threading.Event()

        def send():
            httpx.post(f"{gateway.url}/v1/chat/completions", content=body, timeout=60)
            done.set()

        thread = threading.Thread(target=send)
        thread.start()
        num_answers = 0
        while not done.is_set():
            assert httpx.get(f"{gateway.url}/health", timeout=5).status_code == 200
            num_answers += 1
        thread.join()
        assert num_answers > 1

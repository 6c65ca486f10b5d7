"""Requests over HTTP: Triton's `generate_stream`, for networks that let no gRPC through."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from cxr_reason.client.exchange import GRACE_S, Exchange
from cxr_reason.client.transport import Call, Deliver, Request, Response, Transport, Value
from cxr_reason.contract import (
    CANCEL_PARAMETER,
    FINISH_REASON,
    IMAGE,
    PROMPT,
    READING,
    REASON_MODEL,
    TEXT,
)
from cxr_reason.errors import (
    BadRequestError,
    ServerError,
    ServerUnavailableError,
    from_wire,
)

_GENERATE = f"/v2/models/{REASON_MODEL.name}/generate_stream"
_STOP_INTERVAL_S = 0.2
_READY = f"/v2/models/{REASON_MODEL.name}/ready"


class HttpTransport(Transport):
    """Talks to Triton's HTTP service, a connection for each request.

    Args:
        url: "http://host:port", or https; a path is put before Triton's.

    Raises:
        BadRequestError: The address is not such a URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise BadRequestError("address: must be http://host:port or https://host:port")
        self._url = url.rstrip("/")
        self._is_secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._live: set[_HttpExchange] = set()

    @property
    def address(self) -> str:
        """See `Transport`."""
        return self._url

    def start(self, request: Request, deliver: Deliver) -> Call:
        """See `Transport`."""
        exchange = _HttpExchange(self, request, deliver)
        self._live.add(exchange)
        exchange.begin()
        return exchange

    def is_ready(self, timeout_s: float) -> bool:
        """See `Transport`."""
        connection = self.connect(timeout_s)
        try:
            connection.request("GET", self._path + _READY)
            with connection.getresponse() as answer:
                return answer.status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def close(self) -> None:
        """See `Transport`."""
        for exchange in list(self._live):
            exchange.stop()

    def connect(self, timeout_s: float) -> HTTPConnection:
        """Return a connection that gives up when nothing comes for `timeout_s` seconds."""
        connect = HTTPSConnection if self._is_secure else HTTPConnection
        return connect(self._host, self._port, timeout=timeout_s)

    def post(self, connection: HTTPConnection, body: Mapping[str, Any]) -> HTTPResponse:
        """Post to the model `reason`."""
        headers = {"Content-Type": "application/json"}
        connection.request("POST", self._path + _GENERATE, json.dumps(body), headers)
        return connection.getresponse()

    def forget(self, exchange: _HttpExchange) -> None:
        """Note that an exchange has ended."""
        self._live.discard(exchange)


class _HttpExchange(Exchange):
    def __init__(self, transport: HttpTransport, request: Request, deliver: Deliver) -> None:
        super().__init__(transport.address, request, deliver)
        self._transport = transport
        self._connection = transport.connect(request.timeout_s + GRACE_S)
        self._socket: socket.socket | None = None

    def begin(self) -> None:
        self._start()
        threading.Thread(target=self._watch, name="exchange stop", daemon=True).start()

    def abandon(self) -> None:
        # Kept apart: the connection forgets a socket that its response will close.
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads

    def _watch(self) -> None:
        if not self._is_stop_due():
            return
        # Another connection may overtake the request, whose film is large: the server has then
        # nothing to stop yet. So the message is repeated until the request ends.
        deadline_s = time.monotonic() + GRACE_S
        while not self._finished.is_set() and time.monotonic() < deadline_s:
            self._send_stop()
            self._finished.wait(_STOP_INTERVAL_S)
        if not self._finished.is_set():
            self.abandon()

    def _send_stop(self) -> None:
        body = {PROMPT.name: "", "id": self._request.id, CANCEL_PARAMETER: True}
        connection = self._transport.connect(GRACE_S)
        with contextlib.suppress(OSError, HTTPException), contextlib.closing(connection):
            self._transport.post(connection, body).read()

    def _responses(self) -> Iterator[Response]:
        inputs = {name: _as_json(name, value) for name, value in self._request.inputs.items()}
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            answer = self._transport.post(self._connection, {"id": self._request.id, **inputs})
            with answer:
                if answer.status != 200:
                    raise from_wire(_read_error(answer.read(), answer.status))
                for line in answer:
                    if line.startswith(b"data:"):
                        yield _read_response(line[len(b"data:") :])
            if self._is_timed_out and not self._finished.is_set():
                raise self._timeout()
        except TimeoutError as error:
            raise self._timeout() from error
        except (OSError, HTTPException) as error:
            if self._is_timed_out:
                raise self._timeout() from error
            raise ServerUnavailableError(
                f"server {self._address}: cannot be reached or went away; "
                "is it running (`cxr-reason serve`) and is this its HTTP address?"
            ) from error
        finally:
            self._connection.close()
            self._transport.forget(self)


def _as_json(name: str, value: Value) -> str | int | float:
    if not isinstance(value, bytes):
        return value
    if name == IMAGE.name:
        return f"data:;base64,{base64.b64encode(value).decode()}"
    return value.decode()


def _read_response(data: bytes) -> Response:
    try:
        fields = json.loads(data)
        if "error" in fields:
            raise from_wire(str(fields["error"]))
        return Response(
            fields[TEXT.name], fields[FINISH_REASON.name], fields[READING.name].encode()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServerError(
            "the answer is not one of a cxr-reason server; is this its HTTP address?"
        ) from error


def _read_error(body: bytes, status: int) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        # Triton sends the error of a stream as one of its events.
        return str(json.loads(body.removeprefix(b"data:"))["error"])
    return f"HTTP status {status}; is this its HTTP address?"

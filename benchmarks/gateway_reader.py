"""A gateway in this process in front of the server, and one request to it."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from cxr_reason.benchmarks.serving_readers import TIMEOUT_S, Answer
from cxr_reason.film.source import hash_film
from cxr_reason.gateway.config import GatewayConfig, Limits
from cxr_reason.gateway.service import GatewayService


@contextmanager
def running_gateway(server: str) -> Iterator[GatewayReader]:
    """Start a gateway without limits that a benchmark would meet, and stop it at the end."""
    limits = Limits(requests_per_minute=10**6, max_in_flight=1024)
    config = GatewayConfig(timeout_s=TIMEOUT_S, limits=limits)
    service = GatewayService.for_server(server, config, host="127.0.0.1", port=0)
    with service.in_background() as url:
        yield GatewayReader(url.removeprefix("http://"))


class GatewayReader:
    """Posts films to `/v1/readings`.

    Args:
        address: "host:port" of the gateway.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def read(self, film: bytes, max_tokens: int) -> Answer:
        """Read one film; the time to the first token is that to the first event with text."""
        return self._read({"max_tokens": str(max_tokens)}, film)

    def read_again(self, film: bytes, max_tokens: int) -> Answer:
        """Read a film that the server holds, by its digest."""
        fields = {"max_tokens": str(max_tokens), "image_digest": hash_film(film)}
        return self._read(fields, None)

    def _read(self, fields: dict[str, str], film: bytes | None) -> Answer:
        boundary = uuid.uuid4().hex
        body = _make_form(boundary, film, {**fields, "stream": "true"})
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        start_s = time.perf_counter()
        first_s = None
        event = ""
        try:
            connection.request("POST", "/v1/readings", body, headers)
            for line in connection.getresponse():
                name, _, value = line.decode().rstrip("\r\n").partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and event in ("reasoning", "answer", "other"):
                    first_s = first_s or time.perf_counter()
                elif name == "data" and event == "done":
                    end_s = time.perf_counter()
                    reading = json.loads(value)
                    return Answer(
                        reading["text"],
                        reading["usage"]["completion_tokens"],
                        (first_s or end_s) - start_s,
                        end_s - start_s,
                    )
        except OSError:
            pass
        finally:
            connection.close()
        return Answer("", 0, 0.0, time.perf_counter() - start_s, event or "unavailable")


def _make_form(boundary: str, film: bytes | None, fields: dict[str, str]) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if film is not None:
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="film"; filename="film"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode()
            + film
            + b"\r\n"
        )
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])

"""One request, timed: to the engine in this process, and to a server through the client."""

from __future__ import annotations

import base64
import http.client
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_reason.client import Client, DoneEvent, SentFilm, TextEvent
from cxr_reason.client.open_transport import open_transport
from cxr_reason.client.transport import Call, Deliver, Delivery, Request, Response, Transport
from cxr_reason.contract import ENSEMBLE, IMAGE, PROMPT, READING, TEXT
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.registry import load_engine
from cxr_reason.errors import CxrError
from cxr_reason.film.source import hash_film
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt
from cxr_reason.reader.cancellation import Cancellation
from cxr_reason.reader.encoder import FilmEncoder
from cxr_reason.reader.film_cache import FilmCache
from cxr_reason.reader.reader import Reader
from cxr_reason.reader.request import ReadRequest
from cxr_reason.reading.reading import Reading
from cxr_reason.settings import ReadingSettings

TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Answer:
    """The result of one request.

    Attributes:
        text: All of it; empty if it failed.
        tokens: Generated.
        time_to_first_token_s: To the first text.
        end_to_end_s: To the reading.
        error: Code of the error; empty without one.
    """

    text: str
    tokens: int
    time_to_first_token_s: float
    end_to_end_s: float
    error: str = ""


Read = Callable[[bytes, int], Answer]


class DirectReader:
    """Asks the engine in this process, by the code that the server runs: all but Triton.

    Args:
        folder: The engine.
        config: How it runs.
        film_cache_mib: Memory for encoded films; 0 encodes each anew.
    """

    def __init__(self, folder: Path, config: EngineConfig, film_cache_mib: int) -> None:
        self._engine = load_engine(folder, config)
        self._encode = FilmEncoder(self._engine)
        self._film_cache_mib = film_cache_mib
        self.reset()

    def reset(self, film_cache_mib: int | None = None) -> None:
        """Forget all films, and keep as many from now on."""
        size_mib = self._film_cache_mib if film_cache_mib is None else film_cache_mib
        self._reader = Reader(self._engine, self._encode, FilmCache(size_mib * 2**20))

    def read(self, film: bytes, max_tokens: int) -> Answer:
        """Read one film."""
        return self._read(max_tokens, image=film)

    def read_again(self, film: bytes, max_tokens: int) -> Answer:
        """Read a film that was read before, named by its digest."""
        return self._read(max_tokens, image_digest=hash_film(film))

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def _read(self, max_tokens: int, **film: Any) -> Answer:
        request = ReadRequest(
            parse_prompt(FIND_ABNORMALITIES), ReadingSettings(max_tokens=max_tokens), **film
        )
        start_s = time.perf_counter()
        first_s = None
        for part in self._reader.answer(request, Cancellation(), lambda _: None):
            if first_s is None and part.text:
                first_s = time.perf_counter()
            if part.reading is not None:
                return _finish(start_s, first_s, part.reading)
        raise AssertionError("an answer ends with a reading")


class ServerReader:
    """Asks a server through the client.

    Args:
        address: "host:port" of gRPC.
    """

    def __init__(self, address: str) -> None:
        self._transport = _TimedTransport(open_transport(address))
        # A refusal of the server is an error here, not a reason to retry.
        self._client = Client(max_retries=0, timeout_s=TIMEOUT_S, transport=self._transport)

    def read(self, film: bytes, max_tokens: int) -> Answer:
        """Read one film."""
        return self._read(film, max_tokens)

    def read_again(self, film: bytes, max_tokens: int) -> Answer:
        """Read a film that was read before, named by its digest: its file is not sent."""
        return self._read(SentFilm(hash_film(film)), max_tokens)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _read(self, film: bytes | SentFilm, max_tokens: int) -> Answer:
        name = uuid.uuid4().hex
        start_s = time.perf_counter()
        try:
            reading = self._client.read(film, max_tokens=max_tokens, request_id=name)
        except CxrError as error:
            return Answer("", 0, 0.0, time.perf_counter() - start_s, error.code)
        return _finish(start_s, self._transport.first_text_s.pop(name, None), reading)


class EventReader(ServerReader):
    """The same, timed as the gateway can be: to the first event with text, after the first tag."""

    def _read(self, film: bytes | SentFilm, max_tokens: int) -> Answer:
        start_s = time.perf_counter()
        first_s = None
        try:
            for event in self._client.stream(film, max_tokens=max_tokens):
                if isinstance(event, TextEvent):
                    first_s = first_s or time.perf_counter()
                elif isinstance(event, DoneEvent):
                    return _finish(start_s, first_s, event.reading)
        except CxrError as error:
            return Answer("", 0, 0.0, time.perf_counter() - start_s, error.code)
        raise AssertionError("a stream ends with a DoneEvent or an error")


class _TimedTransport(Transport):
    """Notes when the first text of each request came, before the client holds any of it back."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.first_text_s: dict[str, float] = {}

    @property
    def address(self) -> str:
        return self._inner.address

    def start(self, request: Request, deliver: Deliver) -> Call:
        def note(delivery: Delivery) -> None:
            if isinstance(delivery, Response) and delivery.text:
                self.first_text_s.setdefault(request.id, time.perf_counter())
            deliver(delivery)

        return self._inner.start(request, note)

    def is_ready(self, timeout_s: float) -> bool:
        return self._inner.is_ready(timeout_s)

    def close(self) -> None:
        self._inner.close()


class EnsembleReader:
    """Asks the ensemble over HTTP, as callers without our client do.

    Args:
        address: "host:port" of HTTP.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def read(self, film: bytes, max_tokens: int) -> Answer:
        """Read one film."""
        body = {
            IMAGE.name: f"data:;base64,{base64.b64encode(film).decode()}",
            PROMPT.name: FIND_ABNORMALITIES,
            "max_tokens": max_tokens,
        }
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        start_s = time.perf_counter()
        first_s = None
        try:
            connection.request("POST", f"/v2/models/{ENSEMBLE}/generate_stream", json.dumps(body))
            for line in connection.getresponse():
                if not line.startswith(b"data:"):
                    continue
                response = json.loads(line.removeprefix(b"data:"))
                if first_s is None and response.get(TEXT.name):
                    first_s = time.perf_counter()
                if response.get(READING.name):
                    return _finish(start_s, first_s, Reading.from_json(response[READING.name]))
        except OSError:
            pass
        finally:
            connection.close()
        return Answer("", 0, 0.0, time.perf_counter() - start_s, "unavailable")


def _finish(start_s: float, first_s: float | None, reading: Reading) -> Answer:
    end_s = time.perf_counter()
    return Answer(
        reading.text,
        reading.usage.completion_tokens,
        (first_s or end_s) - start_s,
        end_s - start_s,
    )

"""The client: one film in, a stream of text and a reading out."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]
from tritonclient.grpc import service_pb2, service_pb2_grpc

from cxr_reason.client.events import DoneEvent, Event, TextEvent
from cxr_reason.client.exchange import Exchange
from cxr_reason.client.wire import make_request
from cxr_reason.contract import (
    FINISH_REASON,
    IMAGE,
    MAX_TOKENS,
    PROMPT,
    READING,
    REASON_MODEL,
    SEED,
    TEMPERATURE,
    TEXT,
    TOP_P,
)
from cxr_reason.errors import ServerUnavailableError, UnreadableImageError
from cxr_reason.prompts import FIND_ABNORMALITIES
from cxr_reason.reading import Reading
from cxr_reason.trace import SectionSplitter

DEFAULT_ADDRESS = "127.0.0.1:8001"
DEFAULT_TIMEOUT_S = 600.0  # 2,048 tokens of a 3B model on two CPU cores take about four minutes

# The server's own limits decide: gRPC's default of 4 MB is less than one film.
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


class Client:
    """Asks a cxr-reason server. Thread-safe; a context manager.

    Args:
        address: gRPC address of the server, "host:port".
        timeout_s: Seconds for one request, from sending the film to the last token.
    """

    def __init__(
        self, address: str = DEFAULT_ADDRESS, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def is_ready(self, *, timeout_s: float = 5.0) -> bool:
        """Return whether the server answers and its model `reason` is loaded."""
        request = service_pb2.ModelReadyRequest(name=REASON_MODEL.name)
        try:
            return bool(self._stub.ModelReady(request, timeout=timeout_s).ready)
        except grpc.RpcError:
            return False

    def read(
        self,
        image: str | os.PathLike[str] | bytes,
        *,
        prompt: str = FIND_ABNORMALITIES,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        timeout_s: float | None = None,
    ) -> Reading:
        """Read one film and return when the reading is complete.

        Args and errors are those of `stream`.
        """
        events = self.stream(
            image,
            prompt=prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            timeout_s=timeout_s,
        )
        for event in events:
            if isinstance(event, DoneEvent):
                return event.reading
        raise AssertionError("a stream ends with a DoneEvent or an error")

    def stream(
        self,
        image: str | os.PathLike[str] | bytes,
        *,
        prompt: str = FIND_ABNORMALITIES,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        timeout_s: float | None = None,
    ) -> Generator[Event, None, None]:
        """Read one film and yield the text as it is generated.

        Closing the generator, or an exception while iterating, cancels the request on the server.

        Args:
            image: Path of a DICOM, PNG or JPEG file, or its bytes.
            prompt: Plain text, or a JSON list of chat messages.
            max_tokens: Limit of generated tokens; None leaves this and the next three to the server.
            temperature: 0 is greedy.
            top_p: Nucleus probability, over 0 to 1.
            seed: Same seed, same text.
            timeout_s: Seconds for this request, instead of the client's.

        Returns:
            A generator of `TextEvent`, and one `DoneEvent` at the end.

        Raises:
            InputError: The film or an argument cannot be used; its subclasses say why.
            EngineError: The engine is busy (`CapacityError`) or failed.
            ServerError: Not reachable, no answer in time, or cancelled.
        """  # noqa: E501
        request = make_request(
            REASON_MODEL,
            {
                IMAGE.name: image if isinstance(image, bytes) else _read_file(Path(image)),
                PROMPT.name: prompt.encode(),
                MAX_TOKENS.name: max_tokens,
                TEMPERATURE.name: temperature,
                TOP_P.name: top_p,
                SEED.name: seed,
            },
        )
        return self._stream(request, self._timeout_s if timeout_s is None else timeout_s)

    def close(self) -> None:
        """Close the connection; requests under way are cancelled. Idempotent."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream(self, request: Any, timeout_s: float) -> Generator[Event, None, None]:
        exchange = Exchange(self._stub, self._address, request, timeout_s)
        splitter = SectionSplitter()
        try:
            for outputs in exchange:
                for section, text in splitter.feed(outputs[TEXT.name].decode()):
                    yield TextEvent(section, text)
                if outputs[FINISH_REASON.name]:
                    for section, text in splitter.flush():
                        yield TextEvent(section, text)
                    yield DoneEvent(Reading.from_json(outputs[READING.name]))
                    return
            raise ServerUnavailableError(
                f"server {self._address}: the stream ended before the reading; ask again"
            )
        finally:
            exchange.end()


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"image: cannot read {path}: {error.strerror}") from error

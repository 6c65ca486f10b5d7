"""Sends a request and delivers its responses as they arrive.

A transport pushes: it calls `deliver` from a thread of its own, so that the same transport serves
`Client`, which waits on a queue, and `AsyncClient`, which must never wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cxr_reason.errors import CxrError

Value: TypeAlias = bytes | int | float


@dataclass(frozen=True)
class Request:
    """One request to the model `reason`.

    Attributes:
        inputs: Values of `contract.REASON_MODEL` by name.
        id: Name of the request. Anyone who knows it can stop the request, so it must not be
            guessable.
        timeout_s: Seconds until the request is given up.
    """

    inputs: Mapping[str, Value]
    id: str
    timeout_s: float


@dataclass(frozen=True)
class Response:
    """One response of the model `reason`.

    Attributes:
        text: New text only, with its tags.
        finish_reason: "stop" or "length" in the last response; empty before.
        reading: JSON of the reading in the last response; empty before.
    """

    text: str
    finish_reason: str = ""
    reading: bytes = b""


Delivery: TypeAlias = Response | CxrError | None
Deliver: TypeAlias = Callable[[Delivery], None]


class Call(ABC):
    """A request under way."""

    @abstractmethod
    def stop(self) -> None:
        """Ask the server to end the request, if it is not finished. Returns at once; idempotent."""

    @abstractmethod
    def abandon(self) -> None:
        """Cut a stream off that did not end in time after `stop`. Idempotent."""


class Transport(ABC):
    """Carries requests to one server. Thread-safe."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The server, for messages."""

    @abstractmethod
    def start(self, request: Request, deliver: Deliver) -> Call:
        """Send a request and return at once.

        Args:
            request: The request.
            deliver: Called from another thread with each response; with one `CxrError` if the
                request fails: what the server reports, `RequestTimeoutError` when the time is
                over, `RequestCancelledError` when it was stopped, `ServerUnavailableError` when
                the server cannot be reached or goes away; and at the very end, once, with None.
        """

    @abstractmethod
    def is_ready(self, timeout_s: float) -> bool:
        """Return whether the server answers and its model `reason` is loaded."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; requests under way are cancelled. Idempotent."""

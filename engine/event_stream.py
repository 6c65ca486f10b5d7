"""Passes a generation's events from the engine's thread to its caller's thread."""

from __future__ import annotations

import queue
from collections.abc import Iterator

from cxr_reason.engine.base import FinishReason, Generation, TokenEvent
from cxr_reason.errors import CxrError


class EventStream(Generation):
    """A generation that its engine sends events to. Its caller iterates, on another thread."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[TokenEvent | CxrError] = queue.SimpleQueue()

    def send(self, event: TokenEvent) -> None:
        """Bring an event to the caller; one with a finish reason is the last."""
        self._events.put(event)

    def finish_cancelled(self) -> None:
        """End the caller's iteration after `cancel`."""
        self.send(TokenEvent("", -1, FinishReason.CANCELLED))

    def fail(self, error: CxrError) -> None:
        """End the caller's iteration with an error."""
        self._events.put(error)

    def __iter__(self) -> Iterator[TokenEvent]:
        """See `Generation`."""
        while True:
            event = self._events.get()
            if isinstance(event, CxrError):
                raise event
            yield event
            if event.finish_reason is not None:
                return

"""Watches requests for cancellation, also while they wait in the queue and produce no text.

Asking Triton whether a request is cancelled after its final response crashes the server (2.51, seen
under load): the request is gone by then. So `watch` ends before the final response is sent, and it
ends only when no question about the request is under way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cxr_reason.reader.cancellation import Cancellation

POLL_INTERVAL_S = 0.01


class _Question:
    """Whether one request is cancelled, asked only while it may be."""

    def __init__(self, is_cancelled: Callable[[], bool]) -> None:
        self._lock = threading.Lock()
        self._is_cancelled: Callable[[], bool] | None = is_cancelled

    def ask(self) -> bool:
        with self._lock:
            return self._is_cancelled is not None and self._is_cancelled()

    def withdraw(self) -> None:
        with self._lock:
            self._is_cancelled = None


class CancellationWatcher:
    """One thread that asks all live requests in turn whether their caller has gone."""

    def __init__(self, poll_interval_s: float = POLL_INTERVAL_S) -> None:
        self._poll_interval_s = poll_interval_s
        self._live: dict[Cancellation, _Question] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="cancellation", daemon=True)
        self._thread.start()

    @contextmanager
    def watch(self, cancellation: Cancellation, is_cancelled: Callable[[], bool]) -> Iterator[None]:
        """Watch one request inside the `with` block.

        Args:
            cancellation: Set when the caller has gone.
            is_cancelled: Asked every `poll_interval_s` seconds, and never after the block.
        """
        with self._changed:
            self._live[cancellation] = question = _Question(is_cancelled)
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._live[cancellation]
            question.withdraw()

    def close(self) -> None:
        """Stop the thread. Idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._live)
                if self._is_closed:
                    return
                live = list(self._live.items())
            for cancellation, question in live:
                if not cancellation.is_set and question.ask():
                    cancellation.set()
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, timeout=self._poll_interval_s)

"""Cancellation of a request whose caller has gone."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Cancellation:
    """Whether one request was cancelled, and what to do when it is. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._action: Callable[[], None] | None = None

    @property
    def is_set(self) -> bool:
        """Whether the request was cancelled."""
        return self._is_set

    def set(self) -> None:
        """Cancel the request. Idempotent."""
        with self._lock:
            is_first, self._is_set = not self._is_set, True
            action = self._action
        if is_first and action is not None:
            action()

    def on_set(self, action: Callable[[], None]) -> None:
        """Call `action` when the request is cancelled; at once if it was already."""
        with self._lock:
            self._action = action
            is_late = self._is_set
        if is_late:
            action()

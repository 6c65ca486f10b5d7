"""A thread for each request under way, and no more requests than there are places."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import CapacityError


class RequestThreads:
    """Runs requests, each on a thread of its own.

    Counted here and not only by the engine: a request that still waits for its film to be encoded
    has no place in the engine's queue yet.

    Args:
        config: Of the engine; what it decodes together and what may wait have places.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._capacity = config.max_batch + config.max_queue
        self._places = threading.BoundedSemaphore(self._capacity)
        self._threads = ThreadPoolExecutor(self._capacity, thread_name_prefix="request")

    def start(self, work: Callable[[], None]) -> None:
        """Run `work` on a thread and return at once.

        Raises:
            CapacityError: All places are taken, or this object is closed.
        """
        if not self._places.acquire(blocking=False):
            raise CapacityError(
                f"busy: {self._capacity} requests are under way, the most that are taken; "
                "try again later"
            )
        try:
            self._threads.submit(self._run, work)
        except RuntimeError:  # of a pool that is shut down
            self._places.release()
            raise CapacityError("engine: it is shutting down") from None

    def close(self) -> None:
        """Wait for the requests under way; new ones are refused. Idempotent."""
        self._threads.shutdown()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._places.release()

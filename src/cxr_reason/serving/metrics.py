"""Custom metrics on Triton's `/metrics` page."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cxr_reason.usage import Usage

STAGES = ("waiting", "generating")
CACHES = ("keys_and_values", "prefixes", "films")
OUTCOMES = ("stop", "length", "cancelled", "busy", "input_error", "error")

_SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]
_TOKENS_PER_SECOND = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]


class Metrics:
    """Counts what `reason` does. Thread-safe.

    Args:
        pb_utils: The module `triton_python_backend_utils`.
    """

    def __init__(self, pb_utils: Any) -> None:
        family = pb_utils.MetricFamily
        # Triton 2.51 crashes when two threads update metrics at once.
        self._lock = threading.Lock()
        # A family lives as long as its object: all are kept.
        self._families: list[Any] = []

        def add(name: str, description: str, kind: Any) -> Any:
            self._families.append(family(name=name, description=description, kind=kind))
            return self._families[-1]

        requests = add("cxr_requests_total", "Requests that ended, by outcome", family.COUNTER)
        self._outcomes = {name: requests.Metric(labels={"outcome": name}) for name in OUTCOMES}
        stages = add("cxr_requests", "Requests under way, by stage", family.GAUGE)
        self._stages = {name: stages.Metric(labels={"stage": name}) for name in STAGES}
        caches = add("cxr_cache_bytes", "Memory that each cache holds", family.GAUGE)
        self._caches = {name: caches.Metric(labels={"cache": name}) for name in CACHES}
        self._tokens = add("cxr_generated_tokens_total", "Generated tokens", family.COUNTER).Metric(
            labels={}
        )
        self._queue_s = add(
            "cxr_queue_seconds", "From the request to the start of prefill", family.HISTOGRAM
        ).Metric(labels={}, buckets=_SECONDS)
        self._first_token_s = add(
            "cxr_time_to_first_token_seconds",
            "From the request to its first token, encoding of the film left out",
            family.HISTOGRAM,
        ).Metric(labels={}, buckets=_SECONDS)
        self._tokens_per_second = add(
            "cxr_tokens_per_second", "Of one request, after its first token", family.HISTOGRAM
        ).Metric(labels={}, buckets=_TOKENS_PER_SECOND)

    @contextmanager
    def request(self) -> Iterator[RequestMetrics]:
        """Count one request inside the `with` block."""
        request = RequestMetrics(self)
        self.move_stage(None, "waiting")
        try:
            yield request
        finally:
            self.move_stage(request.stage, None)
            self.count(request.outcome)

    def count(self, outcome: str) -> None:
        """Count a request that ended."""
        with self._lock:
            self._outcomes[outcome].increment(1)

    def move_stage(self, old: str | None, new: str | None) -> None:
        """Count one request from a stage of `STAGES` to another; None is outside."""
        with self._lock:
            if old is not None:
                self._stages[old].increment(-1)
            if new is not None:
                self._stages[new].increment(1)

    def record_caches(self, sizes: Mapping[str, int]) -> None:
        """Note the memory of caches of `CACHES`."""
        with self._lock:
            for name, size_bytes in sizes.items():
                self._caches[name].set(size_bytes)

    def record_usage(self, usage: Usage) -> None:
        """Count tokens and times of one generation, however it ended."""
        if usage.completion_tokens == 0:
            return
        decode_s = usage.generation_s - usage.time_to_first_token_s
        with self._lock:
            self._tokens.increment(usage.completion_tokens)
            self._queue_s.observe(usage.queue_s)
            self._first_token_s.observe(usage.time_to_first_token_s)
            if usage.completion_tokens > 1 and decode_s > 0:
                self._tokens_per_second.observe((usage.completion_tokens - 1) / decode_s)


class RequestMetrics:
    """The stage and the outcome of one request.

    Attributes:
        stage: A value of `STAGES`.
        outcome: A value of `OUTCOMES`, once it is known.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.stage = "waiting"
        self.outcome = "error"

    def start_generating(self) -> None:
        """Move from waiting to generating. Idempotent."""
        if self.stage == "waiting":
            self._metrics.move_stage("waiting", "generating")
            self.stage = "generating"

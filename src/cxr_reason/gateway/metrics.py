"""What the gateway counts, for Prometheus. No label holds anything of a request."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class GatewayMetrics:
    """The gateway's counters, of one application.

    Attributes:
        requests: Answers by route and status.
        seconds: Seconds from a request to the end of its answer, by route.
        first_byte_seconds: Seconds from a request to the start of its answer, by route: of a
            streamed reading's chat completion, to its first token.
        in_flight: Requests under way.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "cxr_gateway_requests",
            "Answers by route and HTTP status",
            ("route", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "cxr_gateway_request_seconds",
            "From a request to the end of its answer",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.first_byte_seconds = Histogram(
            "cxr_gateway_first_byte_seconds",
            "From a request to the start of its answer",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "cxr_gateway_requests_in_flight", "Requests under way", registry=self._registry
        )

    def render(self) -> bytes:
        """Return the page `/metrics`."""
        return generate_latest(self._registry)

"""Around every request: its id, its line in the log, its metrics, and the headers of its answer."""

from __future__ import annotations

import logging
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxr_reason.errors import CxrError, describe_place
from cxr_reason.gateway.api_errors import ApiError, as_api_error, error_response
from cxr_reason.gateway.metrics import GatewayMetrics

_LOGGER = logging.getLogger(__name__)

# Nothing comes from elsewhere. The page saves reviews by way of a blob: address.
_POLICY = (
    "default-src 'self'; script-src 'self'; worker-src 'none'; img-src 'self' blob: data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_ROUTES = ("/v1/chat/completions", "/v1/readings", "/v1/film", "/v1/models", "/health", "/metrics")


class Envelope:
    """ASGI middleware. The log gets id, route, status, time and nothing that a caller sent.

    Args:
        app: The application inside.
        metrics: Counted here.
    """

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Made here: one that a caller chose might say who the patient is.
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        route = scope["path"] if scope["path"] in _ROUTES else "page"
        started_s = time.monotonic()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], *_HEADERS, (b"x-request-id", request_id.encode())]
                message = {**message, "headers": headers}
                self._metrics.first_byte_seconds.labels(route).observe(time.monotonic() - started_s)
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception as error:  # whatever it is, no library may log its text
                failure = as_api_error(error)
                if not isinstance(error, ApiError | CxrError):
                    _LOGGER.error("request %s failed: %s", request_id, describe_place(error))
                if status == 0:
                    await error_response(failure)(scope, receive, send_with_headers)
                status = failure.status
        seconds = time.monotonic() - started_s
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        _LOGGER.info(
            "request %s: %s %s, status %d, %.0f ms",
            request_id,
            scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "OTHER",
            route,
            status,
            1000 * seconds,
        )

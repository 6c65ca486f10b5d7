"""Who may call, how often, and how many at a time."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from cxr_reason.gateway.api_errors import ApiError, busy, too_many
from cxr_reason.gateway.config import GatewayConfig

_MAX_CALLERS = 10_000  # addresses that are remembered where there are no keys


class Admission:
    """ASGI middleware that guards the routes under /v1/. The rest holds nothing worth guarding.

    Args:
        app: The application inside.
        config: Keys and limits.
        clock: Seconds, for tests.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: GatewayConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._config = config
        self._clock = clock
        # Caller → requests left, and when that was counted.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._num_in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection.

        Raises:
            ApiError: 401; 429: the caller asks too often; 503: too many requests at a time.
        """
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        caller = self._authenticate(HTTPConnection(scope))
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        self._take(caller)
        limit = self._config.limits.max_in_flight
        if self._num_in_flight >= limit:
            raise busy(f"busy: {limit} requests are under way, the most; try again later")
        self._num_in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._num_in_flight -= 1

    def _authenticate(self, connection: HTTPConnection) -> str:
        """Return who calls: a key's name, or the address where there are no keys."""
        if not self._config.keys:
            return connection.client.host if connection.client else "unknown"
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode()).hexdigest()
        # All keys are compared: the time tells nothing.
        matches = [key.name for key in self._config.keys if hmac.compare_digest(key.sha256, digest)]
        if scheme.lower() != "bearer" or not matches:
            raise ApiError(
                401,
                "missing or wrong API key; send `Authorization: Bearer KEY`",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return matches[0]

    def _take(self, caller: str) -> None:
        per_minute = self._config.limits.requests_per_minute
        now_s = self._clock()
        left, counted_s = self._buckets.pop(caller, (float(per_minute), now_s))
        left = min(per_minute, left + (now_s - counted_s) * per_minute / 60)
        is_let_in = left >= 1
        self._buckets[caller] = (left - is_let_in, now_s)
        if len(self._buckets) > _MAX_CALLERS:
            self._buckets.popitem(last=False)
        if not is_let_in:
            raise too_many((1 - left) * 60 / per_minute, per_minute)

"""Answers that end when their caller leaves, whole ones and streams of server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cxr_reason.errors import CxrError
from cxr_reason.gateway.api_errors import ApiError, as_api_error, error_response

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
]

T = TypeVar("T")


class CallerLeftError(Exception):
    """The caller closed the connection; what it asked for has been stopped."""


def make_event(data: Any, *, name: str | None = None) -> str:
    """Return one server-sent event.

    Args:
        data: Text as it is, anything else as JSON.
        name: Of the event, or None.
    """
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return (f"event: {name}\n" if name else "") + f"data: {text}\n\n"


class EventStreamResponse(Response):
    """Sends events as they come. When the caller leaves, the generator is closed.

    An error before the first event is answered with its own status.

    Args:
        events: Server-sent events, as text.
    """

    def __init__(self, events: AsyncGenerator[str, None]) -> None:
        super().__init__()
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        async with aclosing(self._events) as events:
            with suppress(CallerLeftError):
                await while_caller_stays(receive, self._send(events, scope, receive, send))

    async def _send(
        self, events: AsyncGenerator[str, None], scope: Scope, receive: Receive, send: Send
    ) -> None:
        has_begun = False
        try:
            async for event in events:
                if not has_begun:
                    has_begun = True
                    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                body = event.encode()
                await send({"type": "http.response.body", "body": body, "more_body": True})
        except (CxrError, ApiError) as error:
            if has_begun:
                raise
            await error_response(as_api_error(error))(scope, receive, send)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def while_caller_stays(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, and cancel it when the caller leaves.

    Raises:
        CallerLeftError: The caller closed the connection.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_wait_for_leave(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise CallerLeftError
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait((working, leaving))


async def _wait_for_leave(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""The client for asyncio; names and meanings are those of `client`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from cxr_reason.client.assembler import EventAssembler
from cxr_reason.client.batch import DEFAULT_CONCURRENCY, read_all_async
from cxr_reason.client.conversation import AsyncConversation
from cxr_reason.client.events import DoneEvent, Event, QueuedEvent
from cxr_reason.client.exchange import GRACE_S
from cxr_reason.client.images import Image
from cxr_reason.client.open_transport import DEFAULT_ADDRESS, ended_early, open_transport
from cxr_reason.client.retries import DEFAULT_MAX_RETRIES, Retries
from cxr_reason.client.settings import Settings, check_settings, make_call
from cxr_reason.client.transport import Delivery, Transport
from cxr_reason.errors import CxrError
from cxr_reason.reading.reading import Reading
from cxr_reason.settings import ReadingSettings, check_setting

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncClient:
    """Client of a cxr-reason server for asyncio. An asynchronous context manager.

    Args and errors are those of `Client`.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = ReadingSettings.timeout_s,
        max_retries: int = DEFAULT_MAX_RETRIES,
        transport: Transport | None = None,
    ) -> None:
        self._timeout_s = check_setting("timeout_s", timeout_s)
        self._max_retries = max_retries
        self._transport = transport or open_transport(address)

    async def is_ready(self, *, timeout_s: float = 5.0) -> bool:
        """See `Client.is_ready`."""
        return await asyncio.to_thread(self._transport.is_ready, timeout_s)

    async def read(self, image: Image | None, **settings: Unpack[Settings]) -> Reading:
        """See `Client.read`."""
        async with contextlib.aclosing(self.stream(image, **settings)) as events:
            async for event in events:
                if isinstance(event, DoneEvent):
                    return event.reading
        raise AssertionError("a stream ends with a DoneEvent or an error")

    def stream(self, image: Image | None, **settings: Unpack[Settings]) -> AsyncGenerator[Event]:
        """See `Client.stream`.

        The film is read and encoded on a thread, when the first event is asked for. To stop
        early, close the generator (`contextlib.aclosing`), which stops the request.
        """
        check_settings(settings)
        return self._stream(image, settings)

    def conversation(self, image: Image | None, **settings: Unpack[Settings]) -> AsyncConversation:
        """See `Client.conversation`."""
        check_settings(settings)
        return AsyncConversation(self.stream, image, settings)

    async def read_many(
        self,
        images: Iterable[Image],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        on_result: Callable[[int, Reading | CxrError], None] | None = None,
        **settings: Unpack[Settings],
    ) -> list[Reading | CxrError]:
        """See `Client.read_many`."""
        check_settings(settings)
        return await read_all_async(self.read, images, concurrency, on_result, settings)

    async def close(self) -> None:
        """See `Client.close`."""
        await asyncio.to_thread(self._transport.close)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _stream(self, image: Image | None, settings: Settings) -> AsyncGenerator[Event]:
        request = await asyncio.to_thread(
            make_call, image, settings, default_timeout_s=self._timeout_s
        )
        retries = Retries(self._max_retries, request.timeout_s)
        is_first = True
        while True:
            assembler = EventAssembler()
            inbox = _AsyncInbox()
            call = self._transport.start(request, inbox.put)
            try:
                if is_first:
                    yield QueuedEvent(request.id)
                while (delivery := await inbox.get()) is not None:
                    if isinstance(delivery, CxrError):
                        raise delivery
                    for event in assembler.feed(delivery):
                        yield event
                    if assembler.is_done:
                        return
                raise ended_early(self._transport)
            except CxrError as error:
                delay_s = retries.delay_after(error, has_text=assembler.has_text)
            finally:
                call.stop()
                await inbox.wait_for_end(GRACE_S)
                call.abandon()
            await asyncio.sleep(delay_s)
            is_first = False
            request = replace(request, timeout_s=retries.time_left_s)


class _AsyncInbox:
    """What a transport delivers from its thread, for a task that waits."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._has_ended = asyncio.Event()

    def put(self, delivery: Delivery) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._put, delivery)

    async def get(self) -> Delivery:
        return await self._queue.get()

    async def wait_for_end(self, timeout_s: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._has_ended.wait(), timeout_s)

    def _put(self, delivery: Delivery) -> None:
        self._queue.put_nowait(delivery)
        if delivery is None:
            self._has_ended.set()

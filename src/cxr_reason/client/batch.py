"""Many films, several at a time: in order, and a failure does not affect the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing

from cxr_reason.client.events import DoneEvent, Event
from cxr_reason.client.images import Image
from cxr_reason.client.settings import Settings
from cxr_reason.errors import BadRequestError, CxrError, RequestCancelledError
from cxr_reason.reading.reading import Reading

Result = Reading | CxrError
OnResult = Callable[[int, Result], None]

DEFAULT_CONCURRENCY = 4


def read_all(
    stream: Callable[..., Generator[Event, None, None]],
    images: Iterable[Image],
    concurrency: int,
    on_result: OnResult | None,
    settings: Settings,
) -> list[Result]:
    """See `Client.read_many`."""
    _check(concurrency, settings)
    results: list[Result | None] = []
    waiting = enumerate(images)
    lock = threading.Lock()
    leaving = threading.Event()

    def work() -> None:
        while not leaving.is_set():
            with lock:
                item = next(waiting, None)
                if item is None:
                    return
                results.append(None)
            index, image = item
            result = _read_one(stream, image, settings, leaving)
            with lock:
                results[index] = result
                if on_result is not None:
                    on_result(index, result)

    with ThreadPoolExecutor(concurrency, thread_name_prefix="read_many") as threads:
        workers = [threads.submit(work) for _ in range(concurrency)]
        try:
            wait(workers, return_when=FIRST_EXCEPTION)
        finally:
            leaving.set()  # after Ctrl-C, or a fault of the iterable, nothing new begins
    for worker in workers:
        worker.result()
    return [result for result in results if result is not None]


async def read_all_async(
    read: Callable[..., Awaitable[Reading]],
    images: Iterable[Image],
    concurrency: int,
    on_result: OnResult | None,
    settings: Settings,
) -> list[Result]:
    """See `Client.read_many`."""
    _check(concurrency, settings)
    results: list[Result | None] = []
    waiting = enumerate(images)

    async def work() -> None:
        for index, image in waiting:
            results.append(None)
            result: Result
            try:
                result = await read(image, **settings)
            except CxrError as error:
                result = error
            results[index] = result
            if on_result is not None:
                on_result(index, result)

    workers = [asyncio.ensure_future(work()) for _ in range(concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [result for result in results if result is not None]


def _check(concurrency: int, settings: Settings) -> None:
    if concurrency < 1:
        raise BadRequestError(
            f"concurrency: {concurrency}; must be at least 1", param="concurrency"
        )
    if settings.get("request_id") is not None:
        raise BadRequestError(
            "request_id: each film of many gets its own; leave it out", param="request_id"
        )


def _read_one(
    stream: Callable[..., Generator[Event, None, None]],
    image: Image,
    settings: Settings,
    leaving: threading.Event,
) -> Result:
    try:
        with closing(stream(image, **settings)) as events:
            for event in events:
                if isinstance(event, DoneEvent):
                    return event.reading
                if leaving.is_set():
                    break
    except CxrError as error:
        return error
    return RequestCancelledError("the caller left before this film was read")

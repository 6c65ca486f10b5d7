"""The client: one film in, a stream of text and a reading out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from cxr_reason.client.assembler import EventAssembler
from cxr_reason.client.batch import DEFAULT_CONCURRENCY, read_all
from cxr_reason.client.conversation import Conversation
from cxr_reason.client.events import DoneEvent, Event, QueuedEvent
from cxr_reason.client.exchange import GRACE_S
from cxr_reason.client.images import Image
from cxr_reason.client.open_transport import DEFAULT_ADDRESS, ended_early, open_transport
from cxr_reason.client.retries import DEFAULT_MAX_RETRIES, Retries
from cxr_reason.client.settings import Settings, check_settings, make_call
from cxr_reason.client.transport import Delivery, Request, Transport
from cxr_reason.errors import CxrError
from cxr_reason.reading.reading import Reading
from cxr_reason.settings import ReadingSettings, check_setting

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["DEFAULT_ADDRESS", "Client"]


class Client:
    """Client of a cxr-reason server. Thread-safe; a context manager.

    Args:
        address: "host:port" of the server's gRPC service, or "http://host:port" of its HTTP one.
        timeout_s: Seconds for one request, from sending the film to the last token.
        max_retries: Most repetitions of a request that the server was too busy for, or that could
            not reach it, each after a longer pause. Never after text was delivered.
        transport: Carries the requests instead, for example a `MockTransport`; closed with this
            object.

    Raises:
        BadRequestError: The address is neither host:port nor an http(s) URL, or `timeout_s` is not
            allowed (`cxr_reason.settings`).
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

    def is_ready(self, *, timeout_s: float = 5.0) -> bool:
        """Return whether the server answers and its model `reason` is loaded."""
        return self._transport.is_ready(timeout_s)

    def read(self, image: Image | None, **settings: Unpack[Settings]) -> Reading:
        """Read one film and return when the reading is complete.

        Args, settings and errors are those of `stream`.
        """
        for event in self.stream(image, **settings):
            if isinstance(event, DoneEvent):
                return event.reading
        raise AssertionError("a stream ends with a DoneEvent or an error")

    def stream(
        self, image: Image | None, **settings: Unpack[Settings]
    ) -> Generator[Event, None, None]:
        """Read one film and yield its events.

        The request is sent when the first event is asked for. Closing the generator, or an
        exception while iterating, stops the request on the server.

        Args:
            image: The film: path of a DICOM, PNG or JPEG file, its bytes, a pydicom Dataset, a PIL
                image, an array `[H, W]` with its `bits_stored`, a `SentFilm`, or None for text
                alone.
            settings: See `Settings`.

        Returns:
            A generator of one `QueuedEvent`, then `TextEvent` and `FindingEvent`, and one
            `DoneEvent` at the end.

        Raises:
            InputError: The film or a setting cannot be used; its subclasses say why.
            EngineError: The engine is busy (`CapacityError`) or failed.
            ServerError: Not reachable, no answer in time, or cancelled.
        """
        return self._stream(make_call(image, settings, default_timeout_s=self._timeout_s))

    def conversation(self, image: Image | None, **settings: Unpack[Settings]) -> Conversation:
        """Return a conversation about one film, whose turns are asked with `ask` or `stream`.

        Args:
            image: The film, as for `stream`. It is sent once; later turns name it by its digest,
                and send it again only if the server no longer holds it.
            settings: What every turn starts from.
        """
        check_settings(settings)
        return Conversation(self.stream, image, settings)

    def read_many(
        self,
        images: Iterable[Image],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        on_result: Callable[[int, Reading | CxrError], None] | None = None,
        **settings: Unpack[Settings],
    ) -> list[Reading | CxrError]:
        """Read many films, several at a time.

        Args:
            images: The films, taken from the iterable as places become free.
            concurrency: Films at a time, at least 1.
            on_result: Called with the index of a film and its result as soon as it is ready,
                never twice at the same time; for progress, or to save results.
            settings: Of each request. A `request_id` is not allowed: each gets its own.

        Returns:
            In the order of the films, the reading, or the error of a film that failed: the others
            are still read.

        Raises:
            BadRequestError: `concurrency` is below 1.
        """
        check_settings(settings)
        return read_all(self.stream, images, concurrency, on_result, settings)

    def close(self) -> None:
        """Close the connection; requests under way are cancelled. Idempotent."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream(self, request: Request) -> Generator[Event, None, None]:
        retries = Retries(self._max_retries, request.timeout_s)
        is_first = True
        while True:
            assembler = EventAssembler()
            inbox = _Inbox()
            call = self._transport.start(request, inbox.put)
            try:
                if is_first:
                    yield QueuedEvent(request.id)
                while (delivery := inbox.get()) is not None:
                    if isinstance(delivery, CxrError):
                        raise delivery
                    yield from assembler.feed(delivery)
                    if assembler.is_done:
                        return
                raise ended_early(self._transport)
            except CxrError as error:
                delay_s = retries.delay_after(error, has_text=assembler.has_text)
            finally:
                call.stop()
                inbox.wait_for_end(GRACE_S)
                call.abandon()
            time.sleep(delay_s)
            is_first = False
            request = replace(request, timeout_s=retries.time_left_s)


class _Inbox:
    """What a transport delivers, for a thread that waits."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Delivery] = SimpleQueue()
        self._has_ended = threading.Event()

    def put(self, delivery: Delivery) -> None:
        self._queue.put(delivery)
        if delivery is None:
            self._has_ended.set()

    def get(self) -> Delivery:
        return self._queue.get()

    def wait_for_end(self, timeout_s: float) -> None:
        self._has_ended.wait(timeout_s)

"""Follow-up turns about one film."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import TYPE_CHECKING

from cxr_reason.client.events import DoneEvent, Event, QueuedEvent
from cxr_reason.client.images import Image, SentFilm
from cxr_reason.client.settings import Settings, TurnSettings, check_settings
from cxr_reason.errors import UnknownFilmError
from cxr_reason.prompts import FIND_ABNORMALITIES
from cxr_reason.reading.reading import Reading

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _Turns:
    """The turns so far, and the film in the form that the next turn sends.

    Attributes:
        readings: What the model said, a reading a turn.
    """

    def __init__(self, image: Image | None, settings: Settings) -> None:
        self.readings: list[Reading] = []
        self._image = image
        self._settings = settings
        self._messages: list[dict[str, str]] = []

    def _film(self) -> Image | None:
        """The film by its digest once the server has seen it."""
        film = self.readings[-1].film if self.readings else None
        return SentFilm(film.image_digest) if film else self._image

    def _prepare(self, prompt: str, settings: TurnSettings) -> Settings:
        check_settings(settings)
        turns = [*self._messages, {"role": "user", "content": prompt}]
        return {**self._settings, **settings, "prompt": json.dumps(turns)}

    def _keep(self, prompt: str, reading: Reading) -> None:
        self._messages.append({"role": "user", "content": prompt})
        # Text that spells one of the model's special tokens would be refused in a prompt.
        said = reading.text.replace("<|", "< |")
        self._messages.append({"role": "assistant", "content": said})
        self.readings.append(reading)


class Conversation(_Turns):
    """A conversation about one film; made by `Client.conversation`. One turn at a time.

    Attributes:
        readings: What the model said, a reading a turn.
    """

    def __init__(
        self,
        stream: Callable[..., Generator[Event, None, None]],
        image: Image | None,
        settings: Settings,
    ) -> None:
        super().__init__(image, settings)
        self._stream = stream

    def ask(self, prompt: str = FIND_ABNORMALITIES, **settings: Unpack[TurnSettings]) -> Reading:
        """Ask the next question and return when the answer is complete.

        Args, settings and errors are those of `stream`.
        """
        for event in self.stream(prompt, **settings):
            if isinstance(event, DoneEvent):
                return event.reading
        raise AssertionError("a stream ends with a DoneEvent or an error")

    def stream(
        self, prompt: str = FIND_ABNORMALITIES, **settings: Unpack[TurnSettings]
    ) -> Generator[Event, None, None]:
        """Ask the next question and yield its events. Only a complete turn is kept.

        Args:
            prompt: The question, plain text.
            settings: Over those of the conversation.

        Raises:
            CxrError: As `Client.stream`.
        """
        combined = self._prepare(prompt, settings)
        film = self._film()
        try:
            yield from self._turn(prompt, film, combined)
        except UnknownFilmError:
            if film is self._image:
                raise  # there is nothing else to send
            for event in self._turn(prompt, self._image, combined):
                if not isinstance(event, QueuedEvent):  # one came with the first attempt
                    yield event

    def _turn(
        self, prompt: str, film: Image | None, settings: Settings
    ) -> Generator[Event, None, None]:
        with closing(self._stream(film, **settings)) as events:
            for event in events:
                if isinstance(event, DoneEvent):
                    self._keep(prompt, event.reading)
                yield event


class AsyncConversation(_Turns):
    """A conversation about one film; made by `AsyncClient.conversation`. One turn at a time.

    Attributes:
        readings: What the model said, a reading a turn.
    """

    def __init__(
        self,
        stream: Callable[..., AsyncGenerator[Event]],
        image: Image | None,
        settings: Settings,
    ) -> None:
        super().__init__(image, settings)
        self._stream = stream

    async def ask(
        self, prompt: str = FIND_ABNORMALITIES, **settings: Unpack[TurnSettings]
    ) -> Reading:
        """See `Conversation.ask`."""
        async with aclosing(self.stream(prompt, **settings)) as events:
            async for event in events:
                if isinstance(event, DoneEvent):
                    return event.reading
        raise AssertionError("a stream ends with a DoneEvent or an error")

    async def stream(
        self, prompt: str = FIND_ABNORMALITIES, **settings: Unpack[TurnSettings]
    ) -> AsyncGenerator[Event]:
        """See `Conversation.stream`."""
        combined = self._prepare(prompt, settings)
        film = self._film()
        try:
            async with aclosing(self._turn(prompt, film, combined)) as events:
                async for event in events:
                    yield event
        except UnknownFilmError:
            if film is self._image:
                raise  # there is nothing else to send
            async with aclosing(self._turn(prompt, self._image, combined)) as events:
                async for event in events:
                    if not isinstance(event, QueuedEvent):  # one came with the first attempt
                        yield event

    async def _turn(
        self, prompt: str, film: Image | None, settings: Settings
    ) -> AsyncGenerator[Event]:
        async with aclosing(self._stream(film, **settings)) as events:
            async for event in events:
                if isinstance(event, DoneEvent):
                    self._keep(prompt, event.reading)
                yield event

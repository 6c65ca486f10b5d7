"""`POST /v1/readings`: a film as a form field, and the `Reading` itself, whole or as events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any, cast

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from cxr_reason.client import (
    DoneEvent,
    Event,
    FindingEvent,
    QueuedEvent,
    SentFilm,
    Settings,
    TextEvent,
)
from cxr_reason.contract import SETTING_TENSORS
from cxr_reason.errors import CxrError
from cxr_reason.gateway.api_errors import as_api_error, bad_request, error_object
from cxr_reason.gateway.config import Limits
from cxr_reason.gateway.films import check_film_size
from cxr_reason.gateway.sse import make_event
from cxr_reason.settings import parse_setting

_FLAGS = {"true": True, "false": False}
_FIELDS = ("film", "image_digest", "prompt", "stream", *SETTING_TENSORS)


@dataclass(frozen=True)
class ReadingRequest:
    """What a caller of readings asks for.

    Attributes:
        film: The film's file, a film sent before, or None.
        settings: For the client.
        stream: Answer with events.
    """

    film: bytes | SentFilm | None
    settings: Settings
    stream: bool


async def parse_form(
    headers: Headers, body: AsyncGenerator[bytes, None], limits: Limits
) -> ReadingRequest:
    """Read a multipart form.

    Raises:
        ApiError: The body is not such a form, or a field is unknown.
        BadRequestError: A setting cannot be used.
    """
    if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise bad_request("body: must be multipart/form-data with the file in the field `film`")
    parser = MultiPartParser(headers, body, max_files=1, max_fields=len(_FIELDS))
    # A film is held in memory: nothing of it is left in a temporary file.
    parser.spool_max_size = limits.max_body_bytes
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise bad_request("body: not a valid multipart form with one file") from error
    try:
        return await _read(form, limits)
    finally:
        await form.close()


async def reading_events(events: AsyncGenerator[Event, None]) -> AsyncGenerator[str, None]:
    """Yield server-sent events: queued, reasoning, answer, other, finding, and done or error."""
    try:
        async with aclosing(events):
            async for event in events:
                yield _make_event(event)
    except CxrError as error:
        yield make_event(error_object(as_api_error(error)), name="error")


def _make_event(event: Event) -> str:
    if isinstance(event, QueuedEvent):
        return make_event({}, name="queued")
    if isinstance(event, TextEvent):
        return make_event({"text": event.text}, name=event.section)
    if isinstance(event, FindingEvent):
        return make_event(asdict(event.finding), name="finding")
    assert isinstance(event, DoneEvent)
    return make_event(event.reading.to_json(), name="done")


async def _read(form: FormData, limits: Limits) -> ReadingRequest:
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name not in _FIELDS or name in fields:
            raise bad_request(f"form: each field once, of {', '.join(_FIELDS)}")
        if isinstance(value, UploadFile) != (name == "film"):
            raise bad_request(f"{name}: `film` is a file, and all else is text", param=name)
        fields[name] = value
    film = await _read_film(fields, limits)
    settings: dict[str, Any] = {
        name: parse_setting(name, fields[name]) for name in SETTING_TENSORS if fields.get(name)
    }
    if fields.get("prompt"):
        settings["prompt"] = fields["prompt"]
    if film is None and "prompt" not in settings:
        raise bad_request("film: missing; send a DICOM, PNG or JPEG file", param="film")
    stream = _FLAGS.get(fields.get("stream", "false"))
    if stream is None:
        raise bad_request("stream: must be `true` or `false`", param="stream")
    return ReadingRequest(film, cast(Settings, settings), stream)


async def _read_film(fields: dict[str, Any], limits: Limits) -> bytes | SentFilm | None:
    if "film" in fields and "image_digest" in fields:
        raise bad_request("film: give it or its image_digest, not both", param="film")
    if "image_digest" in fields:
        return SentFilm(fields["image_digest"])
    if "film" not in fields:
        return None
    upload: UploadFile = fields["film"]
    check_film_size(upload.size or 0, limits.max_film_bytes)
    return await upload.read()

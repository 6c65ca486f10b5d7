"""`POST /v1/film`: a film's file → its pixels and its display table, as the model is given them.

A viewer that looks each pixel up in the table shows what the model sees, by the one decoder that
there is. The answer, little endian:

    bytes 0-3    "CXRF"
    bytes 4-7    uint32, length of the JSON that follows, a multiple of 4: padded with spaces
    JSON         see `_describe`
    float32      [entries]          display table: 0 is black, 1 is white
    float32      [entries]          values: what each stored value means, for a window tool
    uint16       [height, width]    pixels: indices into both, row by row

It is not compressed: on one machine that takes longer than sending.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cxr_reason.film.radiograph import FilmLimits, Radiograph, decode_radiograph
from cxr_reason.film.render import find_gray_view
from cxr_reason.gateway.api_errors import ApiError, busy
from cxr_reason.gateway.config import Limits

FORMAT = "cxr-reason/film/1"
MEDIA_TYPE = "application/vnd.cxr-reason.film"
# A page of another site can send none of these without asking first (Fetch, CORS-safelisted
# request-header); it could send a form or text.
BODY_TYPES = ("application/dicom", "application/octet-stream", "image/png", "image/jpeg")

_MAGIC = b"CXRF"
# A small file can hold a large picture: decoded ones are few at a time, and nobody keeps one by
# reading the answer slowly.
_MAX_DECODING = 2
_MAX_HELD = 8
_SEND_TIMEOUT_S = 60.0
_CHUNK_BYTES = 2**20


def check_body_type(content_type: str) -> None:
    """Refuse a body that is not a film's file.

    Raises:
        ApiError: 415.
    """
    if content_type.partition(";")[0].strip().lower() not in BODY_TYPES:
        raise ApiError(
            415,
            f"body: must be the film's file itself, with a Content-Type of {', '.join(BODY_TYPES)}",
            code="unsupported_media_type",
        )


class FilmPictures:
    """Decodes films for display, a few at a time; keeps none.

    Args:
        limits: What a caller may send.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = FilmLimits(max_encoded_bytes=limits.max_film_bytes)
        self._decoding = asyncio.Semaphore(_MAX_DECODING)
        self._num_held = 0

    async def answer(self, data: bytes) -> Response:
        """Return the answer to a film's file.

        Raises:
            ApiError: 503: too many pictures at a time.
            InputError: The file is not a film that can be read, as for a reading.
        """
        if self._num_held >= _MAX_HELD:
            raise busy(f"busy: {_MAX_HELD} films are being shown, the most; try again later")
        self._num_held += 1
        try:
            async with self._decoding:
                parts = await asyncio.to_thread(make_picture, data, self._limits)
        except BaseException:
            self._release()
            raise
        return _PictureResponse(parts, self._release)

    def _release(self) -> None:
        self._num_held -= 1


def make_picture(data: bytes, limits: FilmLimits) -> list[memoryview]:
    """Decode a film's file.

    Args:
        data: A DICOM, PNG or JPEG file.
        limits: Checked before anything is decoded.

    Returns:
        The pieces of the answer, in order.

    Raises:
        InputError: As `decode_radiograph`.
    """
    film = decode_radiograph(data, limits)
    view = find_gray_view(film)
    window = {**asdict(view.window), "through_lut": view.through_lut, "inverted": view.inverted}
    text = json.dumps({**_describe(film), "window": window}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    arrays = (
        film.display_table.astype("<f4", copy=False),
        view.values.astype("<f4"),
        film.pixels.astype("<u2", copy=False),
    )
    head = _MAGIC + struct.pack("<I", len(text)) + text
    return [memoryview(head), *map(_bytes_of, arrays)]


def _describe(film: Radiograph) -> dict[str, Any]:
    """Return the JSON of an answer, but for the window."""
    height_px, width_px = film.pixels.shape
    return {
        "format": FORMAT,
        "height": height_px,
        "width": width_px,
        "entries": len(film.display_table),
        "row_to_column_spacing": film.pixel_aspect,
        "right_edge": film.right_edge,
        "film": asdict(film.info),
    }


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).data.cast("B")


class _PictureResponse(Response):
    """Sends the pieces without joining them, for at most `_SEND_TIMEOUT_S`."""

    media_type = MEDIA_TYPE

    def __init__(self, parts: list[memoryview], release: Callable[[], None]) -> None:
        self._parts = parts
        self._release = release
        super().__init__(headers={"Cache-Control": "no-store"})
        self.headers["Content-Length"] = str(sum(part.nbytes for part in parts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer. Past the time limit the connection ends without the rest."""
        try:
            await asyncio.wait_for(self._send(send), _SEND_TIMEOUT_S)
        finally:
            self._release()

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        for chunk in self._chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _chunks(self) -> Iterator[bytes]:
        for part in self._parts:
            for start in range(0, part.nbytes, _CHUNK_BYTES):
                yield bytes(part[start : start + _CHUNK_BYTES])

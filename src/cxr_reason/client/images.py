"""Whatever holds a film → the bytes of a DICOM, PNG or JPEG file, which is what a server takes."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxr_reason.contract import MAX_FILM_BYTES
from cxr_reason.errors import BadRequestError, TooLargeError, UnreadableImageError
from cxr_reason.film.source import (
    HEAD_LENGTH,
    PNG_START,
    check_data_url,
    check_kind,
    is_data_url,
)

# A pydicom Dataset and a PIL Image are taken too; they are not named here, so that the client
# needs neither package.
Image: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[Any] | SentFilm | Any"

_GRAY = 0  # color type of PNG 11.2.2
_FAST = 1  # a film is sent once: time counts, not size
_PIL_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


@dataclass(frozen=True)
class SentFilm:
    """A film that this server was sent before, and may still hold.

    Attributes:
        digest: SHA-256 of its file, hexadecimal: `reading.film.image_digest`.
    """

    digest: str


def encode_image(image: Image, *, bits_stored: int | None = None) -> bytes:
    """Return the bytes of a file.

    Args:
        image: Path of a DICOM, PNG or JPEG file; its bytes; a pydicom Dataset with its pixels; a
            PIL image, ready for display; or an array `[H, W]` of integers, ready for display: 0 is
            black and 2**bits_stored - 1 is white, bone bright.
        bits_stored: Significant bits of an array, 1 to 16; None for uint8, which has 8.

    Raises:
        UnreadableImageError: The file cannot be read, or starts as none of these; nothing was sent.
        TooLargeError: A file, or bytes, over what a server takes; nothing was sent.
        BadRequestError: The object is of another kind, or an array does not fit its bit depth.
    """
    if isinstance(image, np.ndarray):
        return _encode_array(image, bits_stored)
    if bits_stored is not None:
        raise BadRequestError(
            "bits_stored: only for an array; every other image knows its own", param="bits_stored"
        )
    if isinstance(image, bytes):
        return _check(image)
    if isinstance(image, str | os.PathLike):
        return _read_file(Path(image))
    # A caller who has such an object has imported its package.
    pydicom, pil = sys.modules.get("pydicom"), sys.modules.get("PIL.Image")
    if pydicom is not None and isinstance(image, pydicom.Dataset):
        return _encode_dataset(image)
    if pil is not None and isinstance(image, pil.Image):
        return _encode_picture(image)
    raise BadRequestError(
        f"image: {type(image).__name__}; give a path, bytes, a pydicom Dataset, a PIL image or a "
        "NumPy array",
        param="image",
    )


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # No more than that: a larger file would fill memory only to be refused.
            data = file.read(_limit_bytes(b"data:") + 1)
    except OSError as error:
        # The path is the caller's own; it goes no further than to the caller.
        raise UnreadableImageError(f"image: cannot read {path}: {error.strerror}") from error
    return _check(data)


def _check(data: bytes) -> bytes:
    """Return the bytes; refuse what the server would refuse without decoding it."""
    limit_bytes = _limit_bytes(data)
    if len(data) > limit_bytes:
        raise TooLargeError(
            f"image: over the limit of {limit_bytes} bytes; send a compressed or smaller film"
        )
    if is_data_url(data):
        check_data_url(data)  # what its payload is, the server says
    else:
        check_kind(data)
    return data


def _limit_bytes(data: bytes) -> int:
    in_base64 = HEAD_LENGTH + 4 * -(-MAX_FILM_BYTES // 3)
    return in_base64 if is_data_url(data) else MAX_FILM_BYTES


def _encode_dataset(dataset: Any) -> bytes:
    file = BytesIO()
    try:
        dataset.save_as(file, enforce_file_format=True)
    except (AttributeError, ValueError, TypeError) as error:
        raise BadRequestError(
            "image: the pydicom Dataset cannot be written as a file; it needs `file_meta` with its "
            "transfer syntax",
            param="image",
        ) from error
    return file.getvalue()


def _encode_picture(picture: Any) -> bytes:
    if picture.mode not in _PIL_MODES:
        raise BadRequestError(
            f"image: a PIL image of mode {picture.mode!r}; convert it to one of "
            f"{', '.join(_PIL_MODES)}",
            param="image",
        )
    file = BytesIO()
    picture.save(file, "PNG", compress_level=_FAST)
    return file.getvalue()


def _encode_array(pixels: NDArray[Any], bits_stored: int | None) -> bytes:
    if pixels.ndim != 2 or 0 in pixels.shape or pixels.dtype.kind not in "ui":
        raise BadRequestError(
            f"image: an array of shape {list(pixels.shape)} and type {pixels.dtype}; give integers "
            "of shape [H, W]",
            param="image",
        )
    if bits_stored is None:
        if pixels.dtype != np.uint8:
            raise BadRequestError(
                f"bits_stored: missing; say how many bits of {pixels.dtype} are significant, for "
                "example 12",
                param="bits_stored",
            )
        bits_stored = 8
    if not 1 <= bits_stored <= 16:
        raise BadRequestError(
            f"bits_stored: {bits_stored}; must be from 1 to 16", param="bits_stored"
        )
    white = 2**bits_stored - 1
    if pixels.min() < 0 or pixels.max() > white:
        raise BadRequestError(
            f"image: values from {pixels.min()} to {pixels.max()}; {bits_stored} bits hold 0 to "
            f"{white}",
            param="image",
        )
    # A PNG has 8 or 16 bits, and its largest value is white.
    full, dtype, depth = (255, np.uint8, 8) if bits_stored <= 8 else (65_535, np.uint16, 16)
    scaled = (pixels.astype(np.uint32) * full + white // 2) // white
    return _write_png(scaled.astype(dtype), depth, bits_stored)


def _write_png(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], depth: int, bits_stored: int
) -> bytes:
    """Return a grayscale PNG (PNG 11.2): samples are big-endian, each row after filter type 0.

    The chunk sBIT says that samples are scaled from `bits_stored`: a dark film stays dark.
    """
    height, width = pixels.shape
    samples = pixels.astype(f">u{depth // 8}").view(np.uint8).reshape(height, -1)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), samples], axis=1)
    header = struct.pack(">IIBBBBB", width, height, depth, _GRAY, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), _FAST)
    chunks = ((b"IHDR", header), (b"sBIT", bytes([bits_stored])), (b"IDAT", data), (b"IEND", b""))
    return PNG_START + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

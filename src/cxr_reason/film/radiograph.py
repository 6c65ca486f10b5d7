"""Encoded bytes to a `Radiograph`: the only way by which a film enters this package.

Every size is checked on the encoded side before anything is decoded.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxr_reason.contract import MAX_FILM_BYTES
from cxr_reason.errors import (
    BadRequestError,
    TooLargeError,
    UnreadableImageError,
)
from cxr_reason.film.dicom import decode_dicom
from cxr_reason.film.display_table import GrayscaleSteps
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.raster import decode_raster
from cxr_reason.film.source import check_data_url, check_kind, hash_film, is_data_url


@dataclass(frozen=True)
class FilmLimits:
    """What a caller may send.

    Attributes:
        max_encoded_bytes: Bytes of the file, and of a deflated DICOM data set once inflated.
        max_pixels: Rows times columns.

    Raises:
        BadRequestError: A limit below 1.
    """

    max_encoded_bytes: int = MAX_FILM_BYTES
    max_pixels: float = 100e6

    def __post_init__(self) -> None:
        if self.max_encoded_bytes < 1 or self.max_pixels < 1:
            raise BadRequestError("limits: max_encoded_bytes and max_pixels must be at least 1")


@dataclass(frozen=True, eq=False)
class Radiograph:
    r"""One film, decoded but not yet resized. Holds nothing that identifies a patient.

    Attributes:
        pixels: uint16 `[H, W]`, values as stored; signed ones are offset by 2**(bits - 1). Turned
            to L\F where the header says how the film is stored: a view of any strides.
        display_table: float32 `[2**bits]`, stored value to display intensity: 0 is black, 1 is
            white, and dense tissue such as bone is bright.
        info: Attributes of the film.
        pixel_aspect: Spacing of the rows of `pixels` over that of its columns, 1 where unknown.
        steps: What the header says about the gray values; None for a PNG or JPEG. For viewers: the
            table is what the model is given.
        right_edge: Patient's side at the right edge of the film, "L" or "R"; "" where unknown
            (PS3.3 C.7.6.1.1.1). For viewers too.
    """

    pixels: NDArray[np.uint16]
    display_table: NDArray[np.float32]
    info: FilmInfo
    pixel_aspect: float = 1.0
    steps: GrayscaleSteps | None = None
    right_edge: str = ""


def decode_radiograph(
    data: bytes, limits: FilmLimits = FilmLimits(), *, digest: str | None = None
) -> Radiograph:
    """Decode a DICOM, PNG or JPEG file, or a base64 `data:` URL of one.

    A DICOM file must be one frontal chest radiograph as far as its header tells; where the header
    does not tell, a flag in `info` says so. A PNG or JPEG is taken to be ready for display: color
    becomes luma (ITU-R BT.601), transparency is ignored, EXIF orientation is applied.

    Args:
        data: The encoded bytes.
        limits: Checked before anything is decoded.
        digest: `hash_film(data)`, from a caller that has computed it already.

    Returns:
        The film; `info.image_digest` is the SHA-256 of the encoded bytes, of the payload for a
        `data:` URL.

    Raises:
        UnreadableImageError: Not such a file, damaged, truncated, or without a decoder.
        UnsupportedObjectError: Readable but not one grayscale frontal chest radiograph.
        TooLargeError: Over a limit.
    """
    if is_data_url(data):
        data = _read_data_url(data, limits)
    _check_encoded_size(len(data), limits)
    digest = digest or hash_film(data)
    try:
        kind = check_kind(data)
        if kind != "dicom":
            return _read_raster(data, kind, digest, limits)
        film = decode_dicom(
            data,
            image_digest=digest,
            max_pixels=limits.max_pixels,
            max_inflated_bytes=limits.max_encoded_bytes,
        )
        return Radiograph(**film._asdict())
    except MemoryError as error:
        raise TooLargeError("image: not enough memory to decode it; send a smaller one") from error


def _check_encoded_size(size_bytes: int, limits: FilmLimits) -> None:
    if size_bytes > limits.max_encoded_bytes:
        raise TooLargeError(
            f"image: {size_bytes} bytes are over the limit of {limits.max_encoded_bytes}; "
            "send a compressed or smaller film"
        )


def _read_data_url(url: bytes, limits: FilmLimits) -> bytes:
    head = check_data_url(url)
    _check_encoded_size(head.payload_bytes(len(url), url[-2:].count(b"=")), limits)
    try:
        return base64.b64decode(url[head.length :], validate=True)
    except binascii.Error as error:
        raise UnreadableImageError("image: the data: URL holds invalid base64") from error


def _read_raster(
    data: bytes, source: Literal["png", "jpeg"], digest: str, limits: FilmLimits
) -> Radiograph:
    pixels, table, orientation, flags = decode_raster(data, source, limits.max_pixels)
    info = FilmInfo(
        image_digest=digest,
        source=source,
        height_px=pixels.shape[0],
        width_px=pixels.shape[1],
        bits_stored=len(table).bit_length() - 1,
        flags=("body_part_unknown", "view_unknown", *flags),
        orientation=orientation.code,
    )
    return Radiograph(pixels, table, info)

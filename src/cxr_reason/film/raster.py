"""PNG and JPEG to pixels and display table.

A raster is taken to be ready for display. What is done to it, and no more:

- orientation of EXIF (eXIf chunk of PNG, APP1 of JPEG) or XMP is applied;
- color becomes luma (ITU-R BT.601), transparency is ignored, a palette is looked up;
- 16 bits of which the highest are unused are stretched, with the flag "small_range_stretched",
  unless the file says with a chunk sBIT that they are scaled.
"""

from __future__ import annotations

import struct
import warnings
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_reason.errors import (
    InputError,
    TooLargeError,
    UnreadableImageError,
    UnsupportedObjectError,
)
from cxr_reason.film.display_table import identity_table
from cxr_reason.film.orientation import Orientation
from cxr_reason.film.streams import check_scans, jpeg_frame_size

_ORIENTATION = 0x0112  # of EXIF
_GRAY_WITH_ALPHA, _RGB, _RGBA = 4, 2, 6  # color types of PNG
# Pillow handles chunks in Python, and may inflate those that hold no pixels to 1 MB each.
_MOST_CHUNKS, _MOST_OTHER_CHUNKS = 100_000, 1_000
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601

# Below this share of the range up to the largest value, what is used does not begin near 0: values
# with an offset, as of signed pixels.
_SMALL_SHARE = 1 / 8


def decode_raster(
    data: bytes, source: Literal["png", "jpeg"], max_pixels: float
) -> tuple[NDArray[np.uint16], NDArray[np.float32], Orientation, tuple[str, ...]]:
    """Decode a PNG or JPEG file.

    Args:
        data: The file.
        source: What it is.
        max_pixels: Most rows times columns.

    Returns:
        Pixels uint16 `[H, W]`, turned; display table float32 `[256]` or `[65536]`; the turn that
        was made; flags.

    Raises:
        UnreadableImageError: Damaged or truncated.
        UnsupportedObjectError: Several frames, or CMYK.
        TooLargeError: Over `max_pixels`, or very many chunks, segments or scans.
    """
    if source == "png":
        height_px, width_px = _png_size(data)
        _check_chunks(data)
    else:
        height_px, width_px = jpeg_frame_size(data)[:2]
        check_scans(data)
    if height_px * width_px > max_pixels:
        raise TooLargeError(
            f"image: {height_px} x {width_px} pixels are over the limit of {max_pixels:g}"
        )
    with warnings.catch_warnings():  # Pillow warns of sizes that our limits allow
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(data), formats=(source.upper(),)) as image:
                stored = _read_gray(image, data)
                orientation = _read_orientation(image)
        except InputError:
            raise
        except Image.DecompressionBombError as error:
            raise TooLargeError("image: over Pillow's limit on pixels") from error
        except MemoryError:
            raise
        except Exception as error:
            raise UnreadableImageError(f"{source.upper()}: damaged or truncated") from error
    pixels = np.ascontiguousarray(orientation.turn(stored), dtype=np.uint16)
    flags: tuple[str, ...] = ()
    table = identity_table(8 * stored.dtype.itemsize)
    if stored.dtype == np.uint16 and not _states_its_bits(data):
        table, flags = _deep_table(pixels)
    return pixels, table, orientation, flags


def _png_size(data: bytes) -> tuple[int, int]:
    # IHDR is always the first chunk (PNG 11.2.2): length, name, width, height.
    if data[12:16] != b"IHDR" or len(data) < 24:
        raise UnreadableImageError("PNG: header damaged or truncated")
    width_px, height_px = struct.unpack_from(">II", data, 16)
    return height_px, width_px


def _check_chunks(data: bytes) -> None:
    position, others = 8, 0
    for _ in range(_MOST_CHUNKS):
        if position + 8 > len(data):
            return
        others += data[position + 4 : position + 8] != b"IDAT"
        if others > _MOST_OTHER_CHUNKS:
            break
        position += 12 + struct.unpack_from(">I", data, position)[0]
    raise TooLargeError("PNG: far more chunks than a picture has; write the file anew")


def _read_gray(image: Image.Image, data: bytes) -> NDArray[Any]:
    """Return uint8 or uint16 `[H, W]`."""
    if getattr(image, "n_frames", 1) > 1:
        raise UnsupportedObjectError("image: more than one frame; send one radiograph")
    image.load()
    # IHDR goes on with bit depth and color type.
    if image.format == "PNG" and data[24] == 16 and data[25] in (_RGB, _GRAY_WITH_ALPHA, _RGBA):
        return _read_deep_channels(data)
    if image.mode == "I;16":
        return np.asarray(image, dtype=np.uint16)
    if image.mode == "P":
        # A palette with transparency converts only by way of RGBA.
        image = image.convert("RGBA").convert("RGB")
    if image.mode in ("RGBA", "LA"):
        image = image.convert(image.mode[:-1])
    if image.mode not in ("L", "RGB", "1"):
        raise UnsupportedObjectError("image: neither grayscale nor RGB; send 8 or 16 bit grayscale")
    return np.asarray(image.convert("L"))


def _read_deep_channels(data: bytes) -> NDArray[np.uint16]:
    # Pillow keeps 8 of 16 bits where there is more than one channel.
    from imagecodecs import png_decode

    channels = np.asarray(png_decode(data))
    if channels.dtype != np.uint16:
        raise UnreadableImageError("PNG: damaged or truncated")
    if channels.ndim == 2:
        return channels
    if channels.shape[-1] <= 2 or not np.ptp(channels[..., :3], axis=-1).any():
        return np.ascontiguousarray(channels[..., 0])
    return np.rint(channels[..., :3] @ _LUMA).astype(np.uint16)


def _read_orientation(image: Image.Image) -> Orientation:
    # EXIF 2.32, 4.6.4 A: which sides of the picture the first row and the first column are.
    code = image.getexif().get(_ORIENTATION, 1)
    return Orientation.from_code(int(code)) if code in range(1, 9) else Orientation()


def _states_its_bits(data: bytes) -> bool:
    """Return whether a PNG has the chunk sBIT: its samples are scaled to 16 bits (11.3.2.4).

    Without it, nothing tells 12 bits that were stored as they are from a dark picture.
    """
    position = len(b"\x89PNG\r\n\x1a\n")
    while len(name := data[position + 4 : position + 8]) == 4:
        if name in (b"sBIT", b"IDAT"):
            return name == b"sBIT"
        position += 12 + struct.unpack_from(">I", data, position)[0]
    return False


def _deep_table(pixels: NDArray[np.uint16]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the display table of a 16-bit raster, and flags.

    Writers store 12 bits as they are where PNG wants them scaled to 16. The range is then the one
    of the bits that the largest value needs, and at least 8.
    """
    low, high = int(pixels.min()), int(pixels.max())
    first, last = 0, (1 << max(high.bit_length(), 8)) - 1
    if low < high < low + _SMALL_SHARE * last:
        first, last = low, high
    elif last == 65535:
        return identity_table(16), ()
    table = np.clip((np.arange(65536.0) - first) / (last - first), 0.0, 1.0)
    return table.astype(np.float32), ("small_range_stretched",)

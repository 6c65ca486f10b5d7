"""Pixel data of a DICOM file → stored values.

Compressed frames go straight to imagecodecs and not through `pydicom.pixels`: that path logs
decoder texts, tries whatever decoder is installed, and refuses 12-bit JPEG. Of the three lossless
JPEG decoders in imagecodecs only libjpeg-turbo's survives damaged data; the other two read past
their buffers. The size that a compressed frame claims is compared with the header before its
decoder runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import generate_fragments

from cxr_reason.errors import TooLargeError, UnreadableImageError, UnsupportedObjectError
from cxr_reason.film.rle import decode_rle, is_rle
from cxr_reason.film.streams import decode_stream, is_stream, read_frame, strip_boxes
from cxr_reason.film.syntaxes import SYNTAXES, Syntax

REPAIRED = "encoding_repaired"  # flag of a film whose file is not as the standard says
_ITEM = b"\xfe\xff\x00\xe0"

# Lossy coding moves the channels of a gray picture apart by rounding.
_LOSSY_CHANNEL_DIFFERENCE = 2


class Layout(NamedTuple):
    """Image attributes (PS3.3 C.7.6.3) of a frame that has passed the checks.

    Attributes:
        rows: Rows (0028,0010).
        columns: Columns (0028,0011).
        bits_allocated: Bits Allocated (0028,0100), 8 or 16.
        bits_stored: Bits Stored (0028,0101), 8 to 16.
        signed: Whether Pixel Representation (0028,0103) is 1.
        photometric: Photometric Interpretation (0028,0004).
        byte_order: "<" or ">".
        samples: Samples per Pixel (0028,0002), 1 or 3.
        is_planar: Whether native samples are stored plane by plane (0028,0006).
        shift: Bits below the stored ones: High Bit (0028,0102) + 1 - Bits Stored. A negative one
            cannot be, and counts as 0.
        swaps_bytes: Whether 8-bit pixels are in 16-bit words of big endian.
        is_encapsulated: Whether the pixel data has an undefined length, as fragments have.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    byte_order: str
    samples: int = 1
    is_planar: bool = False
    shift: int = 0
    swaps_bytes: bool = False
    is_encapsulated: bool = False


class _Decoded(NamedTuple):
    values: NDArray[Any]
    was_repaired: bool
    bits: int  # of the stream; those of a sample in memory where there is none
    is_lossy: bool = False


def decode_pixels(
    raw: bytes, transfer_syntax: str, layout: Layout
) -> tuple[NDArray[np.uint16], tuple[str, ...]]:
    """Decode one frame.

    Args:
        raw: The value of Pixel Data (7FE0,0010).
        transfer_syntax: A key of `SYNTAXES`.
        layout: What the header says of the frame.

    Returns:
        Stored values numbered from 0, uint16 `[H, W]`; flags: "encoding_repaired" where the
        standard was not followed.

    Raises:
        UnreadableImageError: Damaged, truncated, or of another size than the header says.
        UnsupportedObjectError: Color.
        TooLargeError: A stream of very many segments or scans.
    """
    if not raw:
        raise UnreadableImageError("DICOM: no pixel data; the file is truncated or not an image")
    try:
        decoded = _decode(raw, SYNTAXES[transfer_syntax], layout)
    except (UnreadableImageError, TooLargeError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImageError("DICOM: pixel data damaged or truncated") from error
    values = decoded.values
    if layout.samples == 3 and values.shape[2:] == (3,):
        values = _one_of_equal_channels(decoded, layout)
    if values.shape != (layout.rows, layout.columns) or values.dtype.itemsize > 2:
        raise UnreadableImageError("DICOM: pixel data and header disagree about the size")
    if layout.shift > 0 and decoded.bits > layout.bits_stored:
        values = _shifted(values, layout)
    if decoded.is_lossy and not layout.signed and values.dtype.kind == "u":
        # A lossy frame may ring past the stored range: masking would turn its brightest pixels
        # black.
        values = np.minimum(values, np.uint16((1 << layout.bits_stored) - 1))
    flags = (REPAIRED,) if decoded.was_repaired or layout.shift else ()
    return number_values(values, layout), flags


def number_values(values: NDArray[Any], layout: Layout) -> NDArray[np.uint16]:
    """Number stored values from 0, whatever the signedness of file and decoder."""
    # Bits above the stored ones may hold overlays or anything else (PS3.5 8.1.1), and a decoder may
    # return either signedness: the low bits are right in all cases.
    index = values.astype(np.uint16) & np.uint16((1 << layout.bits_stored) - 1)
    return index ^ np.uint16(1 << (layout.bits_stored - 1)) if layout.signed else index


def _decode(raw: bytes, syntax: Syntax, layout: Layout) -> _Decoded:
    # What is there counts: fragments under a native syntax, or a bare frame under another one.
    native_bytes = _native_bytes(layout)
    is_native_size = len(raw) in (native_bytes, native_bytes + native_bytes % 2)
    if raw.startswith(_ITEM) and (
        layout.is_encapsulated or syntax.kind != "native" or not is_native_size
    ):
        frame, is_as_declared = _join_fragments(raw, layout), syntax.kind != "native"
    elif syntax.kind == "native":
        return _decode_native(raw, layout)
    elif not is_stream(raw) and is_native_size:
        return _decode_native(raw, layout)._replace(was_repaired=True)
    else:
        frame, is_as_declared = raw, False
    if is_stream(frame):
        decoded = _decode_frame(frame, layout, syntax)
    elif syntax.kind == "rle" or is_rle(frame, _rle_segments(layout)):
        is_as_declared &= syntax.kind == "rle"
        samples, was_repaired = decode_rle(
            frame, layout.rows * layout.columns, layout.samples, layout.bits_allocated // 8
        )
        # Color is stored plane by plane (PS3.5 G.2).
        values = _arrange(samples, layout, is_planar=True)
        decoded = _Decoded(values, was_repaired, layout.bits_allocated)
    else:
        raise UnreadableImageError("DICOM: compressed pixel data is no stream of a known kind")
    return decoded._replace(was_repaired=decoded.was_repaired or not is_as_declared)


def _rle_segments(layout: Layout) -> int:
    return layout.samples * layout.bits_allocated // 8


def _native_bytes(layout: Layout) -> int:
    return layout.rows * layout.columns * layout.samples * layout.bits_allocated // 8


def _decode_native(raw: bytes, layout: Layout) -> _Decoded:
    size_bytes = _native_bytes(layout)
    if layout.swaps_bytes:  # PS3.5 A.3: 8-bit pixels of VR OW
        raw = np.frombuffer(raw, ">u2", count=len(raw) // 2).astype("<u2").tobytes()
    if len(raw) < size_bytes:
        raise UnreadableImageError(
            f"DICOM: pixel data truncated ({len(raw)} of {size_bytes} bytes)"
        )
    kind = f"{layout.byte_order}u{layout.bits_allocated // 8}"
    values = np.frombuffer(raw, kind, count=layout.rows * layout.columns * layout.samples)
    is_padded_to_even = len(raw) - size_bytes <= size_bytes % 2  # PS3.5 8.1.1
    return _Decoded(
        _arrange(values, layout, layout.is_planar), not is_padded_to_even, layout.bits_allocated
    )


def _arrange(values: NDArray[Any], layout: Layout, is_planar: bool) -> NDArray[Any]:
    shape = (layout.rows, layout.columns)
    if layout.samples == 1:
        return values.reshape(shape)
    if is_planar:
        return np.moveaxis(values.reshape(layout.samples, *shape), 0, -1)
    return values.reshape(*shape, layout.samples)


def _decode_frame(frame: bytes, layout: Layout, syntax: Syntax) -> _Decoded:
    stream = strip_boxes(frame)
    found = read_frame(stream)
    if (found.rows, found.columns, found.samples) != (layout.rows, layout.columns, layout.samples):
        raise UnreadableImageError("DICOM: compressed pixel data and header disagree about size")
    values, was_repaired = decode_stream(stream, found)
    is_as_declared = len(stream) == len(frame) and found.kind == syntax.kind
    if found.kind == "jpeg" or found.is_lossy:  # JPEG 2000's lossy syntax allows both
        is_as_declared &= found.is_lossy == syntax.is_lossy
    is_lossy = syntax.is_lossy or found.is_lossy
    return _Decoded(values, was_repaired or not is_as_declared, found.bits, is_lossy)


def _join_fragments(raw: bytes, layout: Layout) -> bytes:
    """Return the one frame of encapsulated pixel data (PS3.5 A.4)."""
    fragments = list(generate_fragments(raw))
    # The first item is the Basic Offset Table, which says nothing of one frame. Some writers leave
    # it out.
    has_table = not is_stream(fragments[0]) and not is_rle(fragments[0], _rle_segments(layout))
    return b"".join(fragments[1:] if has_table else fragments)


def _one_of_equal_channels(decoded: _Decoded, layout: Layout) -> NDArray[Any]:
    """Return the gray picture that is stored as three equal channels, or as luma without color."""
    luma, blue, red = np.moveaxis(decoded.values.astype(np.int32), -1, 0)
    tolerance = _LOSSY_CHANNEL_DIFFERENCE if decoded.is_lossy else 0

    def are_near(one: NDArray[Any], other: NDArray[Any] | int) -> bool:
        return bool(np.abs(one - other).max() <= tolerance)

    is_gray = are_near(luma, blue) and are_near(luma, red)
    if not is_gray and (decoded.is_lossy or layout.photometric != "RGB"):
        middle = 1 << (layout.bits_stored - 1)  # no color (PS3.3 C.7.6.3.1.2)
        is_gray = are_near(blue, middle) and are_near(red, middle)
    if not is_gray:
        raise UnsupportedObjectError(
            "DICOM: a picture in color; send a film whose channels are equal, or MONOCHROME"
        )
    return np.ascontiguousarray(decoded.values[..., 0])


def _shifted(values: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Move values down whose High Bit is above Bits Stored - 1 (retired from PS3.5 8.1.1).

    Some headers are wrong about it: pixels that use the bits below the stored ones and none of the
    highest are not shifted.
    """
    words = values.astype(np.uint16)
    uses_low = bool((words & np.uint16((1 << layout.shift) - 1)).any())
    if uses_low and not (words >> np.uint16(layout.bits_stored)).any():
        return words
    return words >> np.uint16(layout.shift)

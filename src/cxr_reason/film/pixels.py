"""Pixel data of a DICOM file → stored values.

Compressed frames go straight to imagecodecs and not through `pydicom.pixels`: that path logs
decoder texts, tries whatever decoder is installed, and refuses 12-bit JPEG. Of the three lossless
JPEG decoders in imagecodecs only libjpeg-turbo's survives damaged data; the other two read past
their buffers. The size that a compressed frame claims is compared with the header before its
decoder runs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import generate_fragments, parse_basic_offsets

from cxr_reason.errors import UnreadableImageError

_END_MARKER_BYTES = 16  # the marker and some padding

Decoder = Callable[[bytes, "Layout"], NDArray[Any]]


class Layout(NamedTuple):
    """Image attributes (PS3.3 C.7.6.3) of a frame that has passed the checks."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    byte_order: str


def decode_pixels(raw: bytes, transfer_syntax: str, layout: Layout) -> NDArray[np.uint16]:
    """Decode one frame.

    Args:
        raw: The value of Pixel Data (7FE0,0010).
        transfer_syntax: A key of `DECODERS`.
        layout: What the header says of the frame.

    Returns:
        Stored values numbered from 0, uint16 `[H, W]`.

    Raises:
        UnreadableImageError: Damaged, truncated, or of another size than the header says.
    """
    if not raw:
        raise UnreadableImageError("DICOM: no pixel data; the file is truncated or not an image")
    try:
        decoded = DECODERS[transfer_syntax](raw, layout)
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImageError("DICOM: pixel data damaged or truncated") from error
    if decoded.shape != (layout.rows, layout.columns) or decoded.dtype.itemsize > 2:
        raise UnreadableImageError("DICOM: pixel data and header disagree about the size")
    return number_values(decoded, layout)


def number_values(values: NDArray[Any], layout: Layout) -> NDArray[np.uint16]:
    """Number stored values from 0, whatever the signedness of file and decoder."""
    # Bits above the stored ones may hold overlays or anything else (PS3.5 8.1.1), and a decoder may
    # return either signedness: the low bits are right in all cases.
    index = values.astype(np.uint16) & np.uint16((1 << layout.bits_stored) - 1)
    return index ^ np.uint16(1 << (layout.bits_stored - 1)) if layout.signed else index


def _decode_native(raw: bytes, layout: Layout) -> NDArray[Any]:
    size_bytes = layout.rows * layout.columns * layout.bits_allocated // 8
    if len(raw) < size_bytes:
        raise UnreadableImageError(
            f"DICOM: pixel data truncated ({len(raw)} of {size_bytes} bytes)"
        )
    if layout.bits_allocated == 8 and layout.byte_order == ">":
        raise UnreadableImageError("DICOM: 8-bit big endian pixel data; send it little endian")
    kind = f"{layout.byte_order}u{layout.bits_allocated // 8}"
    pixels = np.frombuffer(raw, kind, count=layout.rows * layout.columns)
    return pixels.reshape(layout.rows, layout.columns)


def _decode_rle(raw: bytes, layout: Layout) -> NDArray[Any]:
    from imagecodecs import dicomrle_decode

    itemsize = layout.bits_allocated // 8
    # A fixed output bounds what a small file can grow to.
    out = bytearray(layout.rows * layout.columns * itemsize)
    decoded = dicomrle_decode(_join_fragments(raw), f"<u{itemsize}", out=out)
    if len(decoded) != len(out):
        raise UnreadableImageError("DICOM: RLE pixel data truncated")
    return np.frombuffer(out, f"<u{itemsize}").reshape(layout.rows, layout.columns)


def _decode_jpeg(raw: bytes, layout: Layout) -> NDArray[Any]:
    from imagecodecs import jpeg8_decode

    frame = _check_frame(_join_fragments(raw), jpeg_frame_size, layout)
    return np.asarray(jpeg8_decode(frame))


def _decode_jpeg_ls(raw: bytes, layout: Layout) -> NDArray[Any]:
    from imagecodecs import jpegls_decode

    frame = _check_frame(_join_fragments(raw), jpeg_frame_size, layout)
    return np.asarray(jpegls_decode(frame))


def _decode_jpeg_2000(raw: bytes, layout: Layout) -> NDArray[Any]:
    from imagecodecs import jpeg2k_decode

    frame = _check_frame(_join_fragments(raw), _jpeg_2000_frame_size, layout)
    return np.asarray(jpeg2k_decode(frame, numthreads=1))


def _lossy(decode: Decoder) -> Decoder:
    # A lossy frame may ring past the stored range: masking would turn its brightest pixels black.
    def decode_saturated(raw: bytes, layout: Layout) -> NDArray[Any]:
        decoded = decode(raw, layout)
        if layout.signed or decoded.dtype.kind != "u":
            return decoded
        return np.minimum(decoded, np.uint16((1 << layout.bits_stored) - 1))

    return decode_saturated


def _join_fragments(raw: bytes) -> bytes:
    """Return the one frame of encapsulated pixel data (PS3.5 A.4)."""
    buffer = BytesIO(raw)
    parse_basic_offsets(buffer)
    return b"".join(generate_fragments(buffer))


def _check_frame(
    frame: bytes, frame_size: Callable[[bytes], tuple[int, int, int]], layout: Layout
) -> bytes:
    if frame_size(frame) != (layout.rows, layout.columns, 1):
        raise UnreadableImageError("DICOM: compressed pixel data and header disagree about size")
    # libjpeg invents what is missing, so the end marker (EOI, EOC) has to be there. Writers pad
    # after it, with zeros or a fill byte.
    if b"\xff\xd9" not in frame.rstrip(b"\0")[-_END_MARKER_BYTES:]:
        raise UnreadableImageError("DICOM: compressed pixel data truncated")
    return frame


def jpeg_frame_size(data: bytes) -> tuple[int, int, int]:
    """Read rows, columns and components from a JPEG or JPEG-LS header (ITU-T T.81 B.2.2).

    Raises:
        UnreadableImageError: No frame header where one has to be.
    """
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        is_frame = (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7
        if is_frame:
            rows, columns, components = struct.unpack_from(">HHB", data, position + 5)
            return rows, columns, components
        # 0xFF may be repeated before a marker.
        length = struct.unpack_from(">H", data, position + 2)[0] + 1 if marker != 0xFF else 0
        position += 1 + length
    raise UnreadableImageError("JPEG: header damaged or truncated")


def _jpeg_2000_frame_size(data: bytes) -> tuple[int, int, int]:
    # ITU-T T.800 A.5.1: SOC, then SIZ with the reference grid and the image's offset in it.
    if not data.startswith(b"\xff\x4f\xff\x51"):
        raise UnreadableImageError("DICOM: pixel data is not a JPEG 2000 codestream")
    x_end, y_end, x_start, y_start = struct.unpack_from(">4I", data, 8)
    return y_end - y_start, x_end - x_start, struct.unpack_from(">H", data, 40)[0]


IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DECODERS: dict[str, Decoder] = {
    IMPLICIT: _decode_native,
    "1.2.840.10008.1.2.1": _decode_native,
    DEFLATED: _decode_native,
    BIG_ENDIAN: _decode_native,
    "1.2.840.10008.1.2.4.50": _lossy(_decode_jpeg),  # baseline
    "1.2.840.10008.1.2.4.51": _lossy(_decode_jpeg),  # extended, 8 or 12 bits
    "1.2.840.10008.1.2.4.57": _decode_jpeg,  # lossless
    "1.2.840.10008.1.2.4.70": _decode_jpeg,  # lossless, selection value 1
    "1.2.840.10008.1.2.4.80": _decode_jpeg_ls,
    "1.2.840.10008.1.2.4.81": _lossy(_decode_jpeg_ls),  # near-lossless
    "1.2.840.10008.1.2.4.90": _decode_jpeg_2000,  # lossless
    "1.2.840.10008.1.2.4.91": _lossy(_decode_jpeg_2000),
    "1.2.840.10008.1.2.4.201": _decode_jpeg_2000,  # high throughput, lossless
    "1.2.840.10008.1.2.4.202": _decode_jpeg_2000,  # high throughput, lossless, RPCL
    "1.2.840.10008.1.2.4.203": _lossy(_decode_jpeg_2000),  # high throughput
    "1.2.840.10008.1.2.5": _decode_rle,
}

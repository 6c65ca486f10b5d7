"""Compressed streams inside Pixel Data: what they are, and the repairs that writers make necessary.

A stream is decoded by what it is, not by what the transfer syntax says: archives change one without
the other. A repair is tried only where the stream as it stands fails, and it never invents pixels:

- JP2 boxes around a JPEG 2000 codestream (T.800 annex I; PS3.5 A.4.4 has the bare codestream);
- bytes between the last pixel and the end marker, or after it;
- no end marker, where the decoder shows that all pixels are there.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxr_reason.errors import TooLargeError, UnreadableImageError

END_MARKER = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_JPEG_START = b"\xff\xd8"
_JP2_START = b"\0\0\0\x0cjP  "
_END_MARKER_BYTES = 16  # the marker and some padding
_ZEROS_BEFORE_END = 8  # at most; each costs one decoding
_DCT_MARKERS = (0xC0, 0xC1, 0xC2)
_PROGRESSIVE_MARKER = 0xC2
_JPEG_LS_MARKER = 0xF7
_RESTART_MARKER = 0xDD  # DRI, which defines the interval
_SCAN_MARKER = 0xDA
# Decoders step through segments one by one, some of them in Python, and go over all of the picture
# for each scan. Progressive films have about ten.
_MOST_STEPS, _MOST_SCANS = 65_536, 100
_COD_MARKER, _TILE_PART_MARKER = 0x52, 0x90  # of JPEG 2000


class Frame(NamedTuple):
    """What the header of a stream says; `is_lossy`: a DCT, or an irreversible wavelet."""

    kind: Literal["jpeg", "jpeg_ls", "jpeg_2000"]
    rows: int
    columns: int
    samples: int
    bits: int
    is_lossy: bool


def is_stream(data: bytes) -> bool:
    """Tell whether `data` starts as a JPEG, JPEG-LS or JPEG 2000 stream, with or without boxes."""
    return data.startswith((_JPEG_START + b"\xff", b"\xff\x4f\xff\x51", _JP2_START))


def strip_boxes(data: bytes) -> bytes:
    """Return the codestream of a JP2 file, and anything else as it is."""
    position = 0
    for _ in range(_MOST_STEPS if data.startswith(_JP2_START) else 0):
        if position + 8 > len(data):
            break
        length, name = struct.unpack_from(">I4s", data, position)
        start = 8
        if length == 1:  # the length follows in 64 bits
            length, start = struct.unpack_from(">Q", data, position + 8)[0], 16
        if name == b"jp2c":  # a length of 0 reaches to the end
            return data[position + start : position + length if length else None]
        if length < 8:
            break
        position += length
    return data


def read_frame(data: bytes) -> Frame:
    """Read the header of a stream without boxes.

    Raises:
        UnreadableImageError: No frame header where one has to be.
    """
    if data.startswith(_JPEG_START):
        marker, bits, rows, columns, samples = _jpeg_frame(data)
        kind: Literal["jpeg", "jpeg_ls"] = "jpeg_ls" if marker == _JPEG_LS_MARKER else "jpeg"
        return Frame(kind, rows, columns, samples, bits, marker in _DCT_MARKERS)
    # ITU-T T.800 A.5.1: SOC, then SIZ with the reference grid and the image's offset in it.
    if not data.startswith(b"\xff\x4f\xff\x51") or len(data) < 43:
        raise UnreadableImageError("DICOM: compressed pixel data is no stream of a known kind")
    x_end, y_end, x_start, y_start = struct.unpack_from(">4I", data, 8)
    samples, depth = struct.unpack_from(">HB", data, 40)
    return Frame(
        "jpeg_2000",
        y_end - y_start,
        x_end - x_start,
        samples,
        (depth & 127) + 1,
        # COD (A.6.1) ends with the transformation, before optional precinct sizes: 0 is 9-7.
        is_lossy=any(
            m == _COD_MARKER and data[p + 13 : p + 14] == b"\0" for m, p in _segments(data)
        ),
    )


def jpeg_frame_size(data: bytes) -> tuple[int, int, int]:
    """Read rows, columns and components from a JPEG or JPEG-LS header (ITU-T T.81 B.2.2).

    Raises:
        UnreadableImageError: No frame header where one has to be.
    """
    _, _, rows, columns, components = _jpeg_frame(data)
    return rows, columns, components


def _jpeg_frame(data: bytes) -> tuple[int, int, int, int, int]:
    for marker, position in _segments(data):
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame or marker == _JPEG_LS_MARKER:
            return (marker, *struct.unpack_from(">BHHB", data, position + 4))
    raise UnreadableImageError("JPEG: header damaged or truncated")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    position = 2
    for _ in range(_MOST_STEPS):
        if position + 10 > len(data) or data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:  # may be repeated before a marker
            position += 1
            continue
        yield marker, position
        if marker in (_SCAN_MARKER, _TILE_PART_MARKER):  # coded data follow
            break
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]


def check_scans(data: bytes) -> None:
    """Refuse a JPEG or JPEG-LS stream that would keep a decoder busy out of all proportion.

    Raises:
        TooLargeError: Very many segments, fill bytes or scans.
    """
    # Within a scan 0xFF is never followed by this; a preview inside a segment has scans too.
    if data.count(bytes((0xFF, _SCAN_MARKER))) > _MOST_SCANS:
        raise TooLargeError(f"JPEG: over {_MOST_SCANS} scans; send a baseline or lossless JPEG")
    position, steps = 2, 0
    while 0 <= (start := data.find(b"\xff", position)) < len(data) - 4:
        steps += 1 + start - position  # decoders skip what is no marker byte by byte
        if steps > _MOST_STEPS:
            raise TooLargeError("JPEG: far more segments than a picture has; write the file anew")
        marker = data[start + 1]
        if marker == _SCAN_MARKER:
            break
        is_fill, is_alone = marker in (0, 0xFF), marker == 1 or 0xD0 <= marker <= 0xD9
        position = start + (1 if is_fill else 2)
        if not is_fill and not is_alone:
            position += struct.unpack_from(">H", data, start + 2)[0]


def decode_stream(data: bytes, frame: Frame) -> tuple[NDArray[Any], bool]:
    """Decode a stream without boxes.

    Returns:
        Values as the decoder gives them, `[H, W]` or `[H, W, C]`, and whether the stream had to be
        repaired.

    Raises:
        UnreadableImageError: Damaged or truncated.
        TooLargeError: See `check_scans`.
    """
    if frame.kind != "jpeg_2000":
        check_scans(data)
    # libjpeg invents what is missing, so the end marker has to be there. Writers pad after it, with
    # zeros or a fill byte.
    if END_MARKER in data.rstrip(b"\0")[-_END_MARKER_BYTES:]:
        try:
            return _decode(data, frame), False
        except MemoryError:
            raise
        except Exception as error:
            failure: Exception | None = error
    else:
        failure = None
    for candidate in _repairs(data, frame):
        try:
            return _decode(candidate, frame), True
        except MemoryError:
            raise
        except Exception as error:
            failure = error
    raise UnreadableImageError("DICOM: compressed pixel data damaged or truncated") from failure


def _decode(data: bytes, frame: Frame) -> NDArray[Any]:
    import imagecodecs

    if frame.kind == "jpeg_ls":
        return np.asarray(imagecodecs.jpegls_decode(data))
    if frame.kind == "jpeg_2000":
        return np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))
    if frame.samples == 1:
        return np.asarray(imagecodecs.jpeg8_decode(data))
    # Components as they are stored: whether they are YCbCr or RGB is told apart by their values.
    return np.asarray(imagecodecs.jpeg8_decode(data, colorspace="YCBCR", outcolorspace="YCBCR"))


def _repairs(data: bytes, frame: Frame) -> Iterator[bytes]:
    if frame.kind == "jpeg_2000":
        end = _end_of_tile_parts(data)
        if end is not None:
            yield data[:end] + END_MARKER
        return
    positions = dict(_segments(data))
    scan = positions.get(_SCAN_MARKER, len(data))
    # The marker cannot occur within a scan, where 0xFF is always followed by a stuffed byte or bit.
    end = data.find(END_MARKER, scan)
    if end < 0:
        if frame.kind == "jpeg_ls":
            # This decoder refuses a scan that ends early.
            yield data.rstrip(b"\0") + END_MARKER
            yield data + END_MARKER
        elif _is_complete(data, frame, positions):
            yield data + END_MARKER
        return
    if len(data) - end > _END_MARKER_BYTES:
        yield data[: end + 2]
    if frame.kind == "jpeg_ls":
        zeros = end - len(data[:end].rstrip(b"\0"))
        for count in range(1, min(zeros, _ZEROS_BEFORE_END) + 1):
            yield data[: end - count] + END_MARKER


def _is_complete(data: bytes, frame: Frame, markers: Collection[int]) -> bool:
    """Tell whether a JPEG stream without an end marker has all its pixels.

    A pixel that is missing is decoded from the bits that follow: if continuations that differ in
    their first bits give the same picture, nothing of them was used. That needs a single scan
    without restarts, as another scan or interval could be missing as a whole.
    """
    if frame.samples != 1 or not {_PROGRESSIVE_MARKER, _RESTART_MARKER}.isdisjoint(markers):
        return False
    pictures = [_decode(data + 64 * bits + END_MARKER, frame) for bits in (b"\0", b"\xaa", b"\x55")]
    return all(np.array_equal(pictures[0], picture) for picture in pictures[1:])


def _end_of_tile_parts(data: bytes) -> int | None:
    """Return where the last tile-part ends (T.800 A.4.2), None if one is missing or cut."""
    position = 2
    for _ in range(_MOST_STEPS):
        if position + 4 > len(data) or data[position : position + 2] == b"\xff\x90":
            break
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    x_end, y_end, _, _, x_tile, y_tile, x_first, y_first = struct.unpack_from(">8I", data, 8)
    if not x_tile or not y_tile:
        return None
    tiles = -((x_first - x_end) // x_tile) * -((y_first - y_end) // y_tile)
    parts: dict[int, int] = {}  # tile → tile-parts that are still expected
    while data[position : position + 2] == b"\xff\x90" and position + 12 <= len(data):
        tile, length, part, count = struct.unpack_from(">HIBB", data, position + 4)
        if length < 14 or position + length > len(data):
            return None
        parts[tile] = count - part - 1 if count else 0
        position += length
    return position if len(parts) == tiles and not any(parts.values()) else None

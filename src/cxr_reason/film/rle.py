"""Run-length encoded pixel data (PS3.5 annex G)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_reason.errors import UnreadableImageError

_HEADER_BYTES = 64

# What a segment may hold past its last pixel: one run.
_EXCESS_BYTES = 128


def is_rle(frame: bytes, segments: int) -> bool:
    """Tell whether a frame starts with an RLE header (PS3.5 G.5) of so many segments."""
    return frame.startswith(struct.pack("<2I", segments, _HEADER_BYTES))


def decode_rle(frame: bytes, pixels: int, samples: int, itemsize: int) -> tuple[NDArray[Any], bool]:
    """Decode one frame.

    Segments that go on past their last pixel are read, as other toolkits do.

    Args:
        frame: The encoded frame.
        pixels: Rows times columns.
        samples: Samples per pixel.
        itemsize: Bytes of a sample, 1 or 2.

    Returns:
        uint8 or uint16 `[samples * pixels]`, sample after sample; and whether the segments had not
        the length that the standard wants.

    Raises:
        UnreadableImageError: Truncated, or of another size.
    """
    from imagecodecs import dicomrle_decode

    # A fixed output bounds what a small file can grow to.
    out = bytearray(pixels * samples * itemsize)
    # Segments have an even length (PS3.5 G.3.1).
    was_repaired = any(offset % 2 for offset in struct.unpack_from("<15I", frame, 4))
    try:
        length = len(dicomrle_decode(frame, f"<u{itemsize}", out=out))
    except MemoryError:
        raise
    except Exception:
        was_repaired = True
        length = _decode_long_segments(frame, out, pixels, samples, itemsize)
    if length != len(out):
        raise UnreadableImageError("DICOM: RLE pixel data truncated")
    return np.frombuffer(out, f"<u{itemsize}"), was_repaired


def _decode_long_segments(
    frame: bytes, out: bytearray, pixels: int, samples: int, itemsize: int
) -> int:
    """Fill `out`, and return how much of it was filled."""
    from imagecodecs import packbits_decode

    segments, *offsets = struct.unpack_from("<16I", frame)
    if segments != itemsize * samples:
        raise UnreadableImageError("DICOM: RLE pixel data and header disagree about the size")
    ends = [*offsets[1:segments], len(frame)]
    planes = np.frombuffer(out, np.uint8).reshape(samples, pixels, itemsize)
    for number, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        segment = bytearray(pixels + _EXCESS_BYTES)
        if len(packbits_decode(frame[start:end], out=segment)) < pixels:
            return 0
        # The most significant byte comes first (PS3.5 G.2).
        sample, byte = divmod(number, itemsize)
        planes[sample, :, itemsize - 1 - byte] = np.frombuffer(segment, np.uint8, pixels)
    return len(out)

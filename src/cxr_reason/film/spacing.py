"""Distances between stored pixels: in millimetres, and of rows to columns."""

from __future__ import annotations

from cxr_reason.film.header import Header
from cxr_reason.film.info import SpacingKind

# Sides of the resized film are multiples of 28 px of at most 476: nothing smaller is resolved.
_SQUARE_WITHIN = 0.01
_MOST_ASPECT = 1e6  # keeps damaged values finite; far less is refused when the film is resized


def read_spacing(header: Header) -> tuple[tuple[float, float] | None, SpacingKind]:
    """Spacing of rows and columns as stored, in mm, and what it means: PS3.3 10.7.1.3.

    Pixel Spacing alone, without a calibration type, does not say in which plane it was measured.
    """
    pixel, imager = _read_pair(header, "PixelSpacing"), _read_pair(header, "ImagerPixelSpacing")
    is_corrected = imager is not None and pixel != imager
    if pixel and (header.text("PixelSpacingCalibrationType") or is_corrected):
        return pixel, "calibrated"
    if imager:
        return imager, "detector"
    return None, "unknown"


def read_pixel_aspect(header: Header) -> float:
    """Distance between rows over distance between columns, as stored; 1 for square pixels.

    Pixel Aspect Ratio (0028,0034), vertical to horizontal, counts only without a spacing: PS3.3
    C.7.6.3.1.7. What is square within 1 % is square.
    """
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        pair = _read_pair(header, keyword)
        if pair:
            aspect = min(max(pair[0] / pair[1], 1 / _MOST_ASPECT), _MOST_ASPECT)
            return 1.0 if abs(aspect - 1.0) <= _SQUARE_WITHIN else aspect
    return 1.0


def _read_pair(header: Header, keyword: str) -> tuple[float, float] | None:
    pair = header.numbers(keyword)
    return (pair[0], pair[1]) if len(pair) == 2 and min(pair) > 0 else None

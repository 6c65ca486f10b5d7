"""Films that are changed on purpose: a region covered, or nothing on them at all.

All work is on display intensities, so that a cover looks alike whatever the film's window and
polarity are. The result is a 16-bit PNG, ready for display: every backend takes it by its own
decoder, and the 65,535 levels change no patch by more than 1e-5.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxr_reason.data.releases import Box
from cxr_reason.film.radiograph import Radiograph

Intensity = NDArray[np.float32]
PixelBox = tuple[int, int, int, int]  # x0, y0, x1, y1, the ends not included

_MID_GRAY = 0.5
_BLANK_RANGE = 10.0 / 255.0
_FEATHER_SHARE = 0.02  # of the shorter side of the film
_STEPS = 48  # places tried along a side


def show(film: Radiograph) -> Intensity:
    """Return the display intensities of a film, float32 `[H, W]`."""
    return np.asarray(film.display_table[film.pixels], np.float32)


def encode_png(intensity: Intensity) -> bytes:
    """Return display intensities 0..1 as a 16-bit PNG."""
    levels = np.rint(intensity.clip(0.0, 1.0) * 65_535.0).astype(np.uint16)
    buffer = BytesIO()
    scaled = PngInfo()
    scaled.add(b"sBIT", bytes([16]))  # or a dark film would be taken for one of fewer bits
    Image.fromarray(levels).save(buffer, "PNG", pnginfo=scaled)
    return buffer.getvalue()


def make_blank(height_px: int, width_px: int) -> bytes:
    """Return a film of mid-gray with nothing on it as a PNG.

    From top to bottom it brightens by ten gray levels of 255: a reader refuses a uniform one before
    the model sees it, and what is asked is what the model says.
    """
    ramp = np.linspace(_MID_GRAY - _BLANK_RANGE / 2, _MID_GRAY + _BLANK_RANGE / 2, height_px)
    return encode_png(np.repeat(ramp.astype(np.float32)[:, None], width_px, axis=1))


def to_pixels(box: Box, height_px: int, width_px: int) -> PixelBox:
    """Return a box in pixels: every pixel it touches."""
    x0, y0 = int(box.left * width_px + 1e-6), int(box.top * height_px + 1e-6)
    x1 = int(np.ceil((box.left + box.width) * width_px - 1e-6))
    y1 = int(np.ceil((box.top + box.height) * height_px - 1e-6))
    return x0, y0, min(max(x1, x0 + 1), width_px), min(max(y1, y0 + 1), height_px)


def feather_px(height_px: int, width_px: int) -> int:
    """Return how far beyond its box a cover fades out."""
    return max(2, round(_FEATHER_SHARE * min(height_px, width_px)))


def occlude(intensity: Intensity, boxes: list[PixelBox]) -> Intensity:
    """Cover boxes with the mean of what surrounds each.

    A cover is opaque in its box and fades out linearly over `feather_px` beyond it. Its value is
    the mean over a ring of the same width around that, pixels of the boxes left out.
    """
    height, width = intensity.shape
    feather = feather_px(height, width)
    distances = [_distance(box, height, width) for box in boxes]
    inside = np.any([distance == 0 for distance in distances], axis=0)
    result = intensity.copy()
    for distance in distances:
        ring = (distance > feather) & (distance <= 2 * feather) & ~inside
        around = ring if ring.any() else ~inside
        fill = float(intensity[around].mean()) if around.any() else _MID_GRAY
        cover = (1.0 - distance / feather).clip(0.0, 1.0)
        result += cover * (fill - result)
    return np.asarray(result, np.float32)


def find_elsewhere(
    own: list[PixelBox], findings: list[PixelBox], height_px: int, width_px: int
) -> list[PixelBox] | None:
    """Find places of the same sizes that touch no finding, nor fade into one.

    Each is the free place nearest to the mirror image of its box: much the same anatomy on the
    other side, where the chest is.

    Args:
        own: Boxes to find a place for.
        findings: Every finding's boxes, these included.
        height_px: Of the film.
        width_px: Of the film.

    Returns:
        A box for each of `own`, or None where the film has no room.
    """
    blocked = np.zeros((height_px, width_px), bool)
    gap = feather_px(height_px, width_px)

    def block(box: PixelBox) -> None:
        x0, y0, x1, y1 = box
        blocked[max(0, y0 - gap) : y1 + gap, max(0, x0 - gap) : x1 + gap] = True

    for box in findings:
        block(box)
    places = []
    for box in own:
        place = _nearest_free(box, blocked)
        if place is None:
            return None
        block(place)
        places.append(place)
    return places


def _nearest_free(box: PixelBox, blocked: NDArray[np.bool_]) -> PixelBox | None:
    height, width = blocked.shape
    box_width, box_height = box[2] - box[0], box[3] - box[1]
    sums = np.pad(blocked.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    xs = _tries(width - box[2], width - box_width)
    ys = _tries(box[1], height - box_height)
    x, y = np.meshgrid(xs, ys)
    right, bottom = x + box_width, y + box_height
    is_free = sums[bottom, right] - sums[y, right] - sums[bottom, x] + sums[y, x] == 0
    if not is_free.any():
        return None
    away = np.where(is_free, np.hypot(x - (width - box[2]), y - box[1]), np.inf)
    row, column = np.unravel_index(int(away.argmin()), away.shape)
    left, top = int(x[row, column]), int(y[row, column])
    return left, top, left + box_width, top + box_height


def _tries(wish: int, last: int) -> NDArray[np.int64]:
    spread = np.linspace(0, last, _STEPS).round().astype(np.int64)
    return np.unique(np.append(spread, wish))


def _distance(box: PixelBox, height: int, width: int) -> NDArray[np.float32]:
    """Return the larger of the distances in x and y from a box, 0 inside; float32 `[H, W]`."""
    x0, y0, x1, y1 = box
    x, y = np.arange(width), np.arange(height)
    beside = np.maximum(np.maximum(x0 - x, x - (x1 - 1)), 0)
    above = np.maximum(np.maximum(y0 - y, y - (y1 - 1)), 0)
    return np.maximum(above[:, None], beside[None, :]).astype(np.float32)

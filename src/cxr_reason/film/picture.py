"""A look at the rendered picture: what no header tells, or what it tells wrongly.

Five questions, by rules that need no model and work for PNG and JPEG as well as for DICOM: is there
a picture at all, does it use the gray scale, is much of it cut off at black or white, is it a
negative, is it turned. How each was measured, what it catches and what it misses:
`benchmarks/picture.py`. A mirrored film is not among them: without a marker it looks like a film.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_reason.errors import UnsupportedObjectError

CELLS = 8  # a side

# The left half of a table over 8x8 cells, in hundredths; the right half is its mirror image. Fitted
# by `benchmarks/picture_fit.py` to phantoms and to films of NIH ChestX-ray14 (NIH Clinical Center),
# so that its product with an upright film is larger than with the film turned or reversed. It says:
# bright neck, spine and abdomen, dark air above the shoulders, dark lungs.
_HALF_TABLE = (
    (-40, -70, -27, 81),
    (13, -34, -56, -15),
    (61, 65, -52, -27),
    (20, -13, -65, 16),
    (-9, -42, -33, 74),
    (-25, -54, -6, 86),
    (-60, -39, 74, 133),
    (-53, -21, 49, 70),
)

_STEP = 1.0 / 255.0
_CLIPPED = 1.5 * _STEP  # from black or white; the resizing filter leaves a clipped area so close
_EDGE = 0.2  # of a side: around the middle, where air and shutters may be black

# Of 722 upright films 0 have more clipped, 0 less contrast, 1 and 2 a larger margin (negative,
# turned); phantoms, whose windows clip metal and spine as scanners' do, have up to 6 % of white.
MAX_CLIPPED_BLACK = 0.05
MAX_CLIPPED_WHITE = 0.10
MIN_CONTRAST = 0.28
MIN_SPAN = 3.0 * _STEP  # gray levels of a screen: with fewer there is nothing to see
MIN_MARGIN = 2.0  # logits: seven to one


@dataclass(frozen=True)
class PictureLook:
    """What a picture looks like.

    Attributes:
        span: Between the gray values that 0.5 % of the pixels lie below and above, 0..1.
        contrast: The same with 5 %: a marker or a frame does not count.
        clipped_black: Share of the pixels in the middle that are black.
        clipped_white: Share of the pixels in the middle that are white.
        turned_margin: How much better the best quarter turn fits a frontal film than the picture
            as it is, in logits; below 0 where it lies right.
        negative_margin: The same for the picture with its gray values reversed.
    """

    span: float
    contrast: float
    clipped_black: float
    clipped_white: float
    turned_margin: float
    negative_margin: float


def look_at(picture: NDArray[np.float32]) -> PictureLook:
    """Measure a picture.

    Args:
        picture: Float32 `[H, W]`, 0..1, bone bright, as the model sees it; 28 pixels a side or
            more.
    """
    height, width = picture.shape
    top, left = int(height * _EDGE), int(width * _EDGE)
    middle = picture[top : height - top, left : width - left]
    lowest, low, high, highest = np.quantile(picture, (0.005, 0.05, 0.95, 0.995))
    scores = _score(rank_cells(picture))
    return PictureLook(
        span=float(highest - lowest),
        contrast=float(high - low),
        clipped_black=float(np.mean(middle <= _CLIPPED)),
        clipped_white=float(np.mean(middle >= 1.0 - _CLIPPED)),
        turned_margin=float(scores[:, 1:].max() - scores[:, 0].max()),
        negative_margin=float(scores[1].max() - scores[0].max()),
    )


def check_picture(picture: NDArray[np.float32]) -> tuple[str, ...]:
    """Return the flags of a picture: `low_contrast`, `clipped`, `looks_negative`, `looks_turned`.

    The last two mean nothing for a picture that is no frontal chest film.

    Args:
        picture: See `look_at`.

    Raises:
        UnsupportedObjectError: Blank.
    """
    look = look_at(picture)
    if look.span < MIN_SPAN:
        raise UnsupportedObjectError(
            f"image: blank: as rendered, 99 % of its pixels are within {look.span / _STEP:.0f} of "
            f"255 gray levels of each other, and a film needs {MIN_SPAN / _STEP:.0f}; check window "
            "and pixels of the file"
        )
    found = {
        "low_contrast": look.contrast < MIN_CONTRAST,
        "clipped": (
            look.clipped_black > MAX_CLIPPED_BLACK or look.clipped_white > MAX_CLIPPED_WHITE
        ),
        "looks_negative": look.negative_margin > MIN_MARGIN,
        "looks_turned": look.turned_margin > MIN_MARGIN,
    }
    return tuple(flag for flag, is_so in found.items() if is_so)


def rank_cells(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the ranks of the mean gray of 8x8 cells, float64 `[8, 8]`, -1..1; equal for ties.

    Ranks, because a window or a gamma curve changes gray values but not their order.
    """
    height, width = picture.shape
    rows, columns = np.arange(CELLS) * height // CELLS, np.arange(CELLS) * width // CELLS
    sums = np.add.reduceat(picture, rows, axis=0, dtype=np.float64)
    sums = np.add.reduceat(sums, columns, axis=1)
    areas = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))
    # Rounded, so that cells of one flat area tie though their sums differ in the last digit.
    _, index, counts = np.unique(np.round(sums / areas, 6), return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - counts + (counts - 1) / 2.0
    return (ranks[index].reshape(CELLS, CELLS) + 0.5) * (2.0 / CELLS**2) - 1.0


def _score(ranked: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how well each reading fits, `[2, 4]`: as it is or reversed, by quarter turns."""
    half = np.array(_HALF_TABLE) / 100.0
    table = np.concatenate([half, half[:, ::-1]], axis=1)
    scores = np.array([np.sum(np.rot90(ranked, turn) * table) for turn in range(4)])
    return np.stack([scores, -scores])

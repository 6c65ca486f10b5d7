"""The grayscale pipeline of DICOM as one table: stored value -> display intensity.

Every step of the pipeline maps one value to one value, so the whole of it is a table of
2**bits entries, built once and then looked up for each pixel. The order is the standard's (PS3.4
N.2, PS3.3 C.11): modality LUT or rescale, then VOI LUT or window, then one inversion. Stored
values are numbered from 0: a signed value v has the index v + 2**(bits - 1).

Intensities are 0..1, where 0 is the darkest and 1 the brightest value a display can show:

- a window function is defined on an output range, and that range is taken as 0..1;
- a VOI LUT of n bits has the output range 0..2**n - 1 (PS3.3 C.11.2.1.1) and is divided by
  2**n - 1, not by the largest entry it holds: a LUT that ends below white stays below white. What n
  is where header and entries disagree: `cxr_reason.film.lut`;
- an estimated window takes its two percentiles as 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_reason.errors import UnsupportedObjectError

# Robust ends of the gray values of a film without a window: wide enough to keep lung and bone,
# narrow enough to lose burned-in markers (white) and direct exposure (black).
_LOW_PERCENTILE, _HIGH_PERCENTILE = 0.5, 99.5

# Rows counted at once: `bincount` widens its input to 64 bits.
_ROWS_PER_COUNT = 256


@dataclass(frozen=True)
class Lut:
    """A modality or VOI look-up table (PS3.3 C.11.1.1, C.11.2.1.1).

    Attributes:
        first: Input value that maps to the first entry; lower inputs do too.
        bits: Bits of an entry, 1 to 16.
        values: uint16 `[entries]`; inputs past the end map to the last entry.
    """

    first: int
    bits: int
    values: NDArray[np.uint16]


@dataclass(frozen=True)
class Window:
    """A VOI window (PS3.3 C.11.2.1.2).

    Attributes:
        center: Window Center (0028,1050), in values after the modality step.
        width: Window Width (0028,1051).
        function: VOI LUT Function (0028,1056): "LINEAR", "LINEAR_EXACT" or "SIGMOID".
    """

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True)
class GrayscaleSteps:
    """What the header says about the gray values.

    Attributes:
        bits_stored: Bits of a stored pixel; the table has 2**bits_stored entries.
        signed: Whether stored values are two's complement numbers.
        inverted: Whether low values are shown bright; see `is_inverted`.
        slope: Rescale Slope (0028,1053).
        intercept: Rescale Intercept (0028,1052).
        modality_lut: Takes the place of slope and intercept.
        voi_lut: Takes the place of the window.
        window: None where the header has none: it is then estimated from the pixels.
        padding: First and last stored index that mark "no image here" (PS3.3 C.7.5.1.1.2).
    """

    bits_stored: int
    signed: bool = False
    inverted: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: Lut | None = None
    voi_lut: Lut | None = None
    window: Window | None = None
    padding: tuple[int, int] | None = None

    @property
    def window_is_missing(self) -> bool:
        """Whether the display range has to be estimated from the pixels."""
        return self.voi_lut is None and self.window is None


def settle_voi(
    pixels: NDArray[np.uint16], steps: GrayscaleSteps
) -> tuple[GrayscaleSteps, tuple[str, ...]]:
    """Drop a VOI LUT or window that shows nothing of the film, as headers copied from others do.

    Args:
        pixels: uint16 `[H, W]`, indices into the table.
        steps: What the header says about the gray values.

    Returns:
        The steps without a VOI LUT, and without a window, that lies beside all pixels (but one in
        two hundred at each end, which may be burned-in letters); "voi_lut_ignored" where the LUT
        was dropped, "window_estimated" where now neither is left.
    """
    flags: tuple[str, ...] = ()
    if not steps.window_is_missing:
        low, high = estimate_range(pixels, apply_modality(steps), steps.padding)
        lut, window = steps.voi_lut, steps.window
        if low < high and lut is not None and _lut_is_beside(lut, low, high):
            steps, flags = replace(steps, voi_lut=None), ("voi_lut_ignored",)
        if low < high and window is not None and _is_beside(window, low, high):
            steps = replace(steps, window=None)
    return steps, (*flags, *(("window_estimated",) if steps.window_is_missing else ()))


def build_display_table(pixels: NDArray[np.uint16], steps: GrayscaleSteps) -> NDArray[np.float32]:
    """Build the table that maps each stored value to what a display shows.

    Args:
        pixels: uint16 `[H, W]`, indices into the table. Read only if the header has no window.
        steps: What the header says about the gray values.

    Returns:
        float32 `[2**bits_stored]`, 0..1.

    Raises:
        UnsupportedObjectError: A window that the standard forbids.
    """
    values = apply_modality(steps)
    if steps.voi_lut is not None:
        shown = apply_voi_lut(values, steps.voi_lut)
    elif steps.window is not None:
        shown = apply_window(values, steps.window)
    else:
        shown = _apply_range(values, *estimate_range(pixels, values, steps.padding))
    return (1.0 - shown if steps.inverted else shown).astype(np.float32)


def identity_table(bits: int) -> NDArray[np.float32]:
    """Return float32 `[2**bits]`, v / (2**bits - 1): images that are ready for display."""
    return np.linspace(0.0, 1.0, 1 << bits, dtype=np.float64).astype(np.float32)


def is_inverted(photometric: str, presentation_lut_shape: str) -> bool:
    """Decide the one inversion of the pipeline.

    Presentation LUT Shape (2050,0020) says what happens to the output of the VOI step, so where
    it is present it decides alone: DX has INVERSE together with MONOCHROME1 (PS3.3 C.8.11.3.1.2),
    which is one inversion and not two. CR has no such attribute: there MONOCHROME1 itself says
    that the lowest value is shown white (PS3.3 C.7.6.3.1.2).

    Args:
        photometric: Photometric Interpretation (0028,0004).
        presentation_lut_shape: (2050,0020), "" where absent.
    """
    if presentation_lut_shape in ("INVERSE", "IDENTITY"):
        return presentation_lut_shape == "INVERSE"
    return photometric == "MONOCHROME1"


def apply_modality(steps: GrayscaleSteps) -> NDArray[np.float64]:
    """Return float64 `[2**bits_stored]`: the value each stored value means (PS3.3 C.11.1)."""
    stored = np.arange(1 << steps.bits_stored, dtype=np.float64)
    if steps.signed:
        stored -= 1 << (steps.bits_stored - 1)
    if steps.modality_lut is not None:
        return _look_up(stored, steps.modality_lut)
    return stored * steps.slope + steps.intercept


def apply_voi_lut(values: NDArray[np.float64], lut: Lut) -> NDArray[np.float64]:
    """Map values of any shape through a VOI LUT to 0..1 (PS3.3 C.11.2.1.1)."""
    return np.minimum(_look_up(values, lut) / ((1 << lut.bits) - 1), 1.0)


def apply_window(values: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
    """Map values of any shape through a window to 0..1 (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Raises:
        UnsupportedObjectError: An unknown function, or a width that is not above 0.
    """
    center, width = window.center, window.width
    if window.function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise UnsupportedObjectError(
            "VOI LUT Function is not one of LINEAR, LINEAR_EXACT, SIGMOID; correct (0028,1056)"
        )
    if width <= 0:
        raise UnsupportedObjectError(
            f"Window Width {width:g} must be above 0; correct or remove (0028,1051)"
        )
    if window.function == "SIGMOID":
        # exp overflows past 709; the result is 0 long before.
        exponent = np.minimum(-4.0 * (values - center) / width, 700.0)
        return np.asarray(1.0 / (1.0 + np.exp(exponent)))
    return _apply_range(values, *_ends(window))


def _ends(window: Window) -> tuple[float, float]:
    center, width = window.center, window.width
    # LINEAR requires a width of at least 1 (C.11.2.1.2.1). One below, as comes with a small Rescale
    # Slope, has a meaning only as LINEAR_EXACT, and viewers show it so.
    if window.function == "LINEAR" and width >= 1:
        center, width = center - 0.5, width - 1.0
    return center - width / 2, center + width / 2


def estimate_range(
    pixels: NDArray[np.uint16],
    values: NDArray[np.float64],
    padding: tuple[int, int] | None = None,
) -> tuple[float, float]:
    """Estimate the display range of a film whose header has no window.

    Outer rows and columns of one single value (collimation filled in, scanner border) and padding
    are left out: on some films they are most of the pixels.

    Args:
        pixels: uint16 `[H, W]`.
        values: float64 `[2**bits]`, the value of each stored value after the modality step.
        padding: First and last stored index of padding.

    Returns:
        The 0.5th and the 99.5th percentile of the values.
    """
    film = _without_constant_border(pixels)
    counts = np.zeros(len(values), dtype=np.int64)
    for top in range(0, len(film), _ROWS_PER_COUNT):
        block = film[top : top + _ROWS_PER_COUNT]
        counts += np.bincount(block.ravel(), minlength=len(values))
    if padding is not None:
        counts[padding[0] : padding[1] + 1] = 0
    order = np.argsort(values, kind="stable")
    seen = np.cumsum(counts[order])
    ranks = seen[-1] * np.array([_LOW_PERCENTILE, _HIGH_PERCENTILE]) / 100.0
    low, high = values[order[np.minimum(np.searchsorted(seen, ranks), len(order) - 1)]]
    return float(low), float(high)


def _apply_range(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    # A range without extent is a threshold: PS3.3 C.11.2.1.2.1 for a width of 1.
    if high <= low:
        return (values > low).astype(np.float64)
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _is_beside(window: Window, low: float, high: float) -> bool:
    """Tell whether a window shows all values from `low` to `high` as black, or all as white."""
    first, last = _ends(window)
    if window.function == "SIGMOID":
        # Three half widths from the center a sigmoid is within half a gray level of its end.
        first, last = first - window.width, last + window.width
    return high <= first or low >= last


def _lut_is_beside(lut: Lut, low: float, high: float) -> bool:
    return round(high) <= lut.first or round(low) >= lut.first + len(lut.values) - 1


def _look_up(values: NDArray[np.float64], lut: Lut) -> NDArray[np.float64]:
    index = np.clip(np.rint(values) - lut.first, 0, len(lut.values) - 1)
    return lut.values[index.astype(np.int64)].astype(np.float64)


def _without_constant_border(pixels: NDArray[np.uint16]) -> NDArray[Any]:
    for axis in (1, 0):
        varied = np.flatnonzero(pixels.min(axis=axis) != pixels.max(axis=axis))
        if not len(varied):
            return pixels
        kept = slice(varied[0], varied[-1] + 1)
        pixels = pixels[kept] if axis == 1 else pixels[:, kept]
    return pixels

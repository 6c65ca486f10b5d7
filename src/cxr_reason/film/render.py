"""How a film is shown at first, in the terms of a window tool: for viewers, not for the model.

The display table of a `Radiograph` is what the model is given, and a viewer looks pixels up in it
too. Only where a reader moves the window, a viewer needs more: which value each stored value means,
and the window to start from. Both follow from the table itself, so that no rule of the header has
to be known twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.film.display_table import GrayscaleSteps, Window, apply_modality, apply_window
from cxr_reason.film.radiograph import Radiograph

# Intensities this close are the same gray level of 8 bits, and what is this close to an end is it.
_SAME = 1e-3
_END = 1e-6
_MOST = 1e30


@dataclass(frozen=True, eq=False)
class GrayView:
    """The first view of a film.

    Attributes:
        values: float64 `[2**bits]`, the value that each stored value means (PS3.3 C.11.1); what
            the window is given in.
        window: Shows what the table shows; where `through_lut`, a window over the table's range.
        through_lut: Whether no window gives the table, as where the header has a VOI LUT.
        inverted: Whether low values are shown bright.
    """

    values: NDArray[np.float64]
    window: Window
    through_lut: bool
    inverted: bool


def find_gray_view(film: Radiograph) -> GrayView:
    """Return the window, if there is one, that shows a film as its display table does.

    Args:
        film: A decoded film.

    Returns:
        The header's own window where that is what the table was made from; else the linear window
        that gives the same table; else, for tables that are no window, one over their range.
    """
    bits = len(film.display_table).bit_length() - 1
    # A slope may be anything that a decimal string holds: no viewer has use for more than this.
    with np.errstate(all="ignore"):
        values = apply_modality(film.steps or GrayscaleSteps(bits)).clip(-_MOST, _MOST)
    shown = film.display_table.astype(np.float64)
    # Least squares would give the sign of the slope by this sum.
    inverted = bool(np.dot(values - values.mean(), shown - shown.mean()) < 0)
    shown = 1.0 - shown if inverted else shown
    stated = film.steps.window if film.steps else None
    if stated is not None and _is_same(values, shown, stated):
        return GrayView(values, stated, through_lut=False, inverted=inverted)
    fitted = _fit_window(values, shown)
    return GrayView(values, fitted, not _is_same(values, shown, fitted), inverted)


def _is_same(values: NDArray[np.float64], shown: NDArray[np.float64], window: Window) -> bool:
    try:
        with np.errstate(all="ignore"):  # a header's numbers may be of any size
            by_window = apply_window(values, window)
    except UnsupportedObjectError:
        return False
    return bool(np.abs(by_window - shown).max() < _SAME)


def _fit_window(values: NDArray[np.float64], shown: NDArray[np.float64]) -> Window:
    inside = np.flatnonzero((shown > _END) & (shown < 1.0 - _END))
    if len(inside):
        first, last = inside[np.argmin(values[inside])], inside[np.argmax(values[inside])]
        rise, run = shown[last] - shown[first], values[last] - values[first]
        if rise > 0 and run > 0:
            low = values[first] - shown[first] * run / rise
            fitted = _range_window(low, low + run / rise)
            if _is_same(values, shown, fitted):
                return fitted
    # Where the table leaves its darkest and reaches its brightest.
    dark = values[shown <= shown.min() + _END]
    bright = values[shown >= shown.max() - _END]
    low, high = dark.max(), bright.min()
    return _range_window(low, high) if low < high else _range_window(values.min(), values.max())


def _range_window(low: float, high: float) -> Window:
    """Return the window with black at `low` and white at `high`; never without extent."""
    width = max(float(high - low), 1e-6)
    return Window(float(low) + width / 2, width, "LINEAR_EXACT")

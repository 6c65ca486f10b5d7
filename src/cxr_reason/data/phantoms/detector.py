"""From attenuation to detector values: scatter, noise, processing, markers and the window.

Scatter, exposure control, equalization and window follow the healthy chest, not the findings: so
none of them reveals what is on the film, and a finding changes no pixel far from itself. Contrast
that a real film loses by scatter is lost here too; only the small change of scatter by the finding
itself is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxr_reason.data.phantoms.anatomy import Anatomy, Side, View
from cxr_reason.data.phantoms.canvas import Canvas, Map, blur, enlarge, shrink, small_step_px
from cxr_reason.data.phantoms.streams import Stream, open_stream

BITS_STORED = 12
MAX_VALUE = 2**BITS_STORED - 1

Photometric = Literal["MONOCHROME1", "MONOCHROME2"]
WindowFunction = Literal["LINEAR", "SIGMOID"]
Border = Literal["none", "shutter", "unexposed"]

_BORDERS: tuple[Border, ...] = ("none", "none", "shutter", "unexposed")

# Photons for each mm² and µGy of air kerma: IEC 62220-1, beam quality RQA 5.
_PHOTONS_PER_MM2_UGY = 30174.0
_DETECTION_EFFICIENCY = 0.5
_SCATTER_SIGMA_CM = 4.0
_EQUALIZATION_SIGMA_CM = 3.0
_OFFSET = 120  # detector value of direct exposure

# 5 x 7 dots, one row a number, the left dot in the highest bit.
_GLYPHS = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "B": (30, 17, 17, 30, 17, 17, 30),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "T": (31, 4, 4, 4, 4, 4, 4),
}


@dataclass(frozen=True)
class Exposure:
    """How one film was taken and processed. None of it depends on the labels.

    Attributes:
        tube_kvp: Tube voltage in kV.
        dose_ugy: Air kerma at the detector behind the lungs, in µGy.
        scatter_ratio: Scattered to primary radiation behind the grid.
        equalization: Share of the slowly varying part that processing takes out.
        sharpness: Above 0 edges are boosted, below 0 blurred.
        units_per_neper: Detector units for a factor e in exposure: the response is logarithmic.
        photometric: MONOCHROME1 (stored values grow with exposure) or MONOCHROME2.
        window_center: In stored values.
        window_width: In stored values.
        window_function: DICOM VOI LUT Function.
        border: What lies outside the collimated field.
        border_px: Width of it at the top, right, bottom and left, in pixels.
        marker_side: The side whose letter is burned in.
        legend: Other text burned in; "" for none.
    """

    tube_kvp: float
    dose_ugy: float
    scatter_ratio: float
    equalization: float
    sharpness: float
    units_per_neper: float
    photometric: Photometric
    window_center: float
    window_width: float
    window_function: WindowFunction
    border: Border
    border_px: tuple[int, int, int, int]
    marker_side: Side
    legend: str


@dataclass(frozen=True)
class Plate:
    """An exposed, not yet processed film of the healthy chest.

    Attributes:
        attenuation: Line integral, float64 `[H, W]`, in nepers.
        scatter: Scattered radiation, in units of the unattenuated beam.
        direct_share: Primary over all radiation: how much of a contrast is left.
        smooth: What equalization takes out, in nepers.
        reference: Primary and scattered radiation behind the lungs.
        exposure: How it was taken, window included.
    """

    attenuation: Map
    scatter: Map
    direct_share: Map
    smooth: Map
    reference: float
    exposure: Exposure


def tube_voltage(seed: int, view: View) -> float:
    """Return the tube voltage in kV: high for a PA film, lower for a mobile unit."""
    rng = open_stream(seed, Stream.EXPOSURE)
    return float(np.round(rng.uniform(115.0, 135.0) if view == "PA" else rng.uniform(100.0, 120.0)))


def expose(seed: int, canvas: Canvas, anatomy: Anatomy, attenuation: Map, lung_cm: Map) -> Plate:
    """Expose the healthy chest and choose processing and window.

    Args:
        seed: Of the film.
        canvas: The detector.
        anatomy: The patient, for the view.
        attenuation: Line integral in nepers.
        lung_cm: Path through lung: where exposure control measures.
    """
    rng = open_stream(seed, Stream.EXPOSURE)
    rng.random()  # the tube voltage
    is_pa = anatomy.view == "PA"
    ratio = rng.uniform(0.15, 0.4) + (0.0 if is_pa else 0.15)
    equalization = rng.uniform(0.2, 0.5)
    units_per_neper = rng.uniform(480.0, 600.0)
    cell_cm = canvas.cm_per_px * small_step_px(canvas.size_px)
    small = shrink(attenuation)
    primary = np.exp(-small)
    # The patient scatters, not the air beside him: direct exposure takes no part.
    scatter = ratio * blur(np.minimum(primary, 0.3), _SCATTER_SIGMA_CM / cell_cm)
    signal = primary + scatter
    seen = -np.log(signal)
    is_lung = shrink(lung_cm) > 8.0
    lung_level = float(seen[is_lung].mean())
    smooth = equalization * (blur(seen, _EQUALIZATION_SIGMA_CM / cell_cm) - lung_level)
    even = seen - smooth
    lung_even = float(even[is_lung].mean())
    contrast = float(np.percentile(even[small > 1.0], 92)) - lung_even
    low = lung_even - rng.uniform(0.45, 0.95) * contrast
    high = lung_even + rng.uniform(1.05, 1.3) * contrast
    center = np.round(_OFFSET + units_per_neper * (low + high) / 2.0)
    photometric: Photometric = "MONOCHROME1" if rng.random() < 0.5 else "MONOCHROME2"
    function: WindowFunction = "SIGMOID" if rng.random() < 0.4 else "LINEAR"
    width = np.round(units_per_neper * (high - low))
    border = _BORDERS[int(rng.integers(len(_BORDERS)))]
    border_px = np.round(rng.uniform(0.0, 0.05, 4) * canvas.size_px).astype(int).tolist()
    exposure = Exposure(
        tube_kvp=tube_voltage(seed, anatomy.view),
        dose_ugy=float(np.exp(rng.normal(np.log(2.5 if is_pa else 1.8), 0.35))),
        scatter_ratio=float(ratio),
        equalization=float(equalization),
        sharpness=float(rng.uniform(-0.4, 0.9)),
        units_per_neper=float(units_per_neper),
        photometric=photometric,
        window_center=float(center if photometric == "MONOCHROME2" else MAX_VALUE - center),
        window_width=float(width),
        window_function=function,
        border=border,
        border_px=(border_px[0], border_px[1], border_px[2], border_px[3]),
        marker_side="left" if rng.random() < 0.5 else "right",
        legend=("" if is_pa else ("", "AP", "PORTABLE")[int(rng.integers(3))]),
    )
    all_scatter = enlarge(scatter, canvas.size_px)
    all_primary = np.exp(-attenuation)
    return Plate(
        attenuation=attenuation,
        scatter=all_scatter,
        direct_share=all_primary / (all_primary + all_scatter),
        smooth=enlarge(smooth, canvas.size_px),
        reference=float(signal[is_lung].mean()),
        exposure=exposure,
    )


def develop(seed: int, canvas: Canvas, plate: Plate, change: Map) -> NDArray[np.uint16]:
    """Add what the findings change, then noise, processing, border and markers.

    Args:
        seed: Of the film.
        canvas: The detector.
        plate: The healthy chest.
        change: What the findings add to its line integral, in nepers.

    Returns:
        Stored values, uint16 `[H, W]`, 12 bits.
    """
    exposure = plate.exposure
    signal = np.exp(-(plate.attenuation + change)) + plate.scatter
    photons = (
        exposure.dose_ugy
        * _PHOTONS_PER_MM2_UGY
        * _DETECTION_EFFICIENCY
        * (10.0 * canvas.cm_per_px) ** 2
    )
    # Relative noise of a Poisson count, which the logarithm turns into noise in nepers.
    noise = open_stream(seed, Stream.NOISE).standard_normal(signal.shape)
    noise *= np.sqrt(plate.reference / (photons * signal))
    film = -np.log(signal) - plate.smooth + noise
    film += exposure.sharpness * (film - _soften(film))
    film = np.rint(_OFFSET + exposure.units_per_neper * film)
    stored = np.clip(film, 0, MAX_VALUE).astype(np.uint16)
    _add_border(stored, exposure)
    _burn_in(stored, exposure)
    return MAX_VALUE - stored if exposure.photometric == "MONOCHROME1" else stored


def _soften(film: Map) -> Map:
    """Convolve with the binomial kernel 1 4 6 4 1 in both directions."""
    padded = np.pad(film, 2, mode="edge")
    rows = padded[:-4] + padded[4:] + 4.0 * (padded[1:-3] + padded[3:-1]) + 6.0 * padded[2:-2]
    both = rows[:, :-4] + rows[:, 4:] + 4.0 * (rows[:, 1:-3] + rows[:, 3:-1])
    return np.asarray((both + 6.0 * rows[:, 2:-2]) / 256.0)


def _add_border(stored: NDArray[np.uint16], exposure: Exposure) -> None:
    if exposure.border == "none":
        return
    value = 0 if exposure.border == "shutter" else MAX_VALUE
    top, right, bottom, left = exposure.border_px
    size = len(stored)
    stored[:top] = stored[size - bottom :] = value
    stored[:, :left] = stored[:, size - right :] = value


def _burn_in(stored: NDArray[np.uint16], exposure: Exposure) -> None:
    size = len(stored)
    dot = max(1, size // 160)
    right_edge = exposure.marker_side == "left"
    column = round(size * 0.9) if right_edge else round(size * 0.06)
    _write(stored, "L" if right_edge else "R", (round(size * 0.08), column), dot)
    if exposure.legend:
        column = round(size * (0.1 if right_edge else 0.68))
        _write(stored, exposure.legend, (round(size * 0.06), column), max(1, size // 320))


def _write(stored: NDArray[np.uint16], text: str, corner: tuple[int, int], dot_px: int) -> None:
    row, column = corner
    for letter in text:
        rows = np.array(_GLYPHS[letter])[:, None]
        dots = (rows >> np.arange(4, -1, -1)) & 1
        is_lit = np.kron(dots, np.ones((dot_px, dot_px), dtype=int)) == 1
        area = stored[row : row + is_lit.shape[0], column : column + is_lit.shape[1]]
        area[is_lit[: area.shape[0], : area.shape[1]]] = MAX_VALUE
        column += 6 * dot_px

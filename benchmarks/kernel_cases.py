"""What the benchmark of preprocessing runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from cxr_reason.film.display_table import GrayscaleSteps, Window, build_display_table
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.kernels.preprocess import Grid, PixelBudget, fit_grid

_BITS = 12


@dataclass(frozen=True, eq=False)
class KernelCase:
    """One film, ready for both sides: decoding is not part of the measurement.

    Attributes:
        name: What the film is, with its size in pixels.
        pixels: uint16 `[H, W]`, as stored.
        display_table: float32 `[2^bits]`.
        grid: Size of the result.
        header: The attributes that pydicom's functions read.
    """

    name: str
    pixels: NDArray[np.uint16]
    display_table: NDArray[np.float32]
    grid: Grid
    header: Dataset


def make_cases() -> list[KernelCase]:
    """Return a film of the size of a large detector with two kinds of window, and RG1 if there."""
    cases = [_make_synthetic(3056, 2544, function) for function in ("LINEAR", "SIGMOID")]
    path = get_testdata_file("RG1_UNCR.dcm", download=False)
    if isinstance(path, str):
        cases.append(_read_rg1(Path(path)))
    return cases


def _make_synthetic(height: int, width: int, function: str) -> KernelCase:
    """Smooth shapes and noise, 12 bits in uint16: no two runs of a table's entries alike."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    shapes = 0.5 + 0.3 * np.sin(x / 170.0) * np.cos(y / 230.0)
    film = shapes + 0.05 * (rng.random((height, width)) - 0.5)
    pixels = np.rint(film * (2**_BITS - 1)).astype(np.uint16)
    window = Window(center=2048, width=3500, function=function)
    header = Dataset()
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsStored, header.PixelRepresentation = _BITS, 0
    header.WindowCenter, header.WindowWidth = window.center, window.width
    header.VOILUTFunction = function
    table = build_display_table(pixels, GrayscaleSteps(_BITS, window=window))
    grid = fit_grid(height, width, PixelBudget())
    return KernelCase(f"{height}x{width} 12-bit {function}", pixels, table, grid, header)


def _read_rg1(path: Path) -> KernelCase:
    film = decode_radiograph(path.read_bytes())
    height, width = film.pixels.shape
    grid = fit_grid(height, width, PixelBudget())
    return KernelCase(f"RG1 {height}x{width}", film.pixels, film.display_table, grid, dcmread(path))

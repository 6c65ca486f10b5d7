"""One film → as many films as a benchmark asks for: equal in cost, different for every cache.

A small mark, half darkest and half brightest, is in a different place in each. Our side gets the
original file (DICOM stays DICOM); the peers get what our display table makes of it, in 8 bits and
already at the pixel budget, so that resizing is no part of their time.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from cxr_reason.data.phantoms import make_phantom
from cxr_reason.errors import BadRequestError
from cxr_reason.film.radiograph import Radiograph, decode_radiograph
from cxr_reason.kernels.preprocess import PATCH_SIZE, PixelBudget, fit_grid

_PLACES = 32  # a side
_PHANTOM_PX = 1024


@dataclass(frozen=True)
class FilmVariants:
    """The films of one run.

    Attributes:
        originals: For our side.
        pngs: For the peers, in the same order.
        name: What the film is; never the name of its file.
    """

    originals: tuple[Path, ...]
    pngs: tuple[Path, ...]
    name: str


def read_default_film() -> tuple[bytes, str]:
    """Return RG1 from pydicom-data or, where that is not installed, a phantom; and which."""
    path = get_testdata_file("RG1_UNCR.dcm", download=False)
    if isinstance(path, str):
        return Path(path).read_bytes(), "RG1"
    stored = make_phantom(0, _PHANTOM_PX).pixels
    return _to_png(np.rint(stored * (255 / 4095)).astype(np.uint8)), "phantom"


def make_film_variants(
    film: bytes, name: str, *, budget: PixelBudget, count: int, folder: Path
) -> FilmVariants:
    """Write the films to `folder`.

    Args:
        film: A DICOM, PNG or JPEG file.
        name: What it is.
        budget: Of the checkpoint.
        count: How many, at most 1,024.
        folder: Gets the files.

    Raises:
        BadRequestError: More films than there are places for the mark.
        InputError: The film cannot be used.
    """
    if count > _PLACES**2:
        raise BadRequestError(
            f"benchmark: {count} films needed, at most {_PLACES**2}; "
            "ask for fewer runs or requests at once"
        )
    radiograph = decode_radiograph(film)
    height, width = radiograph.pixels.shape
    grid = fit_grid(height, width, budget, radiograph.pixel_aspect)
    size = (grid.width * PATCH_SIZE, grid.height * PATCH_SIZE)
    originals, pngs = [], []
    for index in range(count):
        pixels = _mark(radiograph.pixels, index)
        shown = np.rint(radiograph.display_table[pixels] * 255).astype(np.uint8)
        if radiograph.info.source == "dicom":
            data, suffix = _replace_pixels(film, radiograph, pixels), "dcm"
        else:
            data, suffix = _to_png(shown), "png"
        originals.append(folder / f"{index}-original.{suffix}")
        originals[-1].write_bytes(data)
        pngs.append(folder / f"{index}.png")
        resized = Image.fromarray(shown).resize(size, Image.Resampling.BICUBIC)
        resized.save(pngs[-1])
    shape = f"{name} {height}x{width}"
    return FilmVariants(tuple(originals), tuple(pngs), f"{shape} at {size[1]}x{size[0]}")


def _mark(pixels: NDArray[np.uint16], index: int) -> NDArray[np.uint16]:
    marked = pixels.copy()
    row, column = divmod(index, _PLACES)
    height, width = pixels.shape[0] // _PLACES, pixels.shape[1] // _PLACES
    square = marked[row * height : (row + 1) * height, column * width : (column + 1) * width]
    square[: height // 2] = pixels.min()
    square[height // 2 :] = pixels.max()
    return marked


def _to_png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _replace_pixels(film: bytes, radiograph: Radiograph, pixels: NDArray[np.uint16]) -> bytes:
    dataset = dcmread(io.BytesIO(film))
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress()
    offset = 2 ** (radiograph.info.bits_stored - 1) if dataset.PixelRepresentation else 0
    dtype = f"{'i' if dataset.PixelRepresentation else 'u'}{dataset.BitsAllocated // 8}"
    if radiograph.info.orientation != 1:  # `pixels` are turned already
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PatientOrientation = ["L", "F"]
    dataset.PixelData = (pixels.astype(np.int64) - offset).astype(dtype).tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()

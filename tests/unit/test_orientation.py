r"""Films stored in any of eight ways, with true headers, are the same film at L\F."""

from __future__ import annotations

import random
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from support.dicom_films import film_of, make_film

from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.film.orientation import Orientation
from cxr_reason.film.radiograph import Radiograph, decode_radiograph
from cxr_reason.kernels.preprocess import PixelBudget, fit_grid, preprocess
from cxr_reason.reader.encoder import FilmPreprocessor, PreprocessedFilm

EIGHT = ["L\\F", "R\\F", "R\\H", "L\\H", "F\\L", "F\\R", "H\\R", "H\\L"]


def store(upright: np.ndarray, orientation: str) -> np.ndarray:
    r"""Return an L\F film as a device stores it whose rows and columns run as `orientation` says.

    Written apart from the code under test: pixel by pixel, from the directions alone.
    """
    height, width = upright.shape
    rows_run, columns_run = orientation.split("\\")
    is_turned = rows_run in "FH"
    stored = np.empty((width, height) if is_turned else (height, width), upright.dtype)
    for i in range(stored.shape[0]):
        for j in range(stored.shape[1]):
            place = {rows_run: j, columns_run: i}  # steps towards each of the two directions
            x = place["L"] if "L" in place else width - 1 - place["R"]
            y = place["F"] if "F" in place else height - 1 - place["H"]
            stored[i, j] = upright[y, x]
    return stored


def decode(upright: np.ndarray, orientation: str, **values: Any) -> Radiograph:
    data = make_film(
        store(upright, orientation), PatientOrientation=orientation.split("\\"), **values
    )
    return decode_radiograph(data)


def preprocess_film(film: Radiograph) -> PreprocessedFilm:
    patches, grid = FilmPreprocessor(PixelBudget()).resize(
        film.pixels, film.display_table, film.pixel_aspect
    )
    return PreprocessedFilm(patches, grid, film.info)


@pytest.mark.parametrize("orientation", EIGHT)
def test_a_film_comes_to_l_f(orientation: str) -> None:
    upright = film_of(40, 29)
    film = decode(upright, orientation)
    assert (film.pixels == upright).all()
    assert (film.info.height_px, film.info.width_px) == (40, 29)
    assert ("reoriented" in film.info.flags) == (orientation != "L\\F")


SPACINGS = [None, (0.2, 0.2), (0.4, 0.2), (0.15, 0.2), (0.139, 0.143)]


@pytest.mark.parametrize("orientation", EIGHT)
@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_stored_forms_give_the_same_patches(
    orientation: str, spacing: tuple[float, float] | None
) -> None:
    height, width = (random.randrange(30, 250) for _ in "hw")
    upright = film_of(height, width)
    values, stored_values = {}, {}
    if spacing:
        values["ImagerPixelSpacing"] = list(spacing)
        is_turned = orientation[0] in "FH"
        stored_values["ImagerPixelSpacing"] = list(spacing[::-1] if is_turned else spacing)
    expected = decode_radiograph(make_film(upright, **values))
    film = decode(upright, orientation, **stored_values)
    assert film.info.pixel_spacing_mm == expected.info.pixel_spacing_mm == spacing
    one, other = preprocess_film(expected), preprocess_film(film)
    assert one.grid == other.grid
    assert np.abs(one.patches - other.patches).max() <= 1e-6


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_views_need_no_copy(backend: Any) -> None:
    film = decode(film_of(90, 70), "H\\R")
    assert film.pixels.base is not None and not film.pixels.flags.c_contiguous
    grid = fit_grid(90, 70, PixelBudget())
    patches = preprocess(film.pixels, film.display_table, grid, backend=backend)
    copied = preprocess(film.pixels.copy(), film.display_table, grid, backend=backend)
    assert np.abs(patches - copied).max() <= 1e-6


@pytest.mark.parametrize("code", range(1, 9))
def test_codes_are_those_of_exif(code: int) -> None:
    from PIL import Image, ImageOps

    stored = film_of(5, 3) % 256
    image = Image.fromarray(stored.astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = code
    buffer = BytesIO()
    image.save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as reopened:
        upright = np.asarray(ImageOps.exif_transpose(reopened))
    orientation = Orientation.from_code(code)
    assert orientation.code == code
    assert (orientation.turn(stored) == upright).all()


@pytest.mark.parametrize("code", [0, 9, -1])
def test_other_codes_are_refused(code: int) -> None:
    with pytest.raises(ValueError, match="must be 1 to 8"):
        Orientation.from_code(code)


@pytest.mark.parametrize("orientation", EIGHT)
def test_coordinates_go_back_to_the_stored_pixels(orientation: str) -> None:
    upright = film_of(9, 6)
    stored = store(upright, orientation)
    turn = Orientation.from_code(decode(upright, orientation).info.orientation)
    for y in range(9):
        for x in range(6):
            column, row = turn.to_stored(x + 0.5, y + 0.5, width=6, height=9)
            assert stored[int(row), int(column)] == upright[y, x]
    shares = turn.to_stored(0.25, 0.75, width=1, height=1)
    pixels = turn.to_stored(0.25 * 6, 0.75 * 9, width=6, height=9)
    height, width = stored.shape
    assert (shares[0] * width, shares[1] * height) == pytest.approx(pixels)


@pytest.mark.parametrize(
    ("values", "flags", "code"),
    [
        (["LF", "FR"], (), 1),
        (["RH", "FL"], ("reoriented",), 2),
        (["r", "f"], ("reoriented",), 2),
        ([], (), 1),
        (["L"], ("orientation_invalid",), 1),
        (["L", "R"], ("orientation_invalid",), 1),
        (["LR", "F"], ("orientation_invalid",), 1),
        (["X", "F"], ("orientation_invalid",), 1),
        (["L", "F", "F"], ("orientation_invalid",), 1),
        (["LE", "CD"], ("orientation_invalid",), 1),  # of a quadruped
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_oblique_missing_and_invalid_orientations(
    values: list[str], flags: tuple[str, ...], code: int
) -> None:
    info = decode_radiograph(make_film(film_of(40, 30), PatientOrientation=values)).info
    assert (info.flags, info.orientation) == (flags, code)


@pytest.mark.parametrize("values", ["A\\F", "P\\F", "F\\A", "F\\P", "H\\A", "AL\\F", "L\\P"])
def test_laterals_are_known_by_either_value(values: str) -> None:
    with pytest.raises(UnsupportedObjectError, match="lateral"):
        decode_radiograph(make_film(film_of(40, 30), PatientOrientation=values.split("\\")))


def test_field_of_view_turns_no_film() -> None:
    upright = film_of(40, 30)
    flipped = {"FieldOfViewRotation": "90", "FieldOfViewHorizontalFlip": "YES"}
    alone = decode_radiograph(make_film(upright, **flipped))
    assert (alone.pixels == upright).all()
    assert alone.info.flags == ("field_of_view_turned",)
    beside = decode_radiograph(make_film(upright, PatientOrientation=["L", "F"], **flipped))
    assert (beside.pixels == upright).all()
    assert beside.info.flags == ()
    none = {"FieldOfViewRotation": "0", "FieldOfViewHorizontalFlip": "NO"}
    assert decode_radiograph(make_film(upright, **none)).info.flags == ()


@pytest.mark.parametrize(
    ("values", "aspect"),
    [
        ({"PixelSpacing": [0.4, 0.2]}, 2.0),
        ({"ImagerPixelSpacing": [0.2, 0.4]}, 0.5),
        ({"PixelAspectRatio": [2, 1]}, 2.0),
        ({"PixelSpacing": [0.4, 0.2], "PixelAspectRatio": [1, 1]}, 2.0),
        ({"PixelSpacing": [0, 0], "PixelAspectRatio": [1, 2]}, 0.5),
        ({"PixelSpacing": [0.2, 0.201]}, 1.0),
        ({"PixelAspectRatio": [1, 0]}, 1.0),
        ({}, 1.0),
    ],
)
def test_pixel_aspect(values: dict[str, Any], aspect: float) -> None:
    film = decode_radiograph(make_film(film_of(60, 60), **values))
    assert film.pixel_aspect == aspect
    assert ("pixels_not_square" in film.info.flags) == (aspect != 1)


@pytest.mark.parametrize(
    ("aspect", "same_as"), [(2.0, (1200, 400)), (0.5, (600, 800)), (1.0, (600, 400))]
)
def test_grid_of_pixels_that_are_not_square(aspect: float, same_as: tuple[int, int]) -> None:
    budget = PixelBudget()
    assert fit_grid(600, 400, budget, aspect) == fit_grid(*same_as, budget)


@pytest.mark.parametrize("axis", [0, 1])
def test_squashed_films_are_stretched_again(axis: int) -> None:
    # Smooth, so that halving loses little: what is left is the difference of two resizings.
    y, x = np.mgrid[0:400, 0:400] / 400
    whole = 2048 + 1500 * np.sin(5 * x + 1) * np.cos(7 * y)
    halves = (whole[::2] + whole[1::2]) if axis == 0 else (whole[:, ::2] + whole[:, 1::2])
    spacing = [0.4, 0.2] if axis == 0 else [0.2, 0.4]
    squashed = make_film(np.rint(halves / 2).astype(np.uint16), PixelSpacing=spacing)
    one = preprocess_film(decode_radiograph(squashed))
    other = preprocess_film(decode_radiograph(make_film(np.rint(whole).astype(np.uint16))))
    assert one.grid == other.grid
    assert np.abs(one.patches - other.patches).max() <= 1 / 255


@pytest.mark.parametrize("spacing", [["1000", "0.1"], ["1e-300", "1e300"], ["1e300", "1e-300"]])
def test_absurd_aspect_is_refused(spacing: list[str]) -> None:
    film = decode_radiograph(make_film(film_of(60, 60), PixelSpacing=spacing))
    with pytest.raises(UnsupportedObjectError, match="times each other"):
        preprocess_film(film)

"""Films whose header, orientation or geometry was read wrongly once: what is right for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.film.radiograph import Radiograph, decode_radiograph
from cxr_reason.kernels.preprocess import PixelBudget, fit_grid
from cxr_reason.reader.encoder import FilmPreprocessor

TURNED = {
    "orient_R_F": np.fliplr,
    "orient_L_H": np.flipud,
    "orient_F_R": lambda stored: stored.T[:, ::-1],
}
READ: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "body_TORACE": ("CHEST", ()),
    "body_TORAX_acute_latin1": ("CHEST", ()),
    "body_UNKNOWN": (None, ("body_part_placeholder",)),
}
REFUSED = {
    "orient_F_A": "lateral",
    "viewcode_sct_left_lateral_de": "lateral",
    "view_PROFIL": "lateral",
    "body_name_leak": "body part",
    "for_processing_by_sop_only": "FOR PROCESSING",
    "cr_modality_ct_sop": "CT Image Storage",
}
STEP = 1 / 255  # of 8 bits


@pytest.fixture(scope="session")
def cases(data_dir: Path) -> Path:
    """The folder of small films with known pictures, beside the real ones."""
    folder = data_dir.parent / "cases" / "film"
    if not folder.is_dir():
        pytest.skip("no folder cases/film beside the folder that CXR_TEST_DATA names")
    return folder


def show(film: Radiograph) -> np.ndarray:
    return film.display_table[film.pixels]


def read(cases: Path, name: str) -> Radiograph:
    return decode_radiograph((cases / f"{name}.dcm").read_bytes())


@pytest.fixture(scope="session")
def truth(cases: Path) -> np.ndarray:
    """Display intensity 0..1 of the film that all cases are made of."""
    with Image.open(cases / "truth.png") as image:
        return np.asarray(image) / 65535


@pytest.mark.parametrize("name", TURNED)
def test_turned_films(cases: Path, truth: np.ndarray, name: str) -> None:
    film = read(cases, name)
    assert film.info.flags == ("reoriented",)
    data = (cases / f"{name}.dcm").read_bytes()
    stored = np.frombuffer(data[-2 * truth.size :], "<u2").reshape(truth.shape)
    expected = TURNED[name](film.display_table[stored])
    assert np.abs(show(film) - expected).max() <= STEP
    if name != "orient_F_R":  # its pixels are truth as stored: only its header is turned
        assert np.abs(show(film) - truth).max() <= STEP


@pytest.mark.parametrize("name", ["aspect_2_1", "spacing_nonsquare"])
def test_pixels_that_are_not_square(cases: Path, truth: np.ndarray, name: str) -> None:
    film = read(cases, name)
    assert film.pixel_aspect == 2
    assert film.info.flags == ("pixels_not_square",)
    assert np.abs(show(film) - truth).max() <= STEP
    preprocessed = FilmPreprocessor(PixelBudget())((cases / f"{name}.dcm").read_bytes())
    assert preprocessed.grid == fit_grid(2 * 320, 320, PixelBudget())


@pytest.mark.parametrize("name", READ)
def test_films_that_are_read(cases: Path, truth: np.ndarray, name: str) -> None:
    film = read(cases, name)
    body_part, flags = READ[name]
    assert (film.info.body_part, film.info.flags) == (body_part, flags)
    assert np.abs(show(film) - truth).max() <= STEP


@pytest.mark.parametrize("name", REFUSED)
def test_films_that_are_refused(cases: Path, name: str) -> None:
    with pytest.raises(UnsupportedObjectError, match=REFUSED[name]) as caught:
        read(cases, name)
    assert "CANARY" not in str(caught.value).upper()

"""One NIH film, written again with one thing of its display or encoding wrong.

The files lie in the folder `cases/film` beside the one that CXR_TEST_DATA names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_reason.film.radiograph import Radiograph, decode_radiograph

ONE_STEP = 1 / 255
RASTER = ("body_part_unknown", "view_unknown")
NO_TRUTH = 2.0  # no bound on the difference

# File → flags, and the most that its display may differ from the truth.
CASES: dict[str, tuple[tuple[str, ...], float]] = {
    "voilut_agfa_12bit_data_declared_16.dcm": (("voi_lut_rescaled",), ONE_STEP),
    "voilut_agfa_12bit_declared_16_mono1.dcm": (("voi_lut_rescaled",), ONE_STEP),
    "voilut_shorter_than_descriptor.dcm": (("voi_lut_truncated",), 96 / 4095),  # past entry 4000
    "voilut_empty_item_with_window.dcm": (("voi_lut_ignored",), ONE_STEP),
    "voilut_as_UN.dcm": ((), ONE_STEP),
    "mono1_identity.dcm": (("looks_negative",), NO_TRUTH),
    "window_above_pixels.dcm": (("window_estimated",), NO_TRUTH),
    "window_0_0.dcm": (("window_estimated",), NO_TRUTH),
    "window_small_slope.dcm": ((), 96 / 4095),  # the window is a little narrower than the film
    "ts_lossless_but_baseline_stream.dcm": (("encoding_repaired",), 7.1 / 255),  # lossy
    "v12_jll_pt2.dcm": ((), ONE_STEP),
    "jls_zero_before_eoi.dcm": (("encoding_repaired",), ONE_STEP),
    "jp2_header.dcm": (("encoding_repaired",), ONE_STEP),
    "rle_odd.dcm": (("encoding_repaired",), ONE_STEP),
    "headerless_explicit.dcm": (("encoding_repaired",), ONE_STEP),
    "gray16_12bit_range.png": ((*RASTER, "small_range_stretched"), ONE_STEP),
    "exif6.png": (RASTER, ONE_STEP),
}


@pytest.fixture(scope="module")
def cases_dir(data_dir: Path) -> Path:
    folder = data_dir.parent / "cases" / "film"
    if not folder.is_dir():
        pytest.skip("there is no folder cases/film beside the one that CXR_TEST_DATA names")
    return folder


@pytest.fixture(scope="module")
def truth(cases_dir: Path) -> np.ndarray:
    return np.asarray(Image.open(cases_dir / "truth.png")) / 65535


def shown(film: Radiograph) -> np.ndarray:
    return film.display_table[film.pixels]


@pytest.mark.parametrize("name", CASES)
def test_display_is_the_truth(name: str, cases_dir: Path, truth: np.ndarray) -> None:
    flags, tolerance = CASES[name]
    film = decode_radiograph((cases_dir / name).read_bytes())
    assert film.info.flags == flags
    assert np.abs(shown(film) - truth).max() <= tolerance


def test_a_table_that_was_cut_is_the_truth_where_it_has_entries(
    cases_dir: Path, truth: np.ndarray
) -> None:
    film = decode_radiograph((cases_dir / "voilut_shorter_than_descriptor.dcm").read_bytes())
    np.testing.assert_allclose(
        shown(film)[film.pixels < 4000], truth[film.pixels < 4000], atol=0.004
    )


@pytest.mark.parametrize("name", ["window_above_pixels.dcm", "window_0_0.dcm"])
def test_an_estimated_window_shows_the_film(name: str, cases_dir: Path, truth: np.ndarray) -> None:
    film = decode_radiograph((cases_dir / name).read_bytes())
    low, high = np.percentile(truth, [0.5, 99.5], method="inverted_cdf")
    expected = np.clip((truth - low) / (high - low), 0, 1)
    np.testing.assert_allclose(shown(film), expected, atol=0.004)


def test_a_negative_by_the_standard_is_shown_as_stored(cases_dir: Path, truth: np.ndarray) -> None:
    film = decode_radiograph((cases_dir / "mono1_identity.dcm").read_bytes())
    np.testing.assert_allclose(shown(film), 1 - truth, atol=ONE_STEP)

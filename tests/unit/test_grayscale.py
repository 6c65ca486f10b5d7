"""Headers that say gray values wrongly: each has one rule and one flag."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.chest_files import chest_dataset, chest_file, chest_pixels

from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.film.radiograph import Radiograph, decode_radiograph

PIXELS = chest_pixels(12)
TRUE = PIXELS / 4095


def read(pixels: np.ndarray = PIXELS, **values: Any) -> Radiograph:
    return decode_radiograph(chest_file(chest_dataset(pixels, 12, **values)))


def shown(film: Radiograph) -> np.ndarray:
    return film.display_table[film.pixels]


def estimated(pixels: np.ndarray) -> np.ndarray:
    low, high = np.percentile(pixels, [0.5, 99.5], method="inverted_cdf").astype(float)
    return np.clip((pixels - low) / (high - low), 0, 1)


@pytest.mark.parametrize(
    ("center", "width"),
    [
        (None, None),
        ("0", "0"),
        ("2048", "0"),
        ("2048", "-4096"),
        ("40000", "4096"),
        ("-9000", "4096"),
        ("1e30", "1"),
        ("", ""),
        ("2048", None),
        (["40000", "50000"], ["10", "0"]),
    ],
    ids=str,
)
def test_a_window_that_cannot_be_is_estimated(center: Any, width: Any) -> None:
    film = read(WindowCenter=center, WindowWidth=width)
    np.testing.assert_allclose(shown(film), estimated(PIXELS), atol=1e-6)
    assert film.info.flags == ("window_estimated",)


def test_of_several_windows_the_first_usable_one_counts() -> None:
    film = read(WindowCenter=["2048", "100"], WindowWidth=["4096", "10"])
    np.testing.assert_allclose(shown(film), TRUE, atol=1e-6)
    film = read(WindowCenter=["0", "2048"], WindowWidth=["0", "4096"])
    np.testing.assert_allclose(shown(film), TRUE, atol=1e-6)
    assert film.info.flags == ()


@pytest.mark.parametrize("slope", ["0.0001", "0.00001"])
def test_a_window_below_1_with_a_small_slope_is_exact(slope: str) -> None:
    width = float(slope) * 4095
    window = {"WindowCenter": f"{width / 2:.10g}", "WindowWidth": f"{width:.10g}"}
    film = read(RescaleSlope=slope, RescaleIntercept="0", **window)
    np.testing.assert_allclose(shown(film), TRUE, atol=1e-5)
    assert film.info.flags == ()


def test_monochrome1_with_identity_is_shown_as_stored_and_flagged() -> None:
    gray = {"PhotometricInterpretation": "MONOCHROME1"}
    film = read(**gray, PresentationLUTShape="IDENTITY")
    np.testing.assert_allclose(shown(film), TRUE, atol=1e-6)
    assert film.info.flags == ("looks_negative",)
    for shape in (None, "INVERSE"):
        values = {**gray, "PresentationLUTShape": shape} if shape else gray
        film = read(**values)
        np.testing.assert_allclose(shown(film), 1 - TRUE, atol=1e-6)
        assert film.info.flags == ()


def test_signed_pixels_with_a_window_for_unsigned_ones_are_estimated() -> None:
    signed = (PIXELS.astype(np.int32) - 2048).astype(np.int16)
    film = read(signed, WindowCenter="6000", WindowWidth="4096")
    np.testing.assert_allclose(shown(film), estimated(PIXELS), atol=1e-6)
    assert film.info.flags == ("window_estimated",)


def test_padding_does_not_make_a_window_fit() -> None:
    padded = PIXELS.copy()
    padded[::2, ::3] = 0
    values = {"WindowCenter": "-2000", "WindowWidth": "4010", "PixelPaddingValue": 0}
    film = read(np.maximum(padded, 0), **values)
    assert film.info.flags == ("window_estimated",)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_rescale_that_is_no_number_is_ignored_and_flagged(keyword: str) -> None:
    data = chest_file(chest_dataset(PIXELS, 12, **{keyword: "77"}))
    film = decode_radiograph(data.replace(b"DS\x02\x0077", b"DS\x02\x00n/"))
    np.testing.assert_allclose(shown(film), TRUE, atol=1e-6)
    assert film.info.flags == ("rescale_ignored",)


def test_slope_0_and_unknown_functions_are_refused() -> None:
    with pytest.raises(UnsupportedObjectError, match="Rescale Slope 0"):
        read(RescaleSlope="0", RescaleIntercept="0")
    with pytest.raises(UnsupportedObjectError, match="VOI LUT Function"):
        read(VOILUTFunction="CUBIC")

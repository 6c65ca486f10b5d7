"""The grayscale pipeline on hand-checked values; agreement with highdicom is in test_dicom.py."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.film.display_table import (
    GrayscaleSteps,
    Lut,
    Window,
    apply_modality,
    apply_voi_lut,
    apply_window,
    build_display_table,
    estimate_range,
    identity_table,
    is_inverted,
    settle_voi,
)

NO_PIXELS = np.zeros((1, 1), np.uint16)


def lut(first: int, bits: int, *values: int) -> Lut:
    return Lut(first, bits, np.array(values, np.uint16))


def test_linear_is_the_formula_of_c_11_2_1_2_1() -> None:
    values = np.arange(-500.0, 5000.0)
    center, width = 2048.0, 1000.0
    expected = np.array(
        [
            0.0
            if x <= center - 0.5 - (width - 1) / 2
            else 1.0
            if x > center - 0.5 + (width - 1) / 2
            else (x - (center - 0.5)) / (width - 1) + 0.5
            for x in values
        ]
    )
    np.testing.assert_allclose(apply_window(values, Window(center, width)), expected, atol=1e-12)


def test_linear_of_width_1_is_a_threshold() -> None:
    shown = apply_window(np.array([9.0, 9.5, 9.6, 10.0]), Window(10.0, 1.0))
    assert shown.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_linear_exact_is_the_formula_of_c_11_2_1_3_2() -> None:
    shown = apply_window(np.array([0.0, 5.0, 10.0, 15.0, 20.0]), Window(10, 10, "LINEAR_EXACT"))
    assert shown.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_sigmoid_is_the_formula_of_c_11_2_1_3_1() -> None:
    values = np.array([-1e9, 0.0, 10.0, 20.0, 1e9])
    shown = apply_window(values, Window(10.0, 20.0, "SIGMOID"))
    np.testing.assert_allclose(
        shown, [0.0, 1 / (1 + np.e**2), 0.5, 1 / (1 + np.e**-2), 1.0], atol=1e-12
    )


@pytest.mark.parametrize(
    "window",
    [
        Window(10, 0),
        Window(10, -4),
        Window(10, 0, "LINEAR_EXACT"),
        Window(10, 0, "SIGMOID"),
        Window(10, 10, "CUBIC"),
    ],
    ids=str,
)
def test_forbidden_windows_are_refused(window: Window) -> None:
    with pytest.raises(UnsupportedObjectError):
        apply_window(np.zeros(1), window)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT"])
def test_widths_below_1_are_exact(function: str) -> None:
    shown = apply_window(np.array([9.75, 9.875, 10.0, 10.25]), Window(10, 0.5, function))
    assert shown.tolist() == [0.0, 0.25, 0.5, 1.0]


FILM = np.random.default_rng(0).integers(200, 3000, (100, 100)).astype(np.uint16)


@pytest.mark.parametrize(
    "window",
    [
        Window(40000, 4096),
        Window(-2000, 4000),
        Window(3500, 1000),
        Window(8000, 2000, "SIGMOID"),
        Window(1e-3, 1e-3),
    ],
    ids=str,
)
@pytest.mark.parametrize("has_letters", [False, True])
def test_a_window_beside_all_pixels_is_estimated(window: Window, has_letters: bool) -> None:
    film = FILM.copy()
    if has_letters:  # that the window may show, and nothing else
        film[:5, :5], film[-5:, -5:] = 0, 4095
    settled, flags = settle_voi(film, GrayscaleSteps(12, window=window))
    assert flags == ("window_estimated",) and settled.window is None
    table = build_display_table(film, settled)
    low, high = np.percentile(film, [0.5, 99.5], method="inverted_cdf")
    assert table[low] == 0.0 and table[high] == 1.0 and table[high - 50] < 1.0


@pytest.mark.parametrize(
    "window",
    [
        Window(2048, 4096),
        Window(1500, 1),  # a threshold within the pixels
        Window(150, 200),
        Window(3500, 2000),
        Window(5000, 3000, "SIGMOID"),
    ],
    ids=str,
)
def test_a_window_over_some_pixels_is_kept(window: Window) -> None:
    steps = GrayscaleSteps(12, window=window)
    assert settle_voi(FILM, steps) == (steps, ())


def test_a_window_is_compared_after_the_modality_step() -> None:
    steps = GrayscaleSteps(12, slope=1e-5, window=Window(0.02, 0.04))
    assert settle_voi(FILM, steps) == (steps, ())
    signed = GrayscaleSteps(12, signed=True, window=Window(2048 + 1024, 2048))
    assert settle_voi(FILM, signed)[1] == ("window_estimated",)


def test_a_blank_film_keeps_its_window() -> None:
    steps = GrayscaleSteps(12, window=Window(2048, 1000))
    assert settle_voi(np.zeros((9, 9), np.uint16), steps) == (steps, ())


def test_a_voi_lut_beside_all_pixels_gives_way_to_the_window() -> None:
    window = Window(2048, 4096)
    for first in (3500, -900):
        beside = lut(first, 8, *range(256))
        settled, flags = settle_voi(FILM, GrayscaleSteps(12, voi_lut=beside, window=window))
        assert settled.voi_lut is None and settled.window == window
        assert flags == ("voi_lut_ignored",)
        _, flags = settle_voi(FILM, GrayscaleSteps(12, voi_lut=beside))
        assert flags == ("voi_lut_ignored", "window_estimated")
    kept = GrayscaleSteps(12, voi_lut=lut(1000, 8, *range(256)), window=window)
    assert settle_voi(FILM, kept) == (kept, ())


def test_no_window_is_estimated() -> None:
    assert settle_voi(FILM, GrayscaleSteps(12))[1] == ("window_estimated",)


def test_voi_lut_clamps_at_both_ends_and_spans_its_bits() -> None:
    table = lut(100, 12, 0, 1000, 2000)
    shown = apply_voi_lut(np.array([0.0, 100.0, 101.0, 102.0, 9000.0]), table)
    np.testing.assert_allclose(shown * 4095, [0, 0, 1000, 2000, 2000])


def test_voi_lut_that_exceeds_its_bits_is_white() -> None:
    assert apply_voi_lut(np.array([0.0]), lut(0, 8, 4095)).tolist() == [1.0]


def test_modality_lut_takes_the_place_of_rescale() -> None:
    steps = GrayscaleSteps(8, slope=2.0, intercept=5.0, modality_lut=lut(1, 8, 7, 9))
    assert apply_modality(steps)[:4].tolist() == [7, 7, 9, 9]


def test_rescale_of_signed_values() -> None:
    values = apply_modality(GrayscaleSteps(8, signed=True, slope=2.0, intercept=1.0))
    assert values[0] == -255 and values[128] == 1 and values[255] == 255


def test_order_is_rescale_then_window_then_inversion() -> None:
    steps = GrayscaleSteps(
        8, inverted=True, slope=2.0, intercept=-100.0, window=Window(0, 200, "LINEAR_EXACT")
    )
    table = build_display_table(NO_PIXELS, steps)
    # 75 -> 50 -> 0.75 -> 0.25
    assert table[75] == pytest.approx(0.25)
    assert table.dtype == np.float32 and table.shape == (256,)


def test_voi_lut_is_preferred_to_a_window() -> None:
    steps = GrayscaleSteps(8, voi_lut=lut(0, 8, 255), window=Window(128, 256))
    assert build_display_table(NO_PIXELS, steps)[0] == 1.0


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", "", True),
        ("MONOCHROME2", "", False),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME2", "IDENTITY", False),
    ],
)
def test_there_is_one_inversion(photometric: str, shape: str, inverted: bool) -> None:
    assert is_inverted(photometric, shape) is inverted


def test_estimated_range_is_the_percentiles_of_the_film() -> None:
    film = np.random.default_rng(0).integers(200, 3000, (700, 300)).astype(np.uint16)
    values = np.arange(4096.0)
    low, high = estimate_range(film, values)
    expected = np.percentile(film, [0.5, 99.5], method="inverted_cdf")
    assert [low, high] == expected.tolist()


def test_estimated_range_ignores_border_and_padding() -> None:
    film = np.random.default_rng(0).integers(200, 3000, (100, 100)).astype(np.uint16)
    framed = np.pad(film, ((40, 10), (0, 60)), constant_values=4095)
    values = np.arange(4096.0)
    assert estimate_range(framed, values) == estimate_range(film, values)
    padded = film.copy()
    padded[::3, ::2] = 7  # not at the border, so only the header can tell
    assert estimate_range(padded, values)[0] == 7
    assert estimate_range(padded, values, padding=(7, 7))[0] >= 200


def test_estimated_range_follows_a_falling_modality_step() -> None:
    film = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    low, high = estimate_range(film, -np.arange(1024.0))
    assert (low, high) == (-995.0, -5.0)


def test_constant_film_is_black_not_an_error() -> None:
    table = build_display_table(np.full((4, 4), 9, np.uint16), GrayscaleSteps(8))
    assert table[9] == 0.0 and np.isfinite(table).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_identity_table(bits: int) -> None:
    table = identity_table(bits)
    expected = (np.arange(2**bits) / (2**bits - 1)).astype(np.float32)
    np.testing.assert_array_equal(table, expected)

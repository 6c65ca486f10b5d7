"""The first view of a film, told as a window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxr_reason.film.display_table import (
    GrayscaleSteps,
    Lut,
    Window,
    apply_window,
    build_display_table,
    identity_table,
)
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.radiograph import Radiograph, decode_radiograph
from cxr_reason.film.render import find_gray_view

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def make_film(steps: GrayscaleSteps) -> Radiograph:
    info = FilmInfo("0" * 64, "dicom", 64, 64, steps.bits_stored)
    return Radiograph(RAMP, build_display_table(RAMP, steps), info, steps=steps)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize(
    "steps",
    [
        {"window": Window(2000, 1500)},
        {"window": Window(2000, 1500, "SIGMOID")},
        {"window": Window(0.5, 0.25, "LINEAR_EXACT"), "slope": 1 / 4096},
        {"window": Window(100, 1)},
        {"window": Window(500, 3000), "signed": True, "slope": 2.0, "intercept": -7.0},
        {"window": Window(-2000, 1500), "slope": -1.0},
    ],
)
def test_the_window_of_the_header_is_given_as_it_stands(steps: dict, inverted: bool) -> None:
    film = make_film(GrayscaleSteps(12, inverted=inverted, **steps))
    view = find_gray_view(film)
    assert view.window == steps["window"]
    assert not view.through_lut
    assert view.inverted == inverted


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("slope", [1.0, 0.01, -3.0])
def test_an_estimated_window_is_found_from_the_table(slope: float, inverted: bool) -> None:
    film = make_film(GrayscaleSteps(12, slope=slope, intercept=5.0, inverted=inverted))
    view = find_gray_view(film)
    assert not view.through_lut
    assert view.inverted == inverted
    shown = apply_window(view.values, view.window)
    np.testing.assert_allclose(1 - shown if inverted else shown, film.display_table, atol=1e-5)


def test_a_window_that_was_not_used_is_not_given() -> None:
    steps = GrayscaleSteps(12, window=Window(60000, 10))
    film = Radiograph(RAMP, identity_table(12), make_film(steps).info, steps=steps)
    window = find_gray_view(film).window
    assert (window.center, window.width) == pytest.approx((2047.5, 4095), abs=0.01)


def test_a_table_that_is_no_window_says_so() -> None:
    curve = np.rint(1000 * np.sin(np.linspace(0, 1.5, 1001))).astype(np.uint16)
    film = make_film(GrayscaleSteps(12, voi_lut=Lut(500, 10, curve), window=Window(1, 2)))
    view = find_gray_view(film)
    assert view.through_lut
    assert view.window.center == pytest.approx(1000, abs=30)
    assert view.window.width == pytest.approx(1000, abs=60)


def test_a_falling_lut_is_inverted_in_the_window_tool() -> None:
    curve = np.rint(1000 * np.cos(np.linspace(0, 1.5, 1001))).astype(np.uint16)
    assert find_gray_view(make_film(GrayscaleSteps(12, voi_lut=Lut(500, 10, curve)))).inverted


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_flat_table_still_has_a_window(level: float) -> None:
    table = np.full(4096, level, dtype=np.float32)
    film = Radiograph(RAMP, table, FilmInfo("0" * 64, "png", 64, 64, 12))
    window = find_gray_view(film).window
    assert np.isfinite([window.center, window.width]).all() and window.width > 0


def test_odd_headers_give_finite_windows() -> None:
    rng = np.random.default_rng(0)
    extremes = [0.0, 1e-300, 1e-12, 1.0, -1.0, 7.5, 1e12, -1e300, 1e304]
    for _ in range(2000):
        slope, intercept, center, width = rng.choice(extremes, 4)
        table = rng.choice([0.0, 0.5, 1.0, rng.random()], 256).astype(np.float32)
        table = np.sort(table) if rng.random() < 0.5 else table
        window = Window(center, width, str(rng.choice(["LINEAR", "LINEAR_EXACT", "SIGMOID", "X"])))
        steps = GrayscaleSteps(8, slope=slope, intercept=intercept, window=window)
        film = Radiograph(RAMP, table, FilmInfo("0" * 64, "dicom", 64, 64, 8), steps=steps)
        view = find_gray_view(film)
        assert np.isfinite([view.window.center, view.window.width]).all()
        assert np.isfinite(view.values.astype(np.float32)).all()


def test_a_real_film_has_the_window_of_its_header(rg1_path: Path) -> None:
    view = find_gray_view(decode_radiograph(rg1_path.read_bytes()))
    assert view.window == Window(15000, 30000)
    assert view.inverted

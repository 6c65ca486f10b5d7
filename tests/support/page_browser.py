"""The page in a real Chromium: what its tests share.

CXR_PAGE_SCREENSHOTS names a folder that gets a picture of the page as each test left it.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxr_reason.engine.base import Array
from cxr_reason.film.radiograph import Radiograph
from support.page_stand_in import StandIn

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = playwright.expect
expect.set_options(timeout=20_000)


CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

READING_MS = 120_000  # a real model on a busy machine
VIEWPORT = {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"needs Chromium at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def stand_in() -> Iterator[Any]:
    with StandIn() as server:
        yield server


@pytest.fixture
def page(browser: Any, stand_in: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page of the stand-in."""
    yield from open_page(browser, stand_in.url, request.node.name)


def open_page(browser: Any, url: str, name: str) -> Iterator[Any]:
    """Yield the page; at the end it must have kept to its own server and its own policy."""
    context = browser.new_context(viewport=VIEWPORT)
    page = context.new_page()
    page.set_default_timeout(20_000)
    faults: list[str] = []
    requested: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(url)
    expect(page.locator(".model")).not_to_be_empty()
    yield page
    if folder := os.environ.get("CXR_PAGE_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{re.sub(r'[^a-zA-Z0-9]+', '-', name)}.png")
    context.close()
    # Chromium itself writes a line for a failed request.
    assert [fault for fault in faults if not fault.startswith("Failed to load resource")] == []
    assert [one for one in requested if not one.startswith((url.partition("#")[0], "blob:"))] == []


def open_film(page: Any, path: Path) -> None:
    page.locator("input[type=file]").set_input_files(str(path))


def read_film(page: Any, path: Path) -> None:
    open_film(page, path)
    expect(page.get_by_text("Reading complete")).to_be_visible(timeout=READING_MS)


def canvas_pixels(page: Any) -> tuple[Array, dict[str, float]]:
    """Return what the canvas holds, RGB `[H, W, 3]`, and where the film lies on it."""
    # A change reaches the canvas two frames later: Preact runs effects after the next frame, and
    # the viewer draws in the one after it. The third is for a change that is not rendered yet.
    for _ in range(3):
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    url, place = page.locator("canvas").evaluate(
        "(canvas) => [canvas.toDataURL('image/png'), {...canvas.dataset}]"
    )
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    return np.asarray(image.convert("RGB")), {key: float(place[key]) for key in place}


def shown_film(page: Any) -> tuple[Array, tuple[slice, slice]]:
    """Show a film pixel by pixel; return the gray values of the canvas and where they come from."""
    page.locator("canvas").press("1")
    pixels, place = canvas_pixels(page)
    assert place["scale"] == 1
    x, y = int(place["x"]), int(place["y"])
    height, width = pixels.shape[:2]
    # Outside of the film the canvas is black; the caller's film clips the far ends.
    rows, columns = slice(max(0, -y), height - y), slice(max(0, -x), width - x)
    return pixels[max(0, y) :, max(0, x) :], (rows, columns)


def compare_shown(page: Any, film: Radiograph) -> tuple[Array, Array]:
    """Return the gray levels that the canvas shows and those that the model is given, 0..255."""
    shown, (rows, columns) = shown_film(page)
    assert (shown == shown[..., :1]).all(), "a film has no colour"
    expected = 255.0 * film.display_table[film.pixels]
    ratio = film.pixel_aspect
    if ratio != 1:
        # As a canvas draws it: bilinear between the centres of pixels.
        height, width = film.pixels.shape
        box = Image.Resampling.BILINEAR
        expected = np.asarray(Image.fromarray(expected).resize((width, round(height * ratio)), box))
    expected = expected[rows, columns]
    return shown[: expected.shape[0], : expected.shape[1], 0].astype(np.float32), expected


def decision(page: Any, label: str, name: str) -> Any:
    group = page.get_by_role("group", name=f"Decision on {label}")
    return group.get_by_role("button", name=name)

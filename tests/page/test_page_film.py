"""The page's film in a real Chromium: decoded, windowed, zoomed, moved."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from support.page_browser import (
    canvas_pixels,
    compare_shown,
    expect,
    open_film,
    read_film,
)

from cxr_reason.errors import InputError
from cxr_reason.film.radiograph import decode_radiograph


def films_below(folder: Path) -> list[Path]:
    """Return the files of a folder that hold films, as far as their names tell."""
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".dcm", ".png", ".jpg"))
    return [path for path in found if path.name != "truth.png"]


def check_shown_as_given(page: Any, path: Path) -> bool:
    """Open a file: it is shown as the model is given it, or refused as for a reading.

    Returns:
        Whether it is shown.
    """
    page.reload()
    try:
        film = decode_radiograph(path.read_bytes())
    except InputError as error:
        open_film(page, path)
        expect(page.get_by_role("alert")).to_have_text(error.message)
        return False
    read_film(page, path)
    # So large that all of the film is on the canvas, a canvas pixel to each of its own or more.
    width, height = film.info.width_px, int(film.info.height_px * max(1, film.pixel_aspect))
    page.set_viewport_size({"width": 2 * width + 800, "height": height + 600})
    page.wait_for_function(
        """([width, height]) => {
            const canvas = document.querySelector("canvas");
            return canvas.width >= width && canvas.height >= height;
        }""",
        arg=[width, height],
    )
    gray, expected = compare_shown(page, film)
    assert expected.shape[1] == film.pixels.shape[1] and len(expected) >= film.pixels.shape[0]
    difference = np.abs(gray - expected)
    if film.pixel_aspect == 1:
        assert difference.max() <= 0.51, path.name
    else:
        assert np.median(difference) <= 1, path.name
    return True


@pytest.mark.parametrize("folder", ["chest", "luts", "other_cr_mg"])
def test_every_real_film_is_shown_as_the_model_is_given_it(
    page: Any, dicom_dir: Path, folder: str
) -> None:
    shown = [check_shown_as_given(page, path) for path in films_below(dicom_dir / folder)]
    assert shown, "no films"


def test_every_odd_film_is_shown_as_the_model_is_given_it(page: Any, data_dir: Path) -> None:
    folder = data_dir.parent / "cases" / "film"
    if not folder.is_dir():
        pytest.skip("needs the folder cases/film beside CXR_TEST_DATA")
    shown = [check_shown_as_given(page, path) for path in films_below(folder)]
    assert any(shown)


def make_variant(rg1_path: Path, name: str) -> bytes:
    """Return RG1 at a tenth of its size on each side, in another syntax or with other values."""
    dataset = pydicom.dcmread(rg1_path)
    pixels = np.ascontiguousarray(dataset.pixel_array[::10, ::10])
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()
    syntax = SYNTAXES.get(name, "1.2.840.10008.1.2.1")
    if name == "big endian":
        dataset.PixelData = pixels.byteswap().tobytes()
    elif name == "high-throughput JPEG 2000":
        frame = imagecodecs.htj2k_encode(pixels, reversible=True)
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True
    elif name == "signed":
        dataset.PixelRepresentation = 1
        dataset.PixelData = ((pixels.astype(np.int32) - 16384) & 0x7FFF).astype("<u2").tobytes()
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, 100
        dataset.WindowCenter, dataset.WindowWidth = 0, 40000
    elif name == "sigmoid":
        dataset.VOILUTFunction = "SIGMOID"
    elif name == "exact":
        dataset.VOILUTFunction = "LINEAR_EXACT"
    elif name == "no window":
        del dataset.WindowCenter, dataset.WindowWidth
    elif name == "identity":
        dataset.PresentationLUTShape = "IDENTITY"
    elif name == "modality table":
        item = pydicom.Dataset()
        item.add_new("LUTDescriptor", "US", [1000, 12000, 16])
        item.add_new("LUTData", "OW", (np.arange(1000, dtype="<u2") * 30).tobytes())
        dataset.ModalityLUTSequence = [item]
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    is_little_endian = name != "big endian"
    is_implicit = name == "implicit"
    pydicom.dcmwrite(buffer, dataset, implicit_vr=is_implicit, little_endian=is_little_endian)
    return buffer.getvalue()


SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big endian": "1.2.840.10008.1.2.2",
    "high-throughput JPEG 2000": "1.2.840.10008.1.2.4.201",
}
VALUES = ("signed", "sigmoid", "exact", "no window", "identity", "modality table")


def test_every_form_of_a_film_is_shown_as_the_model_is_given_it(
    page: Any, rg1_path: Path, tmp_path: Path
) -> None:
    for name in (*SYNTAXES, *VALUES):
        data = make_variant(rg1_path, name)
        film = decode_radiograph(data)
        (tmp_path / "film.dcm").write_bytes(data)
        read_film(page, tmp_path / "film.dcm")
        expect(page.get_by_test_id("window")).to_be_visible()
        gray, expected = compare_shown(page, film)
        assert np.abs(gray - expected).max() <= 0.51, name
        assert np.ptp(expected) > 50
        page.reload()


def test_rasters_are_shown_as_the_model_is_given_them(page: Any, tmp_path: Path) -> None:
    ramp = (np.arange(300 * 400, dtype=np.uint32) % 65536).astype(np.uint16).reshape(300, 400)
    colour = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(colour).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(colour).convert("1").save(tmp_path / "binary.png")
    Image.fromarray(np.uint8(ramp // 256)).save(tmp_path / "gray.jpg", quality=90)
    for path in sorted(tmp_path.iterdir()):
        film = decode_radiograph(path.read_bytes())
        open_film(page, path)
        info = film.info
        size = f"{info.width_px} \N{MULTIPLICATION SIGN} {info.height_px}, {info.bits_stored} bit"
        expect(page.get_by_text(size)).to_be_visible()
        gray, expected = compare_shown(page, film)
        assert np.abs(gray - expected).max() <= 0.51, path.name


def test_dragging_changes_the_window_and_reset_takes_it_back(page: Any, rg1_path: Path) -> None:
    read_film(page, rg1_path)
    first, _ = canvas_pixels(page)
    window = page.get_by_test_id("window")
    expect(window).to_have_text("C 15000  W 30000")
    page.mouse.move(400, 400)
    page.mouse.down()
    page.mouse.move(300, 500, steps=4)
    page.mouse.up()
    # 100 of 500 CSS pixels left: a fifth of the width less. Down is darker: on MONOCHROME1 that is
    # a lower centre.
    expect(window).to_have_text("C 9000  W 24000")
    narrowed, _ = canvas_pixels(page)
    assert narrowed.mean() < first.mean() - 20
    page.get_by_role("button", name="Invert").click()
    inverted, place = canvas_pixels(page)
    left, right = int(place["x"]) + 2, int(place["x"] + 1841 * place["scale"]) - 2
    total = inverted[:, left:right].astype(int) + narrowed[:, left:right]
    assert np.abs(total - 255).max() <= 1
    page.get_by_role("button", name="Reset").click()
    expect(window).to_have_text("C 15000  W 30000")
    again, _ = canvas_pixels(page)
    assert (again == first).all()


def test_zoom_and_pan(page: Any, rg1_path: Path) -> None:
    read_film(page, rg1_path)
    _, fitted = canvas_pixels(page)
    page.mouse.move(500, 500)
    page.mouse.wheel(0, -300)
    _, nearer = canvas_pixels(page)
    assert nearer["scale"] > 1.2 * fitted["scale"]
    page.get_by_role("button", name="Pan", exact=True).click()
    page.mouse.move(500, 500)
    page.mouse.down()
    page.mouse.move(530, 480)
    page.mouse.up()
    _, moved = canvas_pixels(page)
    assert (moved["x"] - nearer["x"], moved["y"] - nearer["y"]) == (30, -20)
    page.get_by_role("button", name="Fit").click()
    assert canvas_pixels(page)[1] == fitted


def test_the_film_by_keyboard(page: Any, rg1_path: Path) -> None:
    read_film(page, rg1_path)
    canvas = page.locator("canvas")
    page.get_by_role("button", name="Reset").focus()
    page.keyboard.press("Tab")
    expect(canvas).to_be_focused()
    assert canvas.evaluate("(canvas) => getComputedStyle(canvas).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    expect(page.get_by_test_id("window")).to_have_text("C 15000  W 30600")
    before = canvas_pixels(page)
    page.keyboard.press("i")
    assert (canvas_pixels(page)[0] != before[0]).any()
    page.keyboard.press("+")
    assert canvas_pixels(page)[1]["scale"] > before[1]["scale"]
    page.keyboard.press("r")
    expect(page.get_by_test_id("window")).to_have_text("C 15000  W 30000")


def test_a_film_can_be_dropped(page: Any, rg1_path: Path) -> None:
    content = base64.b64encode(rg1_path.read_bytes()).decode()
    page.evaluate(
        """(content) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "film.dcm"));
            const options = {dataTransfer: data, bubbles: true, cancelable: true};
            const drop = new DragEvent("drop", options);
            document.querySelector("canvas").dispatchEvent(drop);
            if (!drop.defaultPrevented) throw new Error("the browser would open the file");
        }""",
        content,
    )
    expect(page.get_by_text("1841 \N{MULTIPLICATION SIGN} 1955, 15 bit, PA")).to_be_visible()
    expect(page.get_by_text("Reading complete")).to_be_visible()


def test_a_bad_file_is_reported_without_its_content(
    page: Any, stand_in: Any, rg1_path: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "CANARY.dcm"
    for content, text in (
        (b"CANARY" * 100, "image: neither DICOM, PNG, JPEG"),
        (rg1_path.read_bytes()[:300], "DICOM: "),
        (b"\x89PNG\r\n\x1a\nCANARY", "PNG: header damaged"),
    ):
        bad.write_bytes(content)
        open_film(page, bad)
        expect(page.get_by_role("alert")).to_contain_text(text)
        expect(page.locator(".phase")).to_have_text("Reading failed")
        assert "CANARY" not in page.locator("body").inner_text()
    assert not stand_in.requests, "what is refused is not sent for a reading"
    read_film(page, rg1_path)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_flat_pixels_are_shown_as_high_as_they_are(
    page: Any, rg1_path: Path, tmp_path: Path
) -> None:
    dataset = pydicom.dcmread(rg1_path)
    pixels = np.ascontiguousarray(dataset.pixel_array[::10, ::5])
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()
    dataset.PixelSpacing = dataset.ImagerPixelSpacing = [0.4, 0.2]
    pydicom.dcmwrite(tmp_path / "film.dcm", dataset)
    read_film(page, tmp_path / "film.dcm")
    gray, expected = compare_shown(page, decode_radiograph((tmp_path / "film.dcm").read_bytes()))
    assert len(expected) == 2 * len(pixels)
    assert np.abs(gray - expected).max() <= 2
    assert np.ptp(expected) > 50

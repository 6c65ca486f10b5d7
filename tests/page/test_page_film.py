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
    expect,
    open_film,
    read_film,
    shown_film,
)

from cxr_reason.film import dicom
from cxr_reason.film.radiograph import decode_radiograph


@pytest.mark.parametrize(
    "name",
    [
        "chest/WG04_RG1_UNCR.dcm",
        "chest/WG04_RG1_J2KR.dcm",
        "chest/WG04_RG1_J2KI.dcm",
        "chest/WG04_RG1_JLSN.dcm",
        "chest/highdicom_dx_image_canine_thorax.dcm",
        "chest/xrv_Fake_MONOHR1.dcm",
        "chest/xrv_siim_cr_pa_jpegbaseline.dcm",
        "luts/pydicom-data_vlut_04.dcm",
        "luts/notZaki_MG_pixelspacing_vs_imagerspacing.dcm",
        "other_cr_mg/WG04_RG2_J2KI.dcm",
        "other_cr_mg/WG04_RG2_JLSL.dcm",
        "other_cr_mg/WG04_RG2_JLSN.dcm",
        "other_cr_mg/WG04_RG2_JPLL.dcm",
        "other_cr_mg/WG04_RG2_RLE.dcm",
    ],
)
def test_a_film_is_shown_as_the_model_is_given_it(
    page: Any, dicom_dir: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The grayscale of hips and hands counts here too.
    monkeypatch.setattr(dicom, "_check_object", lambda header: ())
    monkeypatch.setattr(dicom, "_check_view", lambda header: (None, ()))
    film = decode_radiograph((dicom_dir / name).read_bytes())
    open_film(page, dicom_dir / name)
    expect(page.get_by_test_id("window")).to_be_visible()
    shown, (rows, columns) = shown_film(page)
    expected = 255.0 * film.display_table[film.pixels[rows, columns]]
    gray = shown[: expected.shape[0], : expected.shape[1]].astype(np.float32)
    assert (gray == gray[..., :1]).all(), "a film has no colour"
    # Half a level of rounding, and where JPEG is decoded twice, the two decoders' own rounding.
    tolerance = 1.51 if "xrv_" in name else 0.51
    assert np.abs(gray[..., 0] - expected).max() <= tolerance
    assert np.ptp(expected) > 50


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
        shown, (rows, columns) = shown_film(page)
        expected = 255.0 * film.display_table[film.pixels[rows, columns]]
        gray = shown[: expected.shape[0], : expected.shape[1], 0].astype(np.float32)
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
        shown, (rows, columns) = shown_film(page)
        expected = 255.0 * film.display_table[film.pixels[rows, columns]]
        gray = shown[: expected.shape[0], : expected.shape[1], 0].astype(np.float32)
        tolerance = 1.51 if path.suffix == ".jpg" else 0.51
        assert np.abs(gray - expected).max() <= tolerance, path.name


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
    stand_in.fault = "error"
    bad = tmp_path / "CANARY.dcm"
    for content in (b"CANARY" * 100, rg1_path.read_bytes()[:300], b"\x89PNG\r\n\x1a\nCANARY"):
        bad.write_bytes(content)
        open_film(page, bad)
        expect(page.get_by_role("alert")).to_have_count(2)
        expect(page.get_by_text("image: not a chest film")).to_be_visible()
        assert "CANARY" not in page.locator("body").inner_text()
    stand_in.fault = ""
    read_film(page, rg1_path)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_film_that_the_page_cannot_show_is_read_nevertheless(page: Any, dicom_dir: Path) -> None:
    read_film(page, dicom_dir / "other_cr_mg" / "WG04_RG2_JPLY.dcm")
    expect(page.get_by_text("The page cannot show 12-bit JPEG")).to_be_visible()
    expect(page.locator("tbody th[scope=row]")).to_have_count(4)

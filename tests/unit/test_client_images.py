"""Everything that may hold a film, and what of it arrives."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from PIL import Image
from support.chest_files import (
    EXPLICIT,
    IMPLICIT,
    bare_dataset,
    chest_dataset,
    chest_file,
    chest_pixels,
)

from cxr_reason.client import SentFilm, encode_image
from cxr_reason.contract import MAX_FILM_BYTES
from cxr_reason.errors import BadRequestError, TooLargeError, UnreadableImageError
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.film.source import PNG_START


def test_a_path_and_bytes_pass_as_they_are(rg1_path):
    data = rg1_path.read_bytes()
    assert encode_image(rg1_path) == encode_image(str(rg1_path)) == encode_image(data) == data


def test_a_dataset_gives_the_same_film(rg1_path):
    sent = decode_radiograph(encode_image(pydicom.dcmread(rg1_path)))
    film = decode_radiograph(rg1_path.read_bytes())
    assert np.array_equal(sent.pixels, film.pixels)
    assert np.array_equal(sent.display_table, film.display_table)
    assert (sent.info.view, sent.info.bits_stored) == ("PA", 15)


def test_a_dataset_without_its_file_meta_is_refused():
    with pytest.raises(BadRequestError, match="file_meta"):
        encode_image(pydicom.Dataset())


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16"])
def test_a_picture_arrives(mode):
    pixels = np.arange(60 * 40, dtype=np.uint16).reshape(60, 40)
    picture = Image.fromarray(pixels if mode == "I;16" else (pixels % 256).astype(np.uint8))
    if mode not in ("L", "I;16"):
        picture = picture.convert(mode)
    film = decode_radiograph(encode_image(picture))
    assert film.pixels.shape == (60, 40)
    if mode in ("L", "I;16"):
        assert np.array_equal(film.pixels, np.asarray(picture))


def test_a_picture_of_another_mode_is_refused():
    with pytest.raises(BadRequestError, match="mode 'CMYK'"):
        encode_image(Image.new("CMYK", (10, 10)))


@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_an_array_keeps_its_depth(bits, dtype):
    if bits > 8 and dtype is np.uint8:
        pytest.skip("uint8 holds no more than 8 bits")
    white = 2**bits - 1
    pixels = np.random.default_rng(0).integers(0, white + 1, (37, 53)).astype(dtype)
    pixels[0, :2] = 0, white
    film = decode_radiograph(encode_image(pixels, bits_stored=bits))
    shown = film.display_table[film.pixels]
    # Every stored value is shown at its share of white, to the step of the PNG's depth.
    assert np.abs(shown - pixels / white).max() <= 0.51 / (255 if bits <= 8 else 65_535)
    assert len(np.unique(film.pixels)) == len(np.unique(pixels))


def test_an_array_of_bytes_needs_no_depth():
    pixels = np.arange(200, dtype=np.uint8).reshape(10, 20)
    data = encode_image(pixels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    assert encode_image(pixels[::-1, ::2]) != data  # views too


@pytest.mark.parametrize(
    ("pixels", "bits", "message"),
    [
        (np.zeros((4, 4), np.uint16), None, "bits_stored: missing"),
        (np.zeros((4, 4, 3), np.uint8), None, r"shape \[4, 4, 3\]"),
        (np.zeros((0, 4), np.uint8), None, r"shape \[0, 4\]"),
        (np.zeros((4, 4)), 12, "type float64"),
        (np.full((4, 4), 4096, np.uint16), 12, "12 bits hold 0 to 4095"),
        (np.full((4, 4), -1, np.int16), 12, "12 bits hold 0 to 4095"),
        (np.zeros((4, 4), np.uint16), 17, "must be from 1 to 16"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(pixels, bits, message):
    with pytest.raises(BadRequestError, match=message):
        encode_image(pixels, bits_stored=bits)


def test_the_depth_of_anything_else_is_its_own():
    with pytest.raises(BadRequestError, match="only for an array"):
        encode_image(b"x", bits_stored=12)


@pytest.mark.parametrize("image", [3, [[1]], SentFilm("0" * 64)])
def test_anything_else_is_refused(image):
    with pytest.raises(BadRequestError, match="give a path, bytes"):
        encode_image(image)


def test_a_missing_file(tmp_path):
    with pytest.raises(UnreadableImageError, match="cannot read"):
        encode_image(tmp_path / "none.dcm")


def test_arrays_need_neither_pydicom_nor_pillow():
    code = (
        "import sys, numpy, cxr_reason.client as client\n"
        "client.encode_image(numpy.zeros((9, 9), numpy.uint8))\n"
        "try: client.encode_image(object())\n"
        "except client.client.CxrError: pass\n"
        "sys.exit(bool({'pydicom', 'PIL'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_film_over_the_limit_is_refused_before_it_is_sent(tmp_path):
    path = tmp_path / "film.dcm"
    with path.open("wb") as file:
        file.truncate(2 * 2**30)  # takes no room on the disk
    for image in (path, "/dev/zero", bytes(MAX_FILM_BYTES + 1)):
        with pytest.raises(TooLargeError, match="over the limit"):
            encode_image(image)
    assert len(encode_image(PNG_START.ljust(MAX_FILM_BYTES))) == MAX_FILM_BYTES
    url = b"data:image/png;base64," + b"A" * (4 * (MAX_FILM_BYTES // 3))
    assert encode_image(url) == url


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no film",
        b"GIF89a" + bytes(200),
        bytes(1000),
        b"data:image/png,not base64",
        b"data:",
    ],
    ids=["empty", "text", "GIF", "zeros", "URL without base64", "scheme"],
)
def test_what_is_no_film_is_refused_as_the_server_does(data, tmp_path):
    with pytest.raises(UnreadableImageError) as of_server:
        decode_radiograph(data)
    path = tmp_path / "film.dcm"  # a name decides nothing
    path.write_bytes(data)
    for image in (data, path):
        with pytest.raises(UnreadableImageError) as of_client:
            encode_image(image)
        assert of_client.value.message == of_server.value.message


def test_every_file_that_the_server_may_read_is_sent():
    dataset = chest_dataset(chest_pixels(), 12)
    whole = chest_file(dataset)
    files = [
        whole,
        whole[128:],  # without the preamble
        bare_dataset(dataset, EXPLICIT),
        bare_dataset(dataset, IMPLICIT),
        PNG_START + b"damaged",
        b"\xff\xd8\xff\xe0damaged",
        b"DATA:image/png;base64,AAAA",
    ]
    for data in files:
        assert encode_image(data) == data
    for data in files[:4]:
        assert decode_radiograph(data).info.source == "dicom"


def test_a_dark_array_stays_dark():
    pixels = np.tile(np.arange(200, 260, dtype=np.uint16), (40, 1))
    film = decode_radiograph(encode_image(pixels, bits_stored=12))
    assert film.info.flags == ("body_part_unknown", "view_unknown")
    np.testing.assert_allclose(film.display_table[film.pixels], pixels / 4095, atol=1e-4)

"""PNG, JPEG and data: URLs to a radiograph, and the limits."""

from __future__ import annotations

import base64
import hashlib
import random
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxr_reason.errors import (
    BadRequestError,
    InputError,
    TooLargeError,
    UnreadableImageError,
    UnsupportedObjectError,
)
from cxr_reason.film.radiograph import FilmLimits, decode_radiograph

GRAY = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(np.uint8)


def encode(image: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def data_url(data: bytes, media: str = "image/png") -> bytes:
    return f"data:{media};base64,".encode() + base64.b64encode(data)


def png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def test_8_bit_png_is_kept_as_it_is() -> None:
    data = encode(GRAY)
    film = decode_radiograph(data)
    np.testing.assert_array_equal(film.pixels, GRAY)
    assert film.pixels.dtype == np.uint16
    np.testing.assert_array_equal(film.display_table[film.pixels], (GRAY / 255).astype(np.float32))
    info = film.info
    assert info.image_digest == hashlib.sha256(data).hexdigest()
    assert (info.source, info.bits_stored, info.height_px, info.width_px) == ("png", 8, 40, 30)
    assert (info.view, info.pixel_spacing_mm, info.spacing_kind) == (None, None, "unknown")
    assert info.flags == ("body_part_unknown", "view_unknown")


def test_16_bit_png_keeps_its_depth() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (40, 30)).astype(np.uint16)
    film = decode_radiograph(encode(deep))
    np.testing.assert_array_equal(film.pixels, deep)
    assert film.info.bits_stored == 16 and len(film.display_table) == 65536
    assert film.display_table[-1] == 1.0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_gray_in_other_modes_is_the_same_film(mode: str) -> None:
    image = Image.fromarray(GRAY).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(255 - GRAY))  # has no bearing on the film
    np.testing.assert_array_equal(decode_radiograph(encode(image)).pixels, GRAY)


def test_palette_with_transparency_and_one_bit() -> None:
    palette = Image.fromarray(GRAY).convert("P")
    film = decode_radiograph(encode(palette, transparency=bytes(range(256))))
    np.testing.assert_array_equal(film.pixels, GRAY)
    bits = decode_radiograph(encode(Image.fromarray(GRAY > 99)))
    np.testing.assert_array_equal(bits.pixels, 255 * (GRAY > 99))


def test_color_becomes_luma() -> None:
    color = np.zeros((8, 8, 3), np.uint8)
    color[..., 0] = 200
    assert (decode_radiograph(encode(color)).pixels == round(0.299 * 200)).all()


def test_jpeg_is_near_and_turned_upright() -> None:
    smooth = np.add.outer(np.arange(64), 2 * np.arange(48)).astype(np.uint8)
    film = decode_radiograph(encode(smooth, "JPEG", quality=95))
    assert film.info.source == "jpeg"
    assert np.abs(film.pixels.astype(int) - smooth).max() <= 4
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned a quarter to the left
    turned = np.ascontiguousarray(np.rot90(smooth))
    upright = decode_radiograph(encode(turned, "JPEG", quality=95, exif=exif))
    assert (upright.info.height_px, upright.info.width_px) == smooth.shape
    assert np.abs(upright.pixels.astype(int) - smooth).max() <= 4


def test_cmyk_is_refused() -> None:
    with pytest.raises(UnsupportedObjectError):
        decode_radiograph(encode(Image.new("CMYK", (9, 9)), "JPEG"))


def test_animation_is_refused() -> None:
    frames = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    data = encode(frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedObjectError, match="more than one frame"):
        decode_radiograph(data)


@pytest.mark.parametrize("media", ["image/png", "image/jpeg", "", "image/png;name=a.png"])
def test_data_url_is_the_film_it_holds(media: str) -> None:
    data = encode(GRAY)
    film = decode_radiograph(data_url(data, media))
    np.testing.assert_array_equal(film.pixels, GRAY)
    assert film.info.image_digest == hashlib.sha256(data).hexdigest()


def test_data_url_of_dicom(rg1_path: Any) -> None:
    data = rg1_path.read_bytes()
    film = decode_radiograph(data_url(data, "application/dicom"))
    assert film.info.source == "dicom" and film.info.view == "PA"


@pytest.mark.parametrize(
    "url",
    [
        b"data:",
        b"data:image/png,abc",
        b"data:image/png;base64",
        b"data:image/png;base64,",
        b"data:image/png;base64,====",
        b"data:image/png;base64,iVBOR",
        data_url(encode(GRAY)) + b"\n",
        data_url(encode(GRAY)).replace(b"A", b"-", 1).replace(b"base64,", b"base64, "),
        data_url(data_url(encode(GRAY))),
        data_url(b"GIF89a"),
    ],
    ids=range(10),
)
def test_other_data_urls_are_refused(url: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        decode_radiograph(url)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0",
        bytes(200),
        bytes(128) + b"DICM",
        encode(GRAY, "GIF"),
        encode(GRAY, "TIFF"),
        encode(GRAY, "BMP"),
        b"http://127.0.0.1/film.png",
    ],
    ids=range(11),
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        decode_radiograph(data)


def test_encoded_limit() -> None:
    data = encode(GRAY)
    decode_radiograph(data, FilmLimits(max_encoded_bytes=len(data)))
    decode_radiograph(data_url(data), FilmLimits(max_encoded_bytes=len(data)))
    tight = FilmLimits(max_encoded_bytes=len(data) - 1)
    for given in (data, data_url(data)):
        with pytest.raises(TooLargeError, match=f"{len(data)} bytes"):
            decode_radiograph(given, tight)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pixel_limit(kind: str) -> None:
    data = encode(GRAY, kind)
    decode_radiograph(data, FilmLimits(max_pixels=1200))
    with pytest.raises(TooLargeError, match="40 x 30"):
        decode_radiograph(data, FilmLimits(max_pixels=1199))


def test_bombs_are_refused_by_their_header() -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50000, 50000, 8, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    with pytest.raises(TooLargeError, match="50000 x 50000"):
        decode_radiograph(bomb)
    with pytest.raises(TooLargeError, match="Pillow"):
        decode_radiograph(bomb, FilmLimits(max_pixels=1e10))
    jpeg = bytearray(encode(GRAY, "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(TooLargeError, match="65535 x 65535"):
        decode_radiograph(bytes(jpeg))


def test_limits_are_checked() -> None:
    with pytest.raises(BadRequestError):
        FilmLimits(max_encoded_bytes=0)
    with pytest.raises(BadRequestError):
        FilmLimits(max_pixels=0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "16-bit PNG"])
def test_damage_raises_input_errors(kind: str) -> None:
    film = GRAY.astype(np.uint16) * 257 if kind == "16-bit PNG" else GRAY
    data = encode(film, kind.split()[-1])
    rng = random.Random(0)
    for cut in [rng.randrange(len(data) - 20) for _ in range(60)]:
        with pytest.raises(InputError):
            decode_radiograph(data[:cut])
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(rng.choice([1, 4, 30])):
            broken[rng.randrange(len(data))] = rng.randrange(256)
        try:
            decode_radiograph(bytes(broken))
        except InputError:
            continue


def test_import_is_lean() -> None:
    check = (
        "import sys, cxr_reason.film.radiograph, cxr_reason.kernels.preprocess;"
        "heavy = {'torch', 'onnxruntime', 'transformers', 'imagecodecs'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", check], check=True)

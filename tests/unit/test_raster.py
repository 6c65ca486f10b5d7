"""PNG and JPEG files of every kind that a gray film can come in."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from cxr_reason.errors import UnreadableImageError, UnsupportedObjectError
from cxr_reason.film.orientation import Orientation
from cxr_reason.film.radiograph import Radiograph, decode_radiograph

GRAY = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (40, 30)).astype(np.uint16)
STRETCHED = "small_range_stretched"


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(values: np.ndarray, color_type: int, *, interlaced: bool = False) -> bytes:
    """A PNG with the samples of `values` in 16 bits, `[H, W]` or `[H, W, C]`."""
    height, width = values.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:  # Adam7
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
        passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = b""
    for top, left, down, right in passes:
        part = values[top::down, left::right]
        if part.size:
            lines += b"".join(b"\0" + row.astype(">u2").tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, int(interlaced))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def shown(film: Radiograph) -> np.ndarray:
    return film.display_table[film.pixels]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind", ["gray", "gray and alpha", "rgb", "rgba"])
def test_16_bits_are_kept_in_every_kind(kind: str, interlaced: bool) -> None:
    alpha = 65535 - DEEP
    values, color_type = {
        "gray": (DEEP, 0),
        "gray and alpha": (np.stack([DEEP, alpha], axis=-1), 4),
        "rgb": (np.stack([DEEP] * 3, axis=-1), 2),
        "rgba": (np.stack([DEEP] * 3 + [alpha], axis=-1), 6),
    }[kind]
    film = decode_radiograph(png(values, color_type, interlaced=interlaced))
    np.testing.assert_array_equal(film.pixels, DEEP)
    assert film.info.bits_stored == 16 and STRETCHED not in film.info.flags


def test_16_bits_of_color_become_luma() -> None:
    color = np.stack([DEEP, DEEP.T.reshape(DEEP.shape), 65535 - DEEP], axis=-1)
    film = decode_radiograph(png(color, 2))
    luma = np.rint(color @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_array_equal(film.pixels, luma)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15])
@pytest.mark.parametrize("color_type", [0, 4])
def test_unused_high_bits_are_stretched(bits: int, color_type: int) -> None:
    small = DEEP >> (16 - bits)
    values = small if color_type == 0 else np.stack([small, small * 0 + 65535], axis=-1)
    film = decode_radiograph(png(values, color_type))
    np.testing.assert_array_equal(film.pixels, small)
    np.testing.assert_allclose(shown(film), small / ((1 << bits) - 1), atol=1e-6)
    assert STRETCHED in film.info.flags
    assert film.info.bits_stored == 16 and len(film.display_table) == 65536


@pytest.mark.parametrize("offset", [32768, 20000, 60000])
def test_a_small_range_with_an_offset_is_stretched(offset: int) -> None:
    small = (DEEP >> 4) + np.uint16(offset)
    film = decode_radiograph(png(small, 0))
    np.testing.assert_allclose(shown(film), (small - offset) / 4095, atol=0.003)
    assert STRETCHED in film.info.flags


@pytest.mark.parametrize("value", [0, 3, 4095, 40000, 65535])
def test_a_blank_picture_stays_blank(value: int) -> None:
    film = decode_radiograph(png(np.full((9, 9), value, np.uint16), 0))
    assert np.ptp(shown(film)) == 0.0 and np.isfinite(film.display_table).all()


def test_a_few_low_values_are_not_stretched_to_noise() -> None:
    film = decode_radiograph(png((DEEP > 9).astype(np.uint16), 0))
    assert shown(film).max() < 0.01 or STRETCHED in film.info.flags


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_span_the_whole_range(depth: int) -> None:
    levels = (1 << depth) - 1
    values = GRAY >> (8 - depth)
    rows = []
    for row in np.pad(values, ((0, 0), (0, -values.shape[1] % 8))):
        bits = np.unpackbits(row[:, None], axis=1)[:, 8 - depth :].ravel()
        rows.append(b"\0" + np.packbits(bits).tobytes()[: -(-values.shape[1] * depth // 8)])
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode_radiograph(data).pixels, values * (255 // levels))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "16-bit PNG", "gray and alpha", "JPEG"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    values = DEEP if kind in ("16-bit PNG", "gray and alpha") else GRAY
    if kind == "JPEG":
        values = np.add.outer(np.arange(64), 2 * np.arange(48)).astype(np.uint8)
    upright = values
    stored = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.T,
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].T,
        8: lambda p: np.rot90(p, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "JPEG":
        data = saved(np.ascontiguousarray(stored), "JPEG", quality=98, exif=exif)
    elif kind == "gray and alpha":
        plain = png(np.stack([stored, stored], axis=-1), 4)
        block = exif.tobytes().removeprefix(b"Exif\0\0")
        data = plain[:33] + chunk(b"eXIf", block) + plain[33:]
    else:
        data = saved(np.ascontiguousarray(stored), exif=exif)
    film = decode_radiograph(data)
    assert film.pixels.shape == upright.shape == (film.info.height_px, film.info.width_px)
    assert np.abs(film.pixels.astype(int) - upright).max() <= (3 if kind == "JPEG" else 0)
    # What exporters need to map places back to the file.
    assert film.info.orientation == orientation
    turn = Orientation.from_code(film.info.orientation)
    np.testing.assert_array_equal(turn.turn(np.asarray(stored)), upright)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_exif_does_not_define_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    film = decode_radiograph(saved(GRAY, exif=exif))
    np.testing.assert_array_equal(film.pixels, GRAY)
    assert film.info.orientation == 1


def test_exif_after_the_pixels() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    block = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    data = saved(np.ascontiguousarray(GRAY[::-1, ::-1]))
    film = decode_radiograph(data[:-12] + block + data[-12:])
    np.testing.assert_array_equal(film.pixels, GRAY)


def test_a_palette_that_is_not_in_order() -> None:
    indexed = Image.fromarray(255 - GRAY, "L").convert("P")
    indexed.putpalette([255 - value for value in range(256) for _ in range(3)])
    np.testing.assert_array_equal(decode_radiograph(saved(indexed)).pixels, GRAY)


@pytest.mark.parametrize("colorspace", ["CMYK", "YCCK"])
def test_four_channels_of_jpeg_are_refused(colorspace: str) -> None:
    inks = np.stack([GRAY] * 4, axis=-1)
    data = imagecodecs.jpeg8_encode(inks, colorspace="CMYK", outcolorspace=colorspace)
    with pytest.raises(UnsupportedObjectError, match="send"):
        decode_radiograph(data)


def test_jpeg_of_color_channels_that_are_equal() -> None:
    smooth = np.add.outer(np.arange(64), 2 * np.arange(48)).astype(np.uint8)
    film = decode_radiograph(saved(np.stack([smooth] * 3, axis=-1), "JPEG", quality=98))
    assert np.abs(film.pixels.astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("cut", [1, 3, 40, 300])
def test_a_cut_16_bit_picture_is_refused(cut: int) -> None:
    for values, kind in ((DEEP, 0), (np.stack([DEEP, DEEP], axis=-1), 4)):
        body = png(values, kind)[:-12]  # without IEND
        with pytest.raises(UnreadableImageError):
            decode_radiograph(body[: -16 - cut])


def test_a_dark_picture_that_states_its_bits_stays_dark() -> None:
    data = saved(Image.fromarray(np.full((9, 9), 700, np.uint16) + np.arange(9, dtype=np.uint16)))
    assert decode_radiograph(data).info.flags[-1:] == ("small_range_stretched",)
    stated = data[:33] + chunk(b"sBIT", bytes([16])) + data[33:]
    film = decode_radiograph(stated)
    assert STRETCHED not in film.info.flags
    np.testing.assert_allclose(shown(film), film.pixels / 65535, atol=1e-6)

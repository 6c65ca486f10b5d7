"""Pixel data that are not as the header or the standard says: read with a flag, or refused."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from support.chest_files import (
    BIG_ENDIAN,
    EXPLICIT,
    RLE,
    chest_dataset,
    chest_file,
    chest_pixels,
    rle_frame,
    with_frame,
)

from cxr_reason.errors import InputError, UnreadableImageError, UnsupportedObjectError
from cxr_reason.film.radiograph import Radiograph, decode_radiograph

REPAIRED = ("encoding_repaired",)
PIXELS = chest_pixels(12)
END = b"\xff\xd9"
JPEG_BASELINE, JPEG_LOSSLESS, JPEG_LS, JPEG_2000 = (
    f"1.2.840.10008.1.2.4.{kind}" for kind in (50, 70, 80, 90)
)

ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    JPEG_LOSSLESS: lambda p: imagecodecs.jpeg8_encode(
        p, lossless=True, predictor=1, bitspersample=12
    ),
    JPEG_LS: imagecodecs.jpegls_encode,
    JPEG_2000: lambda p: imagecodecs.jpeg2k_encode(p, reversible=True, codecformat="j2k"),
}
FRAMES = {syntax: encode(PIXELS) for syntax, encode in ENCODERS.items()}


def film_of(dataset: Dataset, syntax: str = EXPLICIT) -> Radiograph:
    return decode_radiograph(chest_file(dataset, syntax))


def framed(frame: bytes, syntax: str, **values: Any) -> Radiograph:
    return film_of(with_frame(chest_dataset(PIXELS, 12, **values), frame), syntax)


def packed(plane: np.ndarray) -> bytes:
    return bytes(imagecodecs.packbits_encode(plane.astype(np.uint8).tobytes()))


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_sound_stream_has_no_flag(syntax: str) -> None:
    for padding in (b"", b"\0"):
        film = framed(FRAMES[syntax] + padding, syntax)
        np.testing.assert_array_equal(film.pixels, PIXELS)
        assert film.info.flags == ()


@pytest.mark.parametrize("syntax", [*ENCODERS, JPEG_BASELINE, RLE, EXPLICIT])
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_stream_is_decoded_by_what_it_is(syntax: str, kind: str) -> None:
    film = framed(FRAMES[kind], syntax)
    np.testing.assert_array_equal(film.pixels, PIXELS)
    assert film.info.flags == (() if syntax == kind else REPAIRED)


def test_a_lossy_stream_under_a_lossless_syntax() -> None:
    pixels = chest_pixels(8)
    dataset = chest_dataset(pixels, 8)
    film = film_of(with_frame(dataset, imagecodecs.jpeg8_encode(pixels, level=98)), JPEG_LOSSLESS)
    assert np.abs(film.pixels.astype(int) - pixels).max() <= 12
    assert film.info.flags == REPAIRED


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_lossy_jpeg_2000_stream_stays_bright_past_its_range(is_declared: bool) -> None:
    edge = np.zeros((64, 64), np.uint16)
    edge[:, 30:] = 1023  # the top of 10 bits in a stream of 16, which rings past it
    frame = imagecodecs.jpeg2k_encode(edge, level=50, reversible=False, codecformat="j2k")
    assert imagecodecs.jpeg2k_decode(frame).max() > 1023
    syntax = JPEG_2000[:-1] + "1" if is_declared else JPEG_2000
    film = film_of(with_frame(chest_dataset(edge, 10), frame), syntax)
    assert film.pixels[:, 32:].min() > 900
    assert film.info.flags == (() if is_declared else REPAIRED)
    lossless = film_of(with_frame(chest_dataset(PIXELS, 12), FRAMES[JPEG_2000]), syntax)
    assert lossless.info.flags == ()


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize("zeros", [1, 2, 5])
def test_zeros_before_the_end_marker(syntax: str, zeros: int) -> None:
    film = framed(FRAMES[syntax][:-2] + bytes(zeros) + END, syntax)
    np.testing.assert_array_equal(film.pixels, PIXELS)


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_missing_end_marker(syntax: str) -> None:
    for frame in (FRAMES[syntax][:-2], FRAMES[syntax][:-2] + b"\0\0", FRAMES[syntax][:-1]):
        film = framed(frame, syntax)
        np.testing.assert_array_equal(film.pixels, PIXELS)
        assert film.info.flags == REPAIRED


def test_a_missing_end_marker_of_baseline() -> None:
    pixels = chest_pixels(8)
    frame = imagecodecs.jpeg8_encode(pixels, level=98)
    whole = film_of(with_frame(chest_dataset(pixels, 8), frame), JPEG_BASELINE)
    film = film_of(with_frame(chest_dataset(pixels, 8), frame[:-2]), JPEG_BASELINE)
    np.testing.assert_array_equal(film.pixels, whole.pixels)
    assert film.info.flags == REPAIRED and whole.info.flags == ()


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 1}], ids=str)
def test_a_missing_end_marker_where_more_may_be_missing(options: dict[str, Any]) -> None:
    pixels = chest_pixels(8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=98, **options)
    frame = buffer.getvalue()
    film_of(with_frame(chest_dataset(pixels, 8), frame), JPEG_BASELINE)
    marks = [i for i in range(len(frame) - 2) if frame[i] == 0xFF and frame[i + 1] not in (0, 0xFF)]
    for cut in (len(frame) - 2, *marks[-3:]):
        with pytest.raises(UnreadableImageError):
            film_of(with_frame(chest_dataset(pixels, 8), frame[:cut]), JPEG_BASELINE)


@pytest.mark.parametrize("syntax", [*ENCODERS, JPEG_BASELINE])
def test_a_stream_cut_within_its_pixels_is_refused(syntax: str) -> None:
    bits = 8 if syntax == JPEG_BASELINE else 12
    pixels = chest_pixels(bits)
    frame = FRAMES.get(syntax) or imagecodecs.jpeg8_encode(pixels, level=98)
    for cut in (*range(5, 40), *range(40, len(frame), 37)):
        with pytest.raises(InputError):
            film_of(with_frame(chest_dataset(pixels, bits), frame[:-cut]), syntax)


@pytest.mark.parametrize("syntax", ENCODERS)
def test_bytes_after_the_end_marker(syntax: str) -> None:
    for rest in (b"\0" * 100, b"\xff" * 100, b"maker's note" * 9):
        film = framed(FRAMES[syntax] + rest, syntax)
        np.testing.assert_array_equal(film.pixels, PIXELS)


def test_boxes_around_a_jpeg_2000_codestream() -> None:
    frame = imagecodecs.jpeg2k_encode(PIXELS, reversible=True, codecformat="jp2")
    start = frame.index(b"jp2c") - 4
    boxes = (
        frame,
        frame[:start] + b"\0\0\0\0" + frame[start + 4 :],  # reaches to the end
        frame[:start]
        + b"\0\0\0\1jp2c"
        + (len(frame) - start + 8).to_bytes(8, "big")
        + frame[start + 8 :],
        frame + b"\0\0\0\x0cxml <a/>",
    )
    for boxed in boxes:
        film = framed(boxed, JPEG_2000)
        np.testing.assert_array_equal(film.pixels, PIXELS)
        assert film.info.flags == REPAIRED
    for broken in (frame[:start], frame[: start + 6], b"\0\0\0\x0cjP  ", frame[:12] + bytes(80)):
        with pytest.raises(UnreadableImageError):
            framed(broken, JPEG_2000)


HIGH, LOW = packed(PIXELS >> 8), packed(PIXELS & 255)


@pytest.mark.parametrize(
    "frame",
    [
        rle_frame(HIGH + b"\0", LOW + b"\0"),
        rle_frame(HIGH, LOW) + b"\0",
        rle_frame(HIGH + b"\0\5", LOW + b"\0\5"),
        rle_frame(HIGH + b"\xfe\5", LOW + b"\xfe\5"),
        rle_frame(HIGH, LOW + b"\0\7"),
    ],
    ids=["padded segments", "padded frame", "a byte more", "a run more", "a byte more at the end"],
)
def test_rle_that_is_too_long(frame: bytes) -> None:
    np.testing.assert_array_equal(framed(frame, RLE).pixels, PIXELS)


def test_rle_segments_of_odd_length_are_flagged() -> None:
    high = HIGH if len(HIGH) % 2 else HIGH + b"\x80"  # 128 is no operation
    film = framed(rle_frame(high, LOW), RLE)
    np.testing.assert_array_equal(film.pixels, PIXELS)
    assert film.info.flags == REPAIRED
    even = [plane + bytes(len(plane) % 2) for plane in (HIGH, LOW)]
    assert framed(rle_frame(*even), RLE).info.flags == ()


@pytest.mark.parametrize("syntax", [*ENCODERS, RLE])
def test_fragments_without_an_offset_table(syntax: str) -> None:
    frame = FRAMES.get(syntax) or rle_frame(HIGH, LOW)
    data = chest_file(with_frame(chest_dataset(PIXELS, 12), frame), syntax)
    start = data.index(b"\xe0\x7f\x10\x00OB") + 12
    table = 8 + int.from_bytes(data[start + 4 : start + 8], "little")
    film = decode_radiograph(data[:start] + data[start + table :])
    np.testing.assert_array_equal(film.pixels, PIXELS)


def test_rle_that_is_too_short_is_refused() -> None:
    for frame in (
        rle_frame(HIGH, LOW[:-3]),
        rle_frame(HIGH, LOW)[:-40],
        rle_frame(HIGH[:-9], LOW),
        rle_frame(HIGH),
        rle_frame(HIGH, LOW, LOW),
        rle_frame(HIGH, LOW)[:50],
    ):
        with pytest.raises(UnreadableImageError):
            framed(frame, RLE)


def test_native_pixels_under_an_encapsulated_syntax() -> None:
    data = chest_file(chest_dataset(PIXELS, 12))
    film = decode_radiograph(data.replace(f"{EXPLICIT}\0".encode(), f"{RLE}\0".encode(), 1))
    np.testing.assert_array_equal(film.pixels, PIXELS)
    assert film.info.flags == REPAIRED


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN])
def test_8_bits_of_odd_size_and_wrong_padding(syntax: str) -> None:
    pixels = chest_pixels(8, 15, 13)
    plain = pixels.tobytes()
    for data, flags in (
        (plain + b"\0", ()),
        (plain + b"\0\0\0", REPAIRED),
        (plain + bytes(50), REPAIRED),
    ):
        dataset = chest_dataset(pixels, 8)
        dataset.add_new("PixelData", "OB", data)
        film = film_of(dataset, syntax)
        np.testing.assert_array_equal(film.pixels, pixels)
        assert film.info.flags == flags
        if len(data) % 2 == 0:  # PS3.5 A.3: in words, whose bytes are swapped
            words = np.frombuffer(data, "<u2")
            dataset.add_new("PixelData", "OW", words.astype(words.dtype).tobytes())
            if syntax == BIG_ENDIAN:
                dataset["PixelData"].value = words.byteswap().tobytes()
            np.testing.assert_array_equal(film_of(dataset, syntax).pixels, pixels)
    dataset = chest_dataset(pixels, 8)
    dataset.add_new("PixelData", "OB", plain[:-1])
    with pytest.raises(UnreadableImageError, match="truncated"):
        film_of(dataset, syntax)


@pytest.mark.parametrize("shift", [1, 4])
def test_a_high_bit_above_the_stored_bits(shift: int) -> None:
    overlay = np.arange(PIXELS.size, dtype=np.uint16).reshape(PIXELS.shape) & ((1 << shift) - 1)
    for low in (0, overlay):
        shifted = (PIXELS << shift) | low
        film = film_of(chest_dataset(shifted, 12, HighBit=11 + shift))
        np.testing.assert_array_equal(film.pixels, PIXELS)
        assert film.info.flags == REPAIRED
    planes = [packed((PIXELS << shift) >> 8), packed((PIXELS << shift) & 255)]
    film = framed(rle_frame(*planes), RLE, HighBit=11 + shift)
    np.testing.assert_array_equal(film.pixels, PIXELS)


@pytest.mark.parametrize("high_bit", [15, 13, 7, 0])
def test_a_high_bit_that_lies(high_bit: int) -> None:
    film = film_of(chest_dataset(PIXELS, 12, HighBit=high_bit))
    np.testing.assert_array_equal(film.pixels, PIXELS)
    assert film.info.flags == REPAIRED
    film = framed(FRAMES[JPEG_LS], JPEG_LS, HighBit=high_bit)
    np.testing.assert_array_equal(film.pixels, PIXELS)


def color_dataset(channels: np.ndarray, **values: Any) -> Dataset:
    values = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", **values}
    return chest_dataset(
        channels, 8, WindowCenter=None, WindowWidth=None, PlanarConfiguration=0, **values
    )


GRAY = chest_pixels(8)
CHANNELS = np.repeat(GRAY[..., None], 3, axis=2)


@pytest.mark.parametrize("kind", ["native", "planar", "rle", "jpeg", "jpeg-ls", "jpeg2000", "ybr"])
def test_color_whose_channels_are_equal(kind: str) -> None:
    dataset, syntax, tolerance = color_dataset(CHANNELS), EXPLICIT, 0
    if kind == "planar":
        dataset.PlanarConfiguration = 1
        dataset.PixelData = np.moveaxis(CHANNELS, -1, 0).tobytes()
    elif kind == "rle":
        dataset, syntax = with_frame(dataset, rle_frame(*[packed(GRAY)] * 3)), RLE
    elif kind == "jpeg":
        frame = imagecodecs.jpeg8_encode(CHANNELS, level=98)
        dataset.PhotometricInterpretation = "YBR_FULL_422"
        dataset, syntax, tolerance = with_frame(dataset, frame), JPEG_BASELINE, 12
    elif kind == "jpeg-ls":
        dataset, syntax = with_frame(dataset, imagecodecs.jpegls_encode(CHANNELS)), JPEG_LS
    elif kind == "jpeg2000":
        frame = imagecodecs.jpeg2k_encode(CHANNELS, reversible=True, codecformat="j2k")
        dataset, syntax = with_frame(dataset, frame), JPEG_2000
    elif kind == "ybr":
        dataset.PhotometricInterpretation = "YBR_FULL"
        dataset.PixelData = np.stack([GRAY, GRAY * 0 + 128, GRAY * 0 + 128], axis=-1).tobytes()
    film = film_of(dataset, syntax)
    assert np.abs(film.pixels.astype(int) - GRAY).max() <= tolerance
    np.testing.assert_allclose(film.display_table, np.arange(256) / 255, atol=1e-6)
    assert film.info.flags == ()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_color_is_refused(channel: int) -> None:
    tinted = CHANNELS.copy()
    tinted[9, 9, channel] ^= 1
    with pytest.raises(UnsupportedObjectError, match="in color"):
        film_of(color_dataset(tinted))
    tinted[5:25, 5:25, channel] ^= 64
    frame = imagecodecs.jpeg8_encode(tinted, level=98)
    with pytest.raises(UnsupportedObjectError, match="in color"):
        film_of(with_frame(color_dataset(tinted), frame), JPEG_BASELINE)

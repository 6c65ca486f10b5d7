"""Data sets with wrong delimiters, and files without file meta information."""

from __future__ import annotations

import logging
import random

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from support.chest_files import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    bare_dataset,
    chest_dataset,
    chest_file,
    chest_pixels,
    lut_sequence,
    rle_frame,
    with_frame,
)

from cxr_reason.errors import InputError, UnreadableImageError
from cxr_reason.film.elements import read_elements
from cxr_reason.film.radiograph import decode_radiograph

JPEG_LS = "1.2.840.10008.1.2.4.80"
REPAIRED = "encoding_repaired"
PIXELS = chest_pixels(12)
ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def with_sequences(*, item_has_length: bool = False) -> Dataset:
    """A film with an inverting VOI LUT, and with sequences that are not read."""
    other = Dataset()
    other.ReferencedSOPClassUID = other.ReferencedSOPInstanceUID = "1.2.3"
    dataset = chest_dataset(
        PIXELS,
        12,
        ReferencedImageSequence=Sequence([other]),
        VOILUTSequence=lut_sequence(np.arange(4096)[::-1], 4096),
    )
    for keyword in ("ReferencedImageSequence", "VOILUTSequence"):
        dataset[keyword].is_undefined_length = True
        dataset[keyword].value[0].is_undefined_length_sequence_item = not item_has_length
    return dataset


def check(data: bytes) -> tuple[str, ...]:
    film = decode_radiograph(data)
    np.testing.assert_array_equal(film.pixels, PIXELS)
    shown = film.display_table[film.pixels]
    np.testing.assert_allclose(shown, 1 - PIXELS / 4095, atol=1e-6)
    return film.info.flags


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("item_has_length", [True, False])
def test_sequences_without_their_delimiters(syntax: str, item_has_length: bool) -> None:
    data = chest_file(with_sequences(item_has_length=item_has_length), syntax)
    assert check(data) == ()
    assert REPAIRED in check(data.replace(SEQUENCE_END, b""))
    first, rest = data.split(SEQUENCE_END, 1)
    assert REPAIRED in check(first + rest)
    if not item_has_length:
        # The end of a sequence ends its item too, and so does Pixel Data.
        check(data.replace(ITEM_END, b""))
        last = data.rindex(ITEM_END)
        assert REPAIRED in check(data[:last] + data[last + 16 :])


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x10\0\0\0"])
def test_delimiters_with_a_length(length: bytes) -> None:
    data = chest_file(with_sequences())
    assert check(data.replace(SEQUENCE_END, SEQUENCE_END[:4] + length)) == (REPAIRED,)
    assert check(data.replace(ITEM_END, ITEM_END[:4] + length)) == (REPAIRED,)
    assert check(data) == ()


@pytest.mark.parametrize("delimiter", [ITEM_END, SEQUENCE_END, SEQUENCE_END[:4] + b"\xff" * 4])
def test_delimiters_where_nothing_is_open(delimiter: bytes) -> None:
    data = chest_file(with_sequences())
    position = data.index(b"\x28\x00\x02\x00US")
    check(data[:position] + delimiter + data[position:])


@pytest.mark.parametrize("end", [b"", SEQUENCE_END[:4], SEQUENCE_END[:4] + b"\xff" * 4])
def test_fragments_without_their_delimiter(end: bytes) -> None:
    frame = imagecodecs.jpegls_encode(PIXELS)
    data = chest_file(with_frame(chest_dataset(PIXELS, 12), frame), JPEG_LS)
    assert data.endswith(SEQUENCE_END)
    film = decode_radiograph(data.removesuffix(SEQUENCE_END) + end)
    np.testing.assert_array_equal(film.pixels, PIXELS)
    assert film.info.flags == (REPAIRED,)
    with pytest.raises(UnreadableImageError):
        decode_radiograph(data[:-40])


def test_pixel_data_written_as_un() -> None:
    native = chest_file(chest_dataset(PIXELS, 12))
    film = decode_radiograph(native.replace(b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00UN"))
    np.testing.assert_array_equal(film.pixels, PIXELS)
    frame = imagecodecs.jpegls_encode(PIXELS)
    data = chest_file(with_frame(chest_dataset(PIXELS, 12), frame), JPEG_LS)
    film = decode_radiograph(data.replace(b"\xe0\x7f\x10\x00OB", b"\xe0\x7f\x10\x00UN"))
    np.testing.assert_array_equal(film.pixels, PIXELS)
    assert film.info.flags == (REPAIRED,)


@pytest.mark.parametrize("extra", [1, 2, 40])
def test_a_length_that_counts_padding_that_is_not_there(extra: int) -> None:
    data = chest_file(chest_dataset(PIXELS, 12))
    position = data.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
    length = (PIXELS.nbytes + extra).to_bytes(4, "little")
    film = decode_radiograph(data[:position] + length + data[position + 4 :])
    np.testing.assert_array_equal(film.pixels, PIXELS)
    assert film.info.flags == (REPAIRED,)
    with pytest.raises(UnreadableImageError, match="truncated"):
        decode_radiograph(data[:position] + length + data[position + 4 : -2])


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_no_file_meta_information(syntax: str) -> None:
    dataset = chest_dataset(PIXELS, 12)
    if syntax == BIG_ENDIAN:
        dataset.PixelData = PIXELS.byteswap().tobytes()
    bare = bare_dataset(dataset, syntax)
    for start in (b"", b"DICM", bytes(128) + b"DICM"):
        film = decode_radiograph(start + bare)
        np.testing.assert_array_equal(film.pixels, PIXELS)
        assert film.info.flags == (REPAIRED,)


def test_no_file_meta_information_before_a_compressed_film() -> None:
    dataset = with_frame(chest_dataset(PIXELS, 12), imagecodecs.jpegls_encode(PIXELS))
    np.testing.assert_array_equal(decode_radiograph(bare_dataset(dataset)).pixels, PIXELS)
    planes = (PIXELS >> 8, PIXELS & 255)
    segments = [imagecodecs.packbits_encode(p.astype(np.uint8).tobytes()) for p in planes]
    film = decode_radiograph(bare_dataset(with_frame(dataset, rle_frame(*segments))))
    np.testing.assert_array_equal(film.pixels, PIXELS)
    assert film.info.flags == (REPAIRED,)


def test_implicit_elements_under_an_explicit_syntax() -> None:
    explicit, bare = chest_file(with_sequences()), bare_dataset(with_sequences(), IMPLICIT)
    start = explicit.index(b"\x08\x00\x16\x00UI")
    check(explicit[:start] + bare)


@pytest.mark.parametrize("text", ["2048,0", "2048,0\\1000,5", "2048\\", " 2048 \\ 1"])
def test_window_values_as_writers_write_them(text: str) -> None:
    data = chest_file(chest_dataset(PIXELS, 12))
    value = text.encode() + b" " * (len(text) % 2)
    start = data.index(b"\x28\x00\x50\x10DS")
    element = data[start : start + 6] + len(value).to_bytes(2, "little") + value
    film = decode_radiograph(data[:start] + element + data[start + 12 :])
    shown = film.display_table[film.pixels]
    np.testing.assert_allclose(shown, PIXELS / 4095, atol=1e-6)
    assert film.info.flags == ((REPAIRED,) if "," in text else ())


@pytest.mark.parametrize("filler", [bytes(8), b"\xfe\xff\x00\xe0\0\0\0\0"])
def test_nothing_but_elements_is_refused(filler: bytes) -> None:
    data = b"\x08\x00\x40\x11\xff\xff\xff\xff" + 150_000 * filler
    with pytest.raises(ValueError, match="too many elements"):
        read_elements(data, is_implicit=True, is_little_endian=True, wanted=(), sequences=())


def test_mutated_structures_raise_input_errors(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    rng = random.Random(0)
    files = [chest_file(with_sequences(), syntax) for syntax in (EXPLICIT, IMPLICIT)]
    files.append(bare_dataset(with_sequences()))
    frame = imagecodecs.jpegls_encode(PIXELS)
    files.append(chest_file(with_frame(with_sequences(), frame), JPEG_LS))
    marks = [ITEM_END, SEQUENCE_END, b"\xfe\xff\x00\xe0", b"\xff\xff\xff\xff", b"SQ", b"UN", b"OW"]
    for _ in range(1500):
        data = rng.choice(files)
        for _ in range(rng.choice([1, 2, 5])):
            at = rng.randrange(min(len(data), 1200))
            mark = rng.choice(marks)
            cut = rng.choice([0, len(mark), rng.randrange(30)])
            data = data[:at] + mark + data[at + cut :]
        try:
            decode_radiograph(data)
        except InputError as error:
            assert "CANARY" not in str(error) and "CANARY" not in repr(error.__cause__)
    assert "CANARY" not in caplog.text

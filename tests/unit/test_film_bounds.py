"""Work that a small file can ask for is bounded: the bound is tested, not the time."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image
from support.chest_files import chest_pixels

from cxr_reason.benchmarks.film_seeds import (
    PIXEL_DATA,
    Element,
    dicom_seeds,
    element,
    fragments,
    raster_seeds,
    write,
)
from cxr_reason.errors import InputError, TooLargeError, UnreadableImageError
from cxr_reason.film import header
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.film.streams import check_scans, jpeg_frame_size, strip_boxes

SEGMENT = b"\xff\xe0\0\x02"
JPEG = raster_seeds()["jpeg_gray"]
PNG = raster_seeds()["png_gray"]


def with_element(seed: str, changed: Element) -> bytes:
    film = dicom_seeds()[seed]
    kept = [one for one in film.elements if one.tag != changed.tag]
    elements = sorted((*kept, changed), key=lambda one: one.tag)
    return write(replace(film, elements=tuple(elements)))


def progressive() -> bytes:
    buffer = BytesIO()
    Image.fromarray(chest_pixels(8)).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


def with_scans(data: bytes, count: int) -> bytes:
    """Repeat the last scan."""
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * count + data[-2:]


def test_many_numbers_are_none() -> None:
    data = with_element("implicit", element("PixelSpacing", b"1\\" * 3000))
    assert decode_radiograph(data).info.pixel_spacing_mm is None
    data = with_element("implicit", element("WindowCenter", b"2048" + b"\\1" * 3000))
    decode_radiograph(data)


def test_only_the_start_of_texts_and_words_is_looked_at() -> None:
    data = with_element("implicit", element("ViewPosition", b"PA" + b"\\" * 100_000))
    assert decode_radiograph(data).info.view == "PA"
    data = with_element("implicit", element("Rows", struct.pack("<H", 36) * 100_000))
    assert decode_radiograph(data).info.height_px == 36
    found = header.read_header(data, 0)
    assert len(found.words("Rows")) == 512


@pytest.mark.parametrize("keyword", ["AnatomicRegionSequence", "ViewCodeSequence"])
def test_few_items_of_a_sequence_are_looked_at(keyword: str) -> None:
    item = (element("CodeMeaning", "胸部".encode() * 20),)
    data = with_element("explicit", element(keyword, (item,) * 5000))
    assert len(header.read_header(data, 0).items(keyword)) == 32


@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize("seed", ["implicit", "big_endian"])
def test_names_of_character_sets_cost(is_nested: bool, seed: str) -> None:
    charset = element("SpecificCharacterSet", b"\\X" * 60_000, "UT")
    if is_nested:
        one = element("ReferencedImageSequence", ((charset,),))
        charset = replace(one, length=0xFFFFFFFF)
    with pytest.raises(TooLargeError, match="elements and items"):
        decode_radiograph(with_element(seed, charset))


def test_a_progressive_film_is_read_and_hundreds_of_scans_are_not() -> None:
    data = progressive()
    assert decode_radiograph(with_scans(data, 5)).info.source == "jpeg"
    with pytest.raises(TooLargeError, match="scans"):
        decode_radiograph(with_scans(data, 200))


def test_hundreds_of_scans_in_dicom() -> None:
    film = dicom_seeds()["4.50"]
    value = next(one.value for one in film.elements if one.tag == PIXEL_DATA)
    assert isinstance(value, bytes)
    frame = value[16:].rstrip(b"\0")
    changed = Element(PIXEL_DATA, "OB", fragments(with_scans(frame, 200)))
    with pytest.raises(TooLargeError, match="scans"):
        decode_radiograph(with_element("4.50", changed))


@pytest.mark.parametrize(
    "filler", [SEGMENT, b"\xff", b"\xff\x01", b"\xff\0", b"\xff\xe0\0\0", b"x"]
)
def test_segments_before_the_scan(filler: bytes) -> None:
    scan = JPEG.index(b"\xff\xda")
    for at in (2, scan):
        with pytest.raises(InputError):
            decode_radiograph(JPEG[:at] + filler * 70_000 + JPEG[at:])
        check_scans(JPEG[:at] + filler * 20_000 + JPEG[at:])
    with pytest.raises(TooLargeError, match="segments"):
        check_scans(JPEG[:scan] + filler * 70_000 + JPEG[scan:])


@pytest.mark.parametrize(
    "data", [b"\xff\xd8", b"\xff\xd8\xff", JPEG, JPEG[:-400], b"\xff\xd8" + b"x" * 9]
)
def test_what_is_short_or_usual_passes(data: bytes) -> None:
    check_scans(data)


def test_headers_of_nothing_but_markers() -> None:
    with pytest.raises(UnreadableImageError):
        jpeg_frame_size(b"\xff\xd8" + SEGMENT * 70_000 + JPEG[2:])
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x08free" * 70_000
    assert strip_boxes(boxes + b"\0\0\0\x0bjp2cabc") == boxes + b"\0\0\0\x0bjp2cabc"


def test_chunks_of_png() -> None:
    chunk = struct.pack(">I", 2) + b"tEXta\0" + struct.pack(">I", zlib.crc32(b"tEXta\0"))
    empty = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    decode_radiograph(PNG[:33] + chunk * 900 + PNG[33:])
    for filler in (chunk * 1_100, empty * 100_001):
        with pytest.raises(TooLargeError, match="chunks"):
            decode_radiograph(PNG[:33] + filler + PNG[33:])

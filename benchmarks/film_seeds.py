"""Small valid films, kept as lists of elements so that any part of them can be made wrong.

`write` follows the structure and not the standard: lengths, value representations and order are
written as they are given. Every text element that need not be true holds `CANARY`, so that any
header text that comes out again is recognised.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.datadict import dictionary_VR, tag_for_keyword

from cxr_reason.film.syntaxes import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT

CANARY = b"CANARY^NAME"
UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_FORMS = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
_ROWS, _COLUMNS = 36, 30

Items = tuple[tuple["Element", ...], ...]


@dataclass(frozen=True)
class Element:
    """One element as it is written.

    Attributes:
        tag: Group and element.
        vr: Two letters; written as they are.
        value: Its bytes, or the items of a sequence.
        length: What is written as length; None for the true one, of undefined length where the
            value is fragments.
        is_delimited: Whether a value of undefined length gets its delimiter.
    """

    tag: int
    vr: str
    value: bytes | Items
    length: int | None = None
    is_delimited: bool = True


@dataclass(frozen=True)
class SeedFilm:
    """A DICOM film: how it says it is encoded, how it is, and its elements."""

    declared: bytes
    encoding: str
    elements: tuple[Element, ...]
    has_meta: bool = True
    is_deflated: bool = False


def element(keyword: str, value: bytes | Items, vr: str | None = None) -> Element:
    """Return an element by its keyword, with a valid VR."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return Element(tag, vr or dictionary_VR(tag)[:2], value)


def write(film: SeedFilm) -> bytes:
    """Return a file with preamble and, as the film says, file meta information."""
    body = b"".join(_write_element(one, film.encoding) for one in film.elements)
    if film.is_deflated:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = deflater.compress(body) + deflater.flush()
    if not film.has_meta:
        return body
    meta = _write_element(Element(0x00020010, "UI", film.declared), EXPLICIT)
    length = _write_element(Element(0x00020000, "UL", struct.pack("<I", len(meta))), EXPLICIT)
    return bytes(128) + b"DICM" + length + meta + body


def _write_element(one: Element, encoding: str) -> bytes:
    order = ">" if encoding == BIG_ENDIAN else "<"
    if isinstance(one.value, tuple):
        value = b"".join(_write_item(item, one, encoding) for item in one.value)
    else:
        value = one.value + (b"\0" if one.vr in ("UI", "OB", "UN") else b" ") * (len(one.value) % 2)
    is_fragments = one.tag == PIXEL_DATA and value.startswith(b"\xfe\xff\x00\xe0")
    length = one.length if one.length is not None else UNDEFINED if is_fragments else len(value)
    if length == UNDEFINED and one.is_delimited:
        value += _tag_and_length(_SEQUENCE_END, 0, order)
    head = struct.pack(order + "HH", one.tag >> 16, one.tag & 0xFFFF)
    if encoding == IMPLICIT:
        head += struct.pack(order + "I", length & UNDEFINED)
    elif one.vr in _LONG_FORMS:
        head += one.vr.encode("latin_1") + bytes(2) + struct.pack(order + "I", length & UNDEFINED)
    else:
        head += one.vr.encode("latin_1")[:2] + struct.pack(order + "H", length & 0xFFFF)
    return head + value


def _write_item(item: tuple[Element, ...], parent: Element, encoding: str) -> bytes:
    order = ">" if encoding == BIG_ENDIAN else "<"
    value = b"".join(_write_element(one, encoding) for one in item)
    if parent.length != UNDEFINED:
        return _tag_and_length(_ITEM, len(value), order) + value
    end = _tag_and_length(_ITEM_END, 0, order) if parent.is_delimited else b""
    return _tag_and_length(_ITEM, UNDEFINED, order) + value + end


def _tag_and_length(tag: int, length: int, order: str) -> bytes:
    return struct.pack(order + "HHI", tag >> 16, tag & 0xFFFF, length)


def fragments(*frames: bytes) -> bytes:
    """Return encapsulated pixel data (PS3.5 A.4) with an empty offset table, no delimiter."""
    padded = [b"", *(frame + bytes(len(frame) % 2) for frame in frames)]
    return b"".join(_tag_and_length(_ITEM, len(one), "<") + one for one in padded)


def _pixels(bits: int) -> NDArray[np.uint16]:
    slope = np.add.outer(np.linspace(0, 0.7, _ROWS), np.linspace(0, 0.25, _COLUMNS))
    noise = np.random.Generator(np.random.Philox(0)).random((_ROWS, _COLUMNS)) / 20
    return np.rint((slope + noise) * ((1 << bits) - 1)).astype(np.uint16)


def _rle(pixels: NDArray[np.uint16]) -> bytes:
    planes = [imagecodecs.packbits_encode((pixels >> shift).astype(np.uint8)) for shift in (8, 0)]
    planes = [plane + bytes(len(plane) % 2) for plane in planes]
    offsets = [2, 64, 64 + len(planes[0]), *[0] * 13]
    return struct.pack("<16I", *offsets) + b"".join(planes)


def _film(declared: str, encoding: str, bits: int, pixel_data: bytes) -> SeedFilm:
    order = ">" if encoding == BIG_ENDIAN else "<"

    def words(*values: int) -> bytes:
        return struct.pack(f"{order}{len(values)}H", *values)

    code = (
        element("CodeValue", b"51185008"),
        element("CodingSchemeDesignator", b"SCT"),
        element("CodeMeaning", CANARY),
    )
    lut = (
        element("LUTDescriptor", words(256, 0, 12), "US"),
        element("LUTExplanation", CANARY),
        element("LUTData", words(*range(0, 4096, 16)), "OW"),
    )
    reference = (
        element("ReferencedSOPClassUID", b"1.2.3"),
        element("ReferencedSOPInstanceUID", CANARY),
    )
    elements = [
        element("SpecificCharacterSet", b"ISO_IR 192"),
        element("SOPClassUID", b"1.2.840.10008.5.1.4.1.1.1"),
        element("SOPInstanceUID", CANARY),
        element("StudyDate", CANARY),
        element("Modality", b"CR"),
        element("InstitutionName", CANARY),
        element("StudyDescription", CANARY),
        element("SeriesDescription", CANARY),
        replace(element("ReferencedImageSequence", (reference,)), length=UNDEFINED),
        element("AnatomicRegionSequence", (code,)),
        element("PatientName", CANARY),
        element("PatientID", CANARY),
        element("BodyPartExamined", b"CHEST"),
        element("ProtocolName", CANARY),
        element("ViewPosition", b"PA"),
        element("PatientOrientation", b"L\\F"),
        element("ImageLaterality", b"U"),
        element("SamplesPerPixel", words(1)),
        element("PhotometricInterpretation", b"MONOCHROME2"),
        element("Rows", words(_ROWS)),
        element("Columns", words(_COLUMNS)),
        element("PixelSpacing", b"0.2\\0.2"),
        element("BitsAllocated", words(8 if bits == 8 else 16)),
        element("BitsStored", words(bits)),
        element("HighBit", words(bits - 1)),
        element("PixelRepresentation", words(0)),
        element("WindowCenter", b"2048"),
        element("WindowWidth", b"4096"),
        element("RescaleIntercept", b"0"),
        element("RescaleSlope", b"1"),
        element("RequestedProcedureDescription", CANARY),
        Element(0x00330010, "LO", CANARY),
        Element(0x00331001, "UN", CANARY),
        Element(PIXEL_DATA, "OB" if pixel_data.startswith(b"\xfe\xff") else "OW", pixel_data),
    ]
    if bits == 12 and encoding != BIG_ENDIAN:
        elements.append(element("VOILUTSequence", (lut,)))
    if bits == 8:
        elements.append(replace(element("VOILUTSequence", (lut,)), length=UNDEFINED))
    return SeedFilm(declared.encode(), encoding, tuple(sorted(elements, key=lambda one: one.tag)))


@cache
def dicom_seeds() -> dict[str, SeedFilm]:
    """Return films by name: every encoding, and one of each kind of stream."""
    deep, flat = _pixels(12), _pixels(8).astype(np.uint8)
    jp2: Callable[..., bytes | bytearray] = imagecodecs.jpeg2k_encode
    streams: dict[str, tuple[int, bytes | bytearray]]
    streams = {
        "1.2.840.10008.1.2.5": (12, _rle(deep)),
        "1.2.840.10008.1.2.4.50": (8, imagecodecs.jpeg8_encode(flat, level=90)),
        "1.2.840.10008.1.2.4.51": (12, imagecodecs.jpeg8_encode(deep, bitspersample=12)),
        "1.2.840.10008.1.2.4.70": (12, imagecodecs.jpeg8_encode(deep, lossless=True)),
        "1.2.840.10008.1.2.4.80": (12, imagecodecs.jpegls_encode(deep)),
        "1.2.840.10008.1.2.4.90": (12, jp2(deep, codecformat="j2k", reversible=True, level=0)),
        "1.2.840.10008.1.2.4.91": (8, jp2(flat, codecformat="jp2", level=40)),
    }
    return {
        "explicit": _film(EXPLICIT, EXPLICIT, 12, deep.tobytes()),
        "implicit": _film(IMPLICIT, IMPLICIT, 12, deep.tobytes()),
        "big_endian": _film(BIG_ENDIAN, BIG_ENDIAN, 12, deep.astype(">u2").tobytes()),
        "deflated": replace(_film(DEFLATED, EXPLICIT, 12, deep.tobytes()), is_deflated=True),
        "packed": _film(EXPLICIT, EXPLICIT, 8, flat.tobytes()),
        **{
            syntax.rpartition(".1.2.")[2]: _film(syntax, EXPLICIT, bits, fragments(bytes(frame)))
            for syntax, (bits, frame) in streams.items()
        },
    }


@cache
def raster_seeds() -> dict[str, bytes]:
    """Return PNG and JPEG files, and a URL of one, with text and orientation in them."""
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Author", CANARY.decode())
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, CANARY.decode()  # Orientation, Artist
    gray = _pixels(8).astype(np.uint8)
    pictures = {
        "gray": Image.fromarray(gray),
        "deep": Image.fromarray(_pixels(16)),
        "palette": Image.fromarray(gray).convert("P"),
        "alpha": Image.fromarray(gray).convert("LA"),
        "color": Image.fromarray(gray).convert("RGB"),
    }
    files = {}
    for name, picture in pictures.items():
        buffer = BytesIO()
        picture.save(buffer, "PNG", pnginfo=text, exif=exif)
        files[f"png_{name}"] = buffer.getvalue()
    for name, options in {"gray": {}, "color": {"progressive": True}}.items():
        buffer = BytesIO()
        pictures[name].save(buffer, "JPEG", exif=exif, comment=CANARY, **options)
        files[f"jpeg_{name}"] = buffer.getvalue()
    files["data_url"] = b"data:image/png;base64," + base64.b64encode(files["png_gray"])
    return files

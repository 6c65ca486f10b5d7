"""Films with something wrong, by structure: strategies of hypothesis over `film_seeds`.

DICOM films get one to four changes of elements, lengths, representations, order, nesting and
encoding, and sometimes of the bytes that were written; PNG and JPEG files changes of their chunks
and bytes. Values are the awkward ones that real files and attackers have.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword

from cxr_reason.benchmarks.film_seeds import (
    CANARY,
    PIXEL_DATA,
    UNDEFINED,
    Element,
    SeedFilm,
    dicom_seeds,
    element,
    fragments,
    raster_seeds,
    write,
)
from cxr_reason.film.header import IMAGE_ATTRIBUTES, READ
from cxr_reason.film.syntaxes import BIG_ENDIAN, EXPLICIT, IMPLICIT, SYNTAXES

_NUMBERS = b"0 -0 1 -1 1e999 -1e999 1e308 1e-308 nan inf 1,5 1.5 .5 5. 0x10 1_0 123456789012345678"
_TERMS = (
    b"CHEST TORAX HAND UNKNOWN PA AP LL LATERAL YES FOR_PROCESSING IDENTITY INVERSE LINEAR SIGMOID "
    b"LINEAR_EXACT MONOCHROME1 MONOCHROME2 RGB YBR_FULL_422 CMYK R\\F L\\H F\\L A\\F F RF CT OT SC "
    b"1.2.840.10008.5.1.4.1.1.1.1 1.2.840.10008.5.1.4.1.1.1.1.1 1.2.840.10008.5.1.4.1.1.7"
)
_TEXTS = (
    *(
        b"",
        b" ",
        b"\0",
        b"\\",
        b"\\" * 99,
        b"\xff\xfe",
        b"\x1b$B",
        b"\x1b$B0!\x1b(B",
        b"\x1b$)C\xb1",
    ),
    *(b"%s%n{0}", b"A" * 300, b"9" * 400, b"\x80" * 64, b"\xef\xbb\xbfCHEST", b"PALETTE COLOR"),
    *("胸部".encode("shift_jis"), "TÓRAX".encode("latin_1"), "грудь".encode("cp1251")),
    *(CANARY, CANARY + b"\\" + CANARY, b"CHEST " + CANARY, b"CHEST\\" + CANARY, CANARY * 20),
    *(b"\x1f" + CANARY + b"\x1f", CANARY + b"\n", b"\t" + CANARY, CANARY + b"\0" + CANARY),
    *(b"0.2\\0.1", b"0\\0", b"1e-9\\1e9", b"-1\\1", b"2048\\100", b"1\\2\\3\\4\\"),
)
_CHARSETS = (
    *(b"", b"ISO_IR 6", b"ISO_IR 13", b"ISO_IR 100", b"ISO_IR 192", b"ISO_IR 999", b"GB18030"),
    *(b"\\ISO 2022 IR 87", b"ISO 2022 IR 13\\ISO 2022 IR 159", b"\\ISO 2022 IR 149", b"UTF-8"),
    *(b"ISO_IR 192\\ISO 2022 IR 87", b"ISO-IR 100", b"GBK\\GB18030", CANARY, b"\xff", b"rot13"),
)
_WORDS = (0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 36, 255, 256, 4096, 32768, 65535)
_VRS = (
    *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF"),
    *("OL", "OV", "OW", "PN", "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN"),
    *("UR", "US", "UT", "UV", "XX", "A[", "\0\0", "\xff\xff"),
)
_LENGTHS = (0, 1, 2, 7, 64, 65534, 65535, 1 << 20, 0x7FFFFFFF, 0x80000000, UNDEFINED - 1, UNDEFINED)
_OPEN = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
_PIECES = (
    *(b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\xff\xff\xff\xff"),
    *(bytes(4), bytes(8), b"SQ", b"UN", b"OW", b"\xe0\x7f\x10\x00", b"DICM", b"\xff\xd9"),
    *(
        b"\xff\xd8",
        b"\xff\xda",
        b"\xff\xc3\x00\x0b",
        b"\xff\x51",
        b"\xff\x90",
        b"\xff\xd0",
        b"\xff",
    ),
    *(_OPEN, _OPEN * 40, _OPEN * 1500, 600 * b"\xfe\xff\x00\xe0\0\0\0\0", CANARY),
)

_words = st.lists(st.sampled_from(_WORDS), max_size=4).map(
    lambda words: struct.pack(f"<{len(words)}H", *words)
)
_values = st.one_of(
    st.sampled_from((*_TEXTS, *_NUMBERS.split(), *_TERMS.replace(b"_P", b" P").split())),
    st.sampled_from(_CHARSETS),
    _words,
    _words.map(lambda words: words * 300),
    st.binary(max_size=40),
)
_keywords = st.sampled_from(READ)
_tags = st.one_of(
    _keywords.map(lambda keyword: tag_for_keyword(keyword) or 0),
    st.sampled_from((0x00080000, 0x00090010, 0x00280000, 0x0040A730, PIXEL_DATA, UNDEFINED)),
    st.integers(0, UNDEFINED),
)


@st.composite
def dicom_bytes(draw: st.DrawFn) -> bytes:
    """Draw a DICOM file with something wrong."""
    film = draw(st.sampled_from(list(dicom_seeds().values())))
    for change in draw(st.lists(st.sampled_from(_CHANGES), min_size=1, max_size=4)):
        film = change(draw, film)
    data = write(film)
    return _damage(draw, data) if draw(st.integers(0, 3)) == 0 else data


@st.composite
def raster_bytes(draw: st.DrawFn) -> bytes:
    """Draw a PNG or JPEG file with something wrong."""
    data = draw(st.sampled_from(list(raster_seeds().values())))
    if data.startswith(b"\x89PNG") and draw(st.booleans()):
        data = _change_chunk(draw, data)
        return _damage(draw, data) if draw(st.integers(0, 3)) == 0 else data
    return _damage(draw, data)


def _damage(draw: st.DrawFn, data: bytes) -> bytes:
    """Change, insert, drop or cut bytes, most often near the start, where headers are."""
    for _ in range(draw(st.integers(1, 3))):
        end = len(data) if draw(st.booleans()) else min(len(data), 700)
        at = draw(st.integers(0, end))
        piece = draw(st.one_of(st.sampled_from(_PIECES), st.binary(min_size=1, max_size=4)))
        dropped = draw(st.sampled_from((0, 1, 2, 8, len(piece), len(piece), 64)))
        data = data[:at] + piece + data[at + dropped :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 5)) == 0 else data


def _change_chunk(draw: st.DrawFn, data: bytes) -> bytes:
    """Change one chunk of a PNG file and make its checksum right."""
    chunks, position = [], 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        chunks.append((data[position + 4 : position + 8], data[position + 8 :][:length]))
        position += 12 + length
    at = draw(st.integers(0, len(chunks) - 1))
    name, value = chunks[at]
    action = draw(st.sampled_from(("value", "value", "value", "name", "remove", "double", "fill")))
    if action == "value":
        place = draw(st.integers(0, len(value)))
        piece = draw(st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(_PIECES)))
        chunks[at] = (name, value[:place] + piece + value[place + len(piece) :])
    elif action == "name":
        other = draw(st.sampled_from((b"acTL", b"tRNS", b"PLTE", b"eXIf", b"zTXt", b"iCCP")))
        chunks[at] = (other, value)
    elif action == "fill":
        chunks[at] = (name, value + bytes(draw(st.sampled_from((1, 1000, 60000)))))
    else:
        chunks[at : at + 1] = chunks[at : at + 1] * (2 if action == "double" else 0)
    return data[:8] + b"".join(
        struct.pack(">I", len(value)) + name + value + struct.pack(">I", zlib.crc32(name + value))
        for name, value in chunks
    )


_Change = Callable[[st.DrawFn, SeedFilm], SeedFilm]


def _pick(draw: st.DrawFn, film: SeedFilm) -> int:
    return draw(st.integers(0, max(len(film.elements) - 1, 0)))


def _with(film: SeedFilm, at: int, *elements: Element) -> SeedFilm:
    """Put elements in place of the one at `at`."""
    return replace(film, elements=film.elements[:at] + elements + film.elements[at + 1 :])


def _at(film: SeedFilm, at: int) -> tuple[Element, ...]:
    return film.elements[at : at + 1]


def _change_value(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    at = _pick(draw, film)
    value = draw(_values)
    return _with(film, at, *(replace(one, value=value) for one in _at(film, at)))


def _add(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    added = replace(element(draw(_keywords), draw(_values)), tag=draw(_tags))
    if draw(st.booleans()):
        added = element(draw(_keywords), draw(_values))
    elements = (*film.elements, added)
    if draw(st.integers(0, 4)):
        elements = tuple(sorted(elements, key=lambda one: one.tag))
    return replace(film, elements=elements)


def _remove(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    return _with(film, _pick(draw, film))


def _double(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    at = _pick(draw, film)
    return _with(film, at, *_at(film, at) * draw(st.sampled_from((2, 3, 200))))


def _move(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    elements = list(film.elements)
    if elements:
        elements.insert(draw(st.integers(0, len(elements))), elements.pop(_pick(draw, film)))
    return replace(film, elements=tuple(elements))


def _change_length(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    at, length = _pick(draw, film), draw(st.sampled_from(_LENGTHS))
    is_delimited = draw(st.booleans())
    changed = (replace(one, length=length, is_delimited=is_delimited) for one in _at(film, at))
    return _with(film, at, *changed)


def _change_vr(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    at, vr = _pick(draw, film), draw(st.sampled_from(_VRS))
    return _with(film, at, *(replace(one, vr=vr) for one in _at(film, at)))


def _change_tag(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    at, tag = _pick(draw, film), draw(_tags)
    return _with(film, at, *(replace(one, tag=tag) for one in _at(film, at)))


def _nest(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    """Put an element into a sequence, up to 40 deep, or many times into its items."""
    at = _pick(draw, film)
    length = draw(st.sampled_from((None, UNDEFINED)))
    is_delimited = draw(st.integers(0, 3)) > 0
    inner = _at(film, at)
    keyword = draw(
        st.sampled_from(
            ("ReferencedImageSequence", "ViewCodeSequence", "VOILUTSequence", "ModalityLUTSequence")
        )
    )
    for _ in range(draw(st.sampled_from((1, 1, 2, 17, 40)))):
        items = (inner,) * draw(st.sampled_from((1, 1, 1, 2)) if len(inner) < 3 else st.just(1))
        one = replace(element(keyword, items), length=length, is_delimited=is_delimited)
        if len(write(replace(film, elements=(one,)))) > 1 << 16:
            break
        inner = (one,)
    return _with(film, at, *inner)


def _change_charset(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    charset = element("SpecificCharacterSet", draw(st.sampled_from(_CHARSETS)))
    text = element(
        draw(st.sampled_from(("BodyPartExamined", "ViewPosition", "SeriesDescription"))),
        draw(st.sampled_from(_TEXTS)),
    )
    kept = [one for one in film.elements if one.tag not in (charset.tag, text.tag)]
    return replace(film, elements=tuple(sorted((*kept, charset, text), key=lambda one: one.tag)))


def _change_syntax(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    declared = draw(st.sampled_from((*(uid.encode() for uid in SYNTAXES), b"1.2.3", b"", CANARY)))
    film = replace(film, declared=declared, has_meta=draw(st.integers(0, 3)) > 0)
    return replace(film, is_deflated=draw(st.integers(0, 5)) == 0)


def _change_encoding(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    return replace(film, encoding=draw(st.sampled_from((EXPLICIT, IMPLICIT, BIG_ENDIAN))))


def _change_stream(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    """Damage the pixel data, or split it into other fragments."""
    at = next((i for i, one in enumerate(film.elements) if one.tag == PIXEL_DATA), -1)
    if at < 0 or not isinstance(film.elements[at].value, bytes):
        return film
    value = bytes(film.elements[at].value)  # type: ignore[arg-type]
    if draw(st.booleans()):
        value = _damage(draw, value)
    else:
        frame = value[16:] if value.startswith(b"\xfe\xff\x00\xe0") else value
        cut = draw(st.integers(0, len(frame)))
        value = fragments(*(frame[:cut], frame[cut:])[: draw(st.sampled_from((1, 2)))])
    return _with(film, at, replace(film.elements[at], value=value))


def _change_image(draw: st.DrawFn, film: SeedFilm) -> SeedFilm:
    """Change one of the attributes that lay out the frame."""
    keyword = draw(
        st.sampled_from(
            (
                *IMAGE_ATTRIBUTES,
                *("PlanarConfiguration", "NumberOfFrames", "PhotometricInterpretation"),
            )
        )
    )
    order = ">" if film.encoding == BIG_ENDIAN else "<"
    value: bytes = struct.pack(order + "H", draw(st.sampled_from(_WORDS)))
    if keyword in ("NumberOfFrames", "PhotometricInterpretation"):
        value = draw(_values)
    changed = element(keyword, value)
    kept = [one for one in film.elements if one.tag != changed.tag]
    return replace(film, elements=tuple(sorted((*kept, changed), key=lambda one: one.tag)))


_CHANGES: tuple[_Change, ...] = (
    *(_change_value, _change_value, _add, _add, _remove, _double, _move, _change_length),
    *(_change_vr, _change_tag, _nest, _change_charset, _change_syntax, _change_encoding),
    *(_change_stream, _change_stream, _change_image),
)
film_bytes: st.SearchStrategy[bytes] = st.one_of(dicom_bytes(), dicom_bytes(), raster_bytes())

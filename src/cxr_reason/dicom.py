"""DICOM bytes to stored pixels, display table and film record.

Nothing that identifies a patient is read: only the elements in `_READ` are kept from the file, as
raw bytes, and error texts name nothing but short codes. The header is judged before any pixel is
decoded, and the size that a compressed frame claims is compared with it before its decoder runs.

Compressed frames go straight to imagecodecs and not through `pydicom.pixels`: that path logs
decoder texts, tries whatever decoder is installed, and refuses 12-bit JPEG. Of the three lossless
JPEG decoders in imagecodecs only libjpeg-turbo's survives damaged data; the other two read past
their buffers.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments, parse_basic_offsets
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag

from cxr_reason.display_table import (
    GrayscaleSteps,
    Lut,
    Window,
    build_display_table,
    is_inverted,
)
from cxr_reason.errors import TooLargeError, UnreadableImageError, UnsupportedObjectError
from cxr_reason.film import FilmInfo, SpacingKind

_PREAMBLE_BYTES = 128
_END_MARKER_BYTES = 16  # the marker and some padding
_META_START = b"\x02\x00\x00\x00UL\x04\x00"  # (0002,0000), where a file has no preamble

_SEQUENCES = (
    "AnatomicRegionSequence",
    "ViewCodeSequence",
    "ModalityLUTSequence",
    "VOILUTSequence",
)
_IMAGE_ATTRIBUTES = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
_READ = (
    *_SEQUENCES,
    *_IMAGE_ATTRIBUTES,
    "BodyPartExamined",
    "ImageLaterality",
    "ImagerPixelSpacing",
    "Laterality",
    "Modality",
    "NumberOfFrames",
    "PatientOrientation",
    "PhotometricInterpretation",
    "PixelData",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "PixelSpacing",
    "PixelSpacingCalibrationType",
    "PresentationIntentType",
    "PresentationLUTShape",
    "RescaleIntercept",
    "RescaleSlope",
    "SOPClassUID",
    "StudyDescription",
    "ViewPosition",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
)

_SECONDARY_CAPTURE = frozenset(
    f"1.2.840.10008.5.1.4.1.1.7{kind}" for kind in ("", ".2", ".3")
)  # single frame; multi-frame grayscale byte and word

_CHEST_WORDS = ("CHEST", "THORAX", "TORAX", "LUNG")
_CHEST_CODES = (  # PS3.16 CID 4009, SNOMED CT and its predecessor
    *("816094009", "51185008", "T-D3000"),  # chest
    *("39607008", "T-28000"),  # lung
    *("416550000", "R-FAB55"),  # chest and abdomen
    *("417437006", "R-FAB52"),  # neck and chest
)
_NOT_FRONTAL_WORDS = re.compile(
    r"\b(LL|RL|LLD|RLD|LLO|RLO|LAO|RAO|LPO|RPO|L?LAT|RLAT|OBL"
    r"|LATERAL|OBLIQUE|SAGITTAL|AXIAL|DECUBITUS)\b"
)
_VIEW_CODES = {  # PS3.16 CID 4010
    "399348003": "AP",
    "R-10206": "AP",
    "272479007": "PA",
    "R-40888": "PA",
    "R-10214": "PA",
}

Decoder = Callable[[bytes, "_Layout"], NDArray[Any]]


class DicomFilm(NamedTuple):
    """What a DICOM file holds for us: see `cxr_reason.radiograph.Radiograph`."""

    pixels: NDArray[np.uint16]
    display_table: NDArray[np.float32]
    info: FilmInfo


class _Layout(NamedTuple):
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    byte_order: str


def is_dicom(data: bytes) -> bool:
    """Tell whether `data` starts as a DICOM file, with or without the 128-byte preamble."""
    magic = data[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4]
    return magic == b"DICM" or data.startswith(_META_START)


def decode_dicom(
    data: bytes, *, image_digest: str, max_pixels: float, max_inflated_bytes: int
) -> DicomFilm:
    """Decode one frontal chest radiograph.

    Args:
        data: A DICOM file (PS3.10).
        image_digest: Goes into the film record.
        max_pixels: Most rows times columns.
        max_inflated_bytes: Most bytes of a deflated data set, once inflated.

    Returns:
        Pixels uint16 `[H, W]`, display table float32 `[2**bits_stored]`, film record.

    Raises:
        UnreadableImageError: Damaged, truncated, or a transfer syntax without a decoder.
        UnsupportedObjectError: Not one grayscale frame of a frontal chest radiograph.
        TooLargeError: Over a limit.
    """
    header, decode = _read_header(data, max_inflated_bytes)
    flags = _check_object(header)
    view, view_flags = _check_view(header)
    layout = _read_layout(header, max_pixels)
    steps = _read_grayscale_steps(header, layout)
    pixels = _decode_pixels(header, layout, decode)
    table = build_display_table(pixels, steps)
    if steps.window_is_missing:
        view_flags += ("window_estimated",)
    spacing, spacing_kind = _read_spacing(header)
    info = FilmInfo(
        image_digest=image_digest,
        source="dicom",
        height_px=layout.rows,
        width_px=layout.columns,
        bits_stored=layout.bits_stored,
        view=view,
        laterality=_read_laterality(header),
        body_part=_code(header.text("BodyPartExamined")) or None,
        pixel_spacing_mm=spacing,
        spacing_kind=spacing_kind,
        flags=flags + view_flags,
    )
    return DicomFilm(pixels, table, info)


class _Header:
    """Elements by keyword, read leniently: an absent, empty or malformed value is empty."""

    def __init__(self, dataset: Dataset, byte_order: str) -> None:
        self._dataset = dataset
        self.byte_order = byte_order

    def _value(self, keyword: str) -> object:
        tag = Tag(keyword)
        # `get_item` leaves the value as bytes: pydicom's own conversion warns and logs values.
        # `keep_deferred`: without it an empty value counts as not yet read, and is converted.
        is_here = tag in self._dataset
        return self._dataset.get_item(tag, keep_deferred=True).value if is_here else None

    def raw(self, keyword: str) -> bytes:
        value = self._value(keyword)
        return value if isinstance(value, bytes) else b""

    def text(self, keyword: str) -> str:
        return self.raw(keyword).decode("ascii", "replace").split("\\")[0].strip(" \0").upper()

    def numbers(self, keyword: str) -> list[float]:
        numbers = []
        for part in self.raw(keyword).decode("ascii", "replace").strip(" \0").split("\\"):
            try:
                number = float(part)
            except ValueError:
                return []
            if not np.isfinite(number):
                return []
            numbers.append(number)
        return numbers

    def words(self, keyword: str) -> list[int]:
        value = self._value(keyword)
        if isinstance(value, int):
            # pydicom converts Pixel Representation on its own when it parses a sequence.
            return [value]
        raw = self.raw(keyword)
        return list(struct.unpack_from(f"{self.byte_order}{len(raw) // 2}H", raw))

    def items(self, keyword: str) -> list[_Header]:
        tag = Tag(keyword)
        if tag not in self._dataset or self._dataset[tag].VR != "SQ":
            return []
        return [_Header(item, self.byte_order) for item in self._dataset[tag].value]


def _read_header(data: bytes, max_inflated_bytes: int) -> tuple[_Header, Decoder]:
    source = BytesIO(data)
    source.seek(0 if data.startswith(_META_START) else _PREAMBLE_BYTES + 4)
    with warnings.catch_warnings():  # pydicom's texts quote the file
        warnings.simplefilter("ignore")
        try:
            meta = read_dataset(source, False, True, stop_when=_is_past_file_meta)
            syntax = _Header(meta, "<").text("TransferSyntaxUID")
            if syntax not in _SYNTAXES:
                raise UnreadableImageError(
                    "DICOM: no decoder for this transfer syntax; send the film uncompressed, or as "
                    "JPEG, JPEG-LS, JPEG 2000 or RLE"
                )
            if syntax == _DEFLATED:
                source = BytesIO(_inflate(data[source.tell() :], max_inflated_bytes))
            byte_order = ">" if syntax == _BIG_ENDIAN else "<"
            dataset = read_dataset(
                source,
                is_implicit_VR=syntax == _IMPLICIT,
                is_little_endian=byte_order == "<",
                specific_tags=[Tag(keyword) for keyword in _READ],
            )
            for keyword in _SEQUENCES:
                dataset.get(Tag(keyword))  # parses a sequence, which may be damaged too
            if not dataset:  # what pydicom returns when the file ends inside an element
                raise EOFError
        except (UnreadableImageError, TooLargeError):
            raise
        except Exception as error:
            raise UnreadableImageError("DICOM: header damaged or truncated") from error
    return _Header(dataset, byte_order), _SYNTAXES[syntax]


def _is_past_file_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag.group != 2


def _inflate(deflated: bytes, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, max_bytes)
    if inflater.unconsumed_tail:
        raise TooLargeError(
            f"DICOM: the deflated data set is over {max_bytes} bytes once inflated; "
            "send a smaller film or raise max_encoded_bytes"
        )
    if not inflater.eof:
        raise UnreadableImageError("DICOM: deflated data set truncated")
    return inflated


def _code(text: str) -> str:
    """Return `text` if it has the shape of a code, which may be shown, and "" if not."""
    return text if re.fullmatch(r"[A-Z0-9 ]{1,16}", text) else ""


def _check_object(header: _Header) -> tuple[str, ...]:
    modality = header.text("Modality")
    body_part = header.text("BodyPartExamined")
    regions = header.items("AnatomicRegionSequence")
    is_capture = (
        modality in ("SC", "OT")
        and header.text("SOPClassUID") in _SECONDARY_CAPTURE
        and any(_names_chest(header.text(k)) for k in ("BodyPartExamined", "StudyDescription"))
    )
    if modality not in ("CR", "DX") and not is_capture:
        raise UnsupportedObjectError(
            f"DICOM: Modality {_code(modality) or 'unnamed'} is not a chest radiograph; "
            "send CR, DX, or a secondary capture of a chest film"
        )
    if header.text("PresentationIntentType") == "FOR PROCESSING":
        raise UnsupportedObjectError(
            "DICOM: raw detector data (FOR PROCESSING); send the image FOR PRESENTATION"
        )
    if (body_part and not _names_chest(body_part)) or not all(map(_is_chest_region, regions)):
        raise UnsupportedObjectError(
            f"DICOM: body part {_code(body_part) or 'unnamed'} is not the chest; "
            "send a chest radiograph"
        )
    return () if body_part or regions else ("body_part_unknown",)


def _names_chest(text: str) -> bool:
    return any(word in text for word in _CHEST_WORDS)


def _is_chest_region(region: _Header) -> bool:
    return region.text("CodeValue") in _CHEST_CODES or _names_chest(region.text("CodeMeaning"))


def _check_view(header: _Header) -> tuple[str | None, tuple[str, ...]]:
    """Return "PA", "AP" or None, and the flags that go with it."""
    stated = header.text("ViewPosition").replace("_", " ")
    codes = header.items("ViewCodeSequence")
    names = [stated, *(code.text("CodeMeaning") for code in codes)]
    # The rows of a frontal film run left to right in the patient, those of a lateral one front to
    # back (PS3.3 C.7.6.1.1.1).
    runs_front_to_back = header.text("PatientOrientation")[:1] in ("A", "P")
    if runs_front_to_back or any(map(_NOT_FRONTAL_WORDS.search, names)):
        raise UnsupportedObjectError(
            f"DICOM: the header names a lateral or oblique view ({_code(stated) or 'by code'}); "
            "send the frontal (PA or AP) film"
        )
    views = [_VIEW_CODES.get(code.text("CodeValue")) for code in codes]
    views = [*re.findall(r"\b(?:PA|AP)\b", stated), *filter(None, views)]
    return (views[0], ()) if views else (None, ("view_unknown",))


def _read_layout(header: _Header, max_pixels: float) -> _Layout:
    try:
        rows, columns, samples, allocated, stored, high_bit, representation = (
            header.words(keyword)[0] for keyword in _IMAGE_ATTRIBUTES
        )
    except IndexError as error:
        raise UnreadableImageError(
            "DICOM: the header lacks image attributes (group 0028); the file is damaged, truncated "
            "or not an image"
        ) from error
    photometric = header.text("PhotometricInterpretation")
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedObjectError(
            f"DICOM: Photometric Interpretation {_code(photometric) or 'unnamed'} with {samples} "
            "samples per pixel; send MONOCHROME1 or MONOCHROME2"
        )
    if (header.numbers("NumberOfFrames") or [1.0])[0] > 1:
        raise UnsupportedObjectError("DICOM: more than one frame; send one radiograph")
    if (
        allocated not in (8, 16)
        or not 8 <= stored <= allocated
        or high_bit != stored - 1
        or representation not in (0, 1)
    ):
        raise UnsupportedObjectError(
            f"DICOM: {stored} bits stored in {allocated} with high bit {high_bit}; send 8 to 16 "
            "bits in 8 or 16, with the high bit one below the bits stored"
        )
    if rows * columns > max_pixels:
        raise TooLargeError(
            f"DICOM: {rows} x {columns} pixels are over the limit of {max_pixels:g} pixels"
        )
    if rows * columns == 0:
        raise UnreadableImageError("DICOM: no rows or no columns")
    return _Layout(
        rows, columns, allocated, stored, bool(representation), photometric, header.byte_order
    )


def _read_grayscale_steps(header: _Header, layout: _Layout) -> GrayscaleSteps:
    slopes, intercepts = header.numbers("RescaleSlope"), header.numbers("RescaleIntercept")
    slope, intercept = (slopes or [1.0])[0], (intercepts or [0.0])[0]
    if slope == 0:
        raise UnsupportedObjectError("DICOM: Rescale Slope 0; correct or remove (0028,1053)")
    modality_lut = _read_lut(header, "ModalityLUTSequence", layout.signed)
    lowest = intercept + min(slope * ((1 << layout.bits_stored) - 1), 0.0)
    voi_is_signed = modality_lut is None and (layout.signed or lowest < 0)
    centers, widths = header.numbers("WindowCenter"), header.numbers("WindowWidth")
    window = None
    if centers and widths:
        window = Window(centers[0], widths[0], header.text("VOILUTFunction") or "LINEAR")
    return GrayscaleSteps(
        bits_stored=layout.bits_stored,
        signed=layout.signed,
        inverted=is_inverted(layout.photometric, header.text("PresentationLUTShape")),
        slope=slope,
        intercept=intercept,
        modality_lut=modality_lut,
        voi_lut=_read_lut(header, "VOILUTSequence", voi_is_signed),
        window=window,
        padding=_read_padding(header, layout),
    )


def _read_lut(header: _Header, keyword: str, signed: bool) -> Lut | None:
    """Read the first look-up table of a sequence (PS3.3 C.11.1.1.1), None where there is none."""
    items = header.items(keyword)
    if not items:
        return None
    descriptor, raw = items[0].words("LUTDescriptor"), items[0].raw("LUTData")
    # An entry count of 0 means 65536: the number does not fit into 16 bits.
    entries = (descriptor[0] or 1 << 16) if len(descriptor) == 3 else 0
    if not entries or len(raw) < entries or not 1 <= descriptor[2] <= 16:
        raise UnreadableImageError("DICOM: a look-up table is damaged or truncated")
    first = descriptor[1] - (1 << 16) if signed and descriptor[1] >= 1 << 15 else descriptor[1]
    # Tables of up to 8 bits may have one entry to a byte or one to a word.
    kind = f"{header.byte_order}u2" if len(raw) >= 2 * entries else "u1"
    values = np.frombuffer(raw, kind, count=entries).astype(np.uint16)
    return Lut(first, descriptor[2], values)


def _read_padding(header: _Header, layout: _Layout) -> tuple[int, int] | None:
    ends = header.words("PixelPaddingValue")[:1] + header.words("PixelPaddingRangeLimit")[:1]
    if not ends:
        return None
    indices = _stored_index(np.array(ends, dtype=np.uint16), layout)
    return int(indices.min()), int(indices.max())


def _read_spacing(header: _Header) -> tuple[tuple[float, float] | None, SpacingKind]:
    """Spacing in mm and what it means: PS3.3 10.7.1.3.

    Pixel Spacing alone, without a calibration type, does not say in which plane it was measured.
    """
    pixel, imager = header.numbers("PixelSpacing"), header.numbers("ImagerPixelSpacing")
    pixel_is_valid, imager_is_valid = (len(s) == 2 and min(s) > 0 for s in (pixel, imager))
    is_corrected = imager_is_valid and pixel != imager
    if pixel_is_valid and (header.text("PixelSpacingCalibrationType") or is_corrected):
        return (pixel[0], pixel[1]), "calibrated"
    if imager_is_valid:
        return (imager[0], imager[1]), "detector"
    return None, "unknown"


def _read_laterality(header: _Header) -> str | None:
    stated = header.text("ImageLaterality") or header.text("Laterality")
    return stated if stated in ("L", "R", "B") else None


def _decode_pixels(header: _Header, layout: _Layout, decode: Decoder) -> NDArray[np.uint16]:
    raw = header.raw("PixelData")
    if not raw:
        raise UnreadableImageError("DICOM: no pixel data; the file is truncated or not an image")
    try:
        decoded = decode(raw, layout)
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImageError("DICOM: pixel data damaged or truncated") from error
    if decoded.shape != (layout.rows, layout.columns) or decoded.dtype.itemsize > 2:
        raise UnreadableImageError("DICOM: pixel data and header disagree about the size")
    return _stored_index(decoded, layout)


def _stored_index(values: NDArray[Any], layout: _Layout) -> NDArray[np.uint16]:
    """Number stored values from 0, whatever the signedness of file and decoder."""
    # Bits above the stored ones may hold overlays or anything else (PS3.5 8.1.1), and a decoder may
    # return either signedness: the low bits are right in all cases.
    index = values.astype(np.uint16) & np.uint16((1 << layout.bits_stored) - 1)
    return index ^ np.uint16(1 << (layout.bits_stored - 1)) if layout.signed else index


def _decode_native(raw: bytes, layout: _Layout) -> NDArray[Any]:
    size_bytes = layout.rows * layout.columns * layout.bits_allocated // 8
    if len(raw) < size_bytes:
        raise UnreadableImageError(
            f"DICOM: pixel data truncated ({len(raw)} of {size_bytes} bytes)"
        )
    if layout.bits_allocated == 8 and layout.byte_order == ">":
        raise UnreadableImageError("DICOM: 8-bit big endian pixel data; send it little endian")
    kind = f"{layout.byte_order}u{layout.bits_allocated // 8}"
    pixels = np.frombuffer(raw, kind, count=layout.rows * layout.columns)
    return pixels.reshape(layout.rows, layout.columns)


def _decode_rle(raw: bytes, layout: _Layout) -> NDArray[Any]:
    from imagecodecs import dicomrle_decode

    itemsize = layout.bits_allocated // 8
    # A fixed output bounds what a small file can grow to.
    out = bytearray(layout.rows * layout.columns * itemsize)
    decoded = dicomrle_decode(_join_fragments(raw), f"<u{itemsize}", out=out)
    if len(decoded) != len(out):
        raise UnreadableImageError("DICOM: RLE pixel data truncated")
    return np.frombuffer(out, f"<u{itemsize}").reshape(layout.rows, layout.columns)


def _decode_jpeg(raw: bytes, layout: _Layout) -> NDArray[Any]:
    from imagecodecs import jpeg8_decode

    frame = _check_frame(_join_fragments(raw), jpeg_frame_size, layout)
    return np.asarray(jpeg8_decode(frame))


def _decode_jpeg_ls(raw: bytes, layout: _Layout) -> NDArray[Any]:
    from imagecodecs import jpegls_decode

    frame = _check_frame(_join_fragments(raw), jpeg_frame_size, layout)
    return np.asarray(jpegls_decode(frame))


def _decode_jpeg_2000(raw: bytes, layout: _Layout) -> NDArray[Any]:
    from imagecodecs import jpeg2k_decode

    frame = _check_frame(_join_fragments(raw), _jpeg_2000_frame_size, layout)
    return np.asarray(jpeg2k_decode(frame, numthreads=1))


def _lossy(decode: Decoder) -> Decoder:
    # A lossy frame may ring past the stored range: masking would turn its brightest pixels black.
    def decode_saturated(raw: bytes, layout: _Layout) -> NDArray[Any]:
        decoded = decode(raw, layout)
        if layout.signed or decoded.dtype.kind != "u":
            return decoded
        return np.minimum(decoded, np.uint16((1 << layout.bits_stored) - 1))

    return decode_saturated


def _join_fragments(raw: bytes) -> bytes:
    """Return the one frame of encapsulated pixel data (PS3.5 A.4)."""
    buffer = BytesIO(raw)
    parse_basic_offsets(buffer)
    return b"".join(generate_fragments(buffer))


def _check_frame(
    frame: bytes, frame_size: Callable[[bytes], tuple[int, int, int]], layout: _Layout
) -> bytes:
    if frame_size(frame) != (layout.rows, layout.columns, 1):
        raise UnreadableImageError("DICOM: compressed pixel data and header disagree about size")
    # libjpeg invents what is missing, so the end marker (EOI, EOC) has to be there. Writers pad
    # after it, with zeros or a fill byte.
    if b"\xff\xd9" not in frame.rstrip(b"\0")[-_END_MARKER_BYTES:]:
        raise UnreadableImageError("DICOM: compressed pixel data truncated")
    return frame


def jpeg_frame_size(data: bytes) -> tuple[int, int, int]:
    """Read rows, columns and components from a JPEG or JPEG-LS header (ITU-T T.81 B.2.2).

    Raises:
        UnreadableImageError: No frame header where one has to be.
    """
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        is_frame = (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7
        if is_frame:
            rows, columns, components = struct.unpack_from(">HHB", data, position + 5)
            return rows, columns, components
        # 0xFF may be repeated before a marker.
        length = struct.unpack_from(">H", data, position + 2)[0] + 1 if marker != 0xFF else 0
        position += 1 + length
    raise UnreadableImageError("JPEG: header damaged or truncated")


def _jpeg_2000_frame_size(data: bytes) -> tuple[int, int, int]:
    # ITU-T T.800 A.5.1: SOC, then SIZ with the reference grid and the image's offset in it.
    if not data.startswith(b"\xff\x4f\xff\x51"):
        raise UnreadableImageError("DICOM: pixel data is not a JPEG 2000 codestream")
    x_end, y_end, x_start, y_start = struct.unpack_from(">4I", data, 8)
    return y_end - y_start, x_end - x_start, struct.unpack_from(">H", data, 40)[0]


_IMPLICIT = "1.2.840.10008.1.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_SYNTAXES: dict[str, Decoder] = {
    _IMPLICIT: _decode_native,
    "1.2.840.10008.1.2.1": _decode_native,
    _DEFLATED: _decode_native,
    _BIG_ENDIAN: _decode_native,
    "1.2.840.10008.1.2.4.50": _lossy(_decode_jpeg),  # baseline
    "1.2.840.10008.1.2.4.51": _lossy(_decode_jpeg),  # extended, 8 or 12 bits
    "1.2.840.10008.1.2.4.57": _decode_jpeg,  # lossless
    "1.2.840.10008.1.2.4.70": _decode_jpeg,  # lossless, selection value 1
    "1.2.840.10008.1.2.4.80": _decode_jpeg_ls,
    "1.2.840.10008.1.2.4.81": _lossy(_decode_jpeg_ls),  # near-lossless
    "1.2.840.10008.1.2.4.90": _decode_jpeg_2000,  # lossless
    "1.2.840.10008.1.2.4.91": _lossy(_decode_jpeg_2000),
    "1.2.840.10008.1.2.4.201": _decode_jpeg_2000,  # high throughput, lossless
    "1.2.840.10008.1.2.4.202": _decode_jpeg_2000,  # high throughput, lossless, RPCL
    "1.2.840.10008.1.2.4.203": _lossy(_decode_jpeg_2000),  # high throughput
    "1.2.840.10008.1.2.5": _decode_rle,
}

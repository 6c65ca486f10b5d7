"""DICOM bytes to stored pixels, display table and film record.

The header is checked before any pixel is decoded. Error texts contain nothing of the file but short
codes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxr_reason.errors import TooLargeError, UnreadableImageError, UnsupportedObjectError
from cxr_reason.film.display_table import (
    GrayscaleSteps,
    Lut,
    Window,
    build_display_table,
    is_inverted,
)
from cxr_reason.film.header import IMAGE_ATTRIBUTES, Header, read_header
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.orientation import read_directions, read_orientation
from cxr_reason.film.pixels import Layout, decode_pixels, number_values
from cxr_reason.film.spacing import read_pixel_aspect, read_spacing

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


class DicomFilm(NamedTuple):
    """What is read from a DICOM file: see `cxr_reason.film.radiograph.Radiograph`."""

    pixels: NDArray[np.uint16]
    display_table: NDArray[np.float32]
    info: FilmInfo
    pixel_aspect: float


def decode_dicom(
    data: bytes, *, image_digest: str, max_pixels: float, max_inflated_bytes: int
) -> DicomFilm:
    r"""Decode one frontal chest radiograph.

    Args:
        data: A DICOM file (PS3.10).
        image_digest: Goes into the film record.
        max_pixels: Most rows times columns.
        max_inflated_bytes: Most bytes of a deflated data set, once inflated.

    Returns:
        Pixels uint16 `[H, W]` turned to L\F, a view of any strides; display table float32
        `[2**bits_stored]`; film record; spacing of rows over that of columns.

    Raises:
        UnreadableImageError: Damaged, truncated, or a transfer syntax without a decoder.
        UnsupportedObjectError: Not one grayscale frame of a frontal chest radiograph.
        TooLargeError: Over a limit.
    """
    header = read_header(data, max_inflated_bytes)
    flags = _check_object(header)
    view, view_flags = _check_view(header)
    orientation, turn_flags = read_orientation(header)
    layout = _read_layout(header, max_pixels)
    steps = _read_grayscale_steps(header, layout)
    pixels = decode_pixels(header.raw("PixelData"), header.transfer_syntax, layout)
    table = build_display_table(pixels, steps)
    if steps.window_is_missing:
        view_flags += ("window_estimated",)
    pixels = orientation.turn(pixels)
    spacing, spacing_kind = read_spacing(header)
    row_spacing, column_spacing = orientation.turn_pair((read_pixel_aspect(header), 1.0))
    if row_spacing != column_spacing:
        turn_flags += ("pixels_not_square",)
    info = FilmInfo(
        image_digest=image_digest,
        source="dicom",
        height_px=pixels.shape[0],
        width_px=pixels.shape[1],
        bits_stored=layout.bits_stored,
        view=view,
        laterality=_read_laterality(header),
        body_part=_code(header.text("BodyPartExamined")) or None,
        pixel_spacing_mm=orientation.turn_pair(spacing) if spacing else None,
        spacing_kind=spacing_kind,
        flags=flags + view_flags + turn_flags,
        orientation=orientation.code,
    )
    return DicomFilm(pixels, table, info, row_spacing / column_spacing)


def _code(text: str) -> str:
    """Return `text` if it has the shape of a code, which may be shown, and "" if not."""
    return text if re.fullmatch(r"[A-Z0-9 ]{1,16}", text) else ""


def _check_object(header: Header) -> tuple[str, ...]:
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


def _is_chest_region(region: Header) -> bool:
    return region.text("CodeValue") in _CHEST_CODES or _names_chest(region.text("CodeMeaning"))


def _check_view(header: Header) -> tuple[str | None, tuple[str, ...]]:
    """Return "PA", "AP" or None, and the flags that go with it."""
    stated = header.text("ViewPosition").replace("_", " ")
    codes = header.items("ViewCodeSequence")
    names = [stated, *(code.text("CodeMeaning") for code in codes)]
    # Rows and columns of a frontal film run along left and right, head and foot, never along front
    # and back (PS3.3 C.7.6.1.1.1).
    runs_front_to_back = any(axis in ("A", "P") for axis in read_directions(header))
    if runs_front_to_back or any(map(_NOT_FRONTAL_WORDS.search, names)):
        raise UnsupportedObjectError(
            f"DICOM: the header names a lateral or oblique view ({_code(stated) or 'by code'}); "
            "send the frontal (PA or AP) film"
        )
    views = [_VIEW_CODES.get(code.text("CodeValue")) for code in codes]
    views = [*re.findall(r"\b(?:PA|AP)\b", stated), *filter(None, views)]
    return (views[0], ()) if views else (None, ("view_unknown",))


def _read_layout(header: Header, max_pixels: float) -> Layout:
    try:
        rows, columns, samples, allocated, stored, high_bit, representation = (
            header.words(keyword)[0] for keyword in IMAGE_ATTRIBUTES
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
    return Layout(
        rows, columns, allocated, stored, bool(representation), photometric, header.byte_order
    )


def _read_grayscale_steps(header: Header, layout: Layout) -> GrayscaleSteps:
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


def _read_lut(header: Header, keyword: str, signed: bool) -> Lut | None:
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


def _read_padding(header: Header, layout: Layout) -> tuple[int, int] | None:
    ends = header.words("PixelPaddingValue")[:1] + header.words("PixelPaddingRangeLimit")[:1]
    if not ends:
        return None
    indices = number_values(np.array(ends, dtype=np.uint16), layout)
    return int(indices.min()), int(indices.max())


def _read_laterality(header: Header) -> str | None:
    stated = header.text("ImageLaterality") or header.text("Laterality")
    return stated if stated in ("L", "R", "B") else None

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
from cxr_reason.film.gate import check_object
from cxr_reason.film.gate_view import check_view
from cxr_reason.film.header import IMAGE_ATTRIBUTES, Header, read_header
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.orientation import read_orientation
from cxr_reason.film.pixels import Layout, decode_pixels, number_values
from cxr_reason.film.spacing import read_pixel_aspect, read_spacing


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
    body_part, flags = check_object(header)
    view, view_flags = check_view(header)
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
        body_part=body_part,
        pixel_spacing_mm=orientation.turn_pair(spacing) if spacing else None,
        spacing_kind=spacing_kind,
        flags=flags + view_flags + turn_flags,
        orientation=orientation.code,
    )
    return DicomFilm(pixels, table, info, row_spacing / column_spacing)


def _code(text: str) -> str:
    """Return `text` if it has the shape of a code, which may be shown, and "" if not."""
    return text if re.fullmatch(r"[A-Z0-9 ]{1,16}", text) else ""


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

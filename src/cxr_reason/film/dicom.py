"""DICOM bytes to stored pixels, display table and film record.

The header is checked before any pixel is decoded. Error texts contain nothing of the file but short
codes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxr_reason.film.display_table import GrayscaleSteps, build_display_table, settle_voi
from cxr_reason.film.gate import check_object
from cxr_reason.film.gate_view import check_view
from cxr_reason.film.grayscale import read_grayscale_steps
from cxr_reason.film.header import Header, read_header
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.layout import read_layout
from cxr_reason.film.orientation import names_orientation, read_orientation
from cxr_reason.film.pixels import decode_pixels
from cxr_reason.film.spacing import read_pixel_aspect, read_spacing


class DicomFilm(NamedTuple):
    """What is read from a DICOM file: see `cxr_reason.film.radiograph.Radiograph`."""

    pixels: NDArray[np.uint16]
    display_table: NDArray[np.float32]
    info: FilmInfo
    pixel_aspect: float
    steps: GrayscaleSteps
    right_edge: str


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
        `[2**bits_stored]`; film record; spacing of rows over that of columns; the steps that the
        table was built from; the patient's side at the right edge.

    Raises:
        UnreadableImageError: Damaged, truncated, or a transfer syntax without a decoder.
        UnsupportedObjectError: Not one grayscale frame of a frontal chest radiograph.
        TooLargeError: Over a limit.
    """
    header = read_header(data, max_inflated_bytes)
    body_part, flags = check_object(header)
    view, view_flags = check_view(header)
    orientation, turn_flags = read_orientation(header)
    layout = read_layout(header, max_pixels)
    steps, steps_flags = read_grayscale_steps(header, layout)
    pixels, pixel_flags = decode_pixels(header.raw("PixelData"), header.transfer_syntax, layout)
    steps, voi_flags = settle_voi(pixels, steps)
    table = build_display_table(pixels, steps)
    assumed = (*steps_flags, *voi_flags, *pixel_flags, *header.repairs)
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
        flags=tuple(dict.fromkeys(flags + view_flags + turn_flags + assumed)),
        orientation=orientation.code,
    )
    right_edge = "L" if names_orientation(header) else ""
    return DicomFilm(pixels, table, info, row_spacing / column_spacing, steps, right_edge)


def _read_laterality(header: Header) -> str | None:
    stated = header.text("ImageLaterality") or header.text("Laterality")
    return stated if stated in ("L", "R", "B") else None

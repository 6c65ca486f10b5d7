"""Image attributes of a DICOM header → the layout of its frame (PS3.3 C.7.6.3)."""

from __future__ import annotations

from cxr_reason.errors import TooLargeError, UnreadableImageError, UnsupportedObjectError
from cxr_reason.film.header import IMAGE_ATTRIBUTES, Header
from cxr_reason.film.pixels import Layout

_GRAY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_OTHERS = ("YBR_PARTIAL_422", "YBR_PARTIAL_420", "XYB", "HSV", "ARGB", "CMYK")  # C.7.6.3.1.2
_COLOR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")


def read_layout(header: Header, max_pixels: float) -> Layout:
    """Read and check the image attributes.

    Color is allowed as far as the header goes: `decode_pixels` refuses it unless its channels are
    equal.

    Args:
        header: A DICOM header.
        max_pixels: Most rows times columns.

    Raises:
        UnreadableImageError: Attributes are missing, or there are no rows or columns.
        UnsupportedObjectError: Several frames, or pixels of another kind.
        TooLargeError: Over `max_pixels`.
    """
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
    if photometric not in {1: _GRAY, 3: _COLOR}.get(samples, ()):
        shown = photometric if photometric in (*_GRAY, *_COLOR, *_OTHERS) else "unknown"
        raise UnsupportedObjectError(
            f"DICOM: Photometric Interpretation {shown} with "
            f"{samples} samples per pixel; send MONOCHROME1 or MONOCHROME2"
        )
    if (header.numbers("NumberOfFrames") or [1.0])[0] > 1:
        raise UnsupportedObjectError("DICOM: more than one frame; send one radiograph")
    if (
        allocated not in (8, 16)
        or not 8 <= stored <= allocated
        or high_bit >= allocated
        or representation not in (0, 1)
        or (samples == 3 and (allocated, stored) != (8, 8))
    ):
        raise UnsupportedObjectError(
            f"DICOM: {samples} samples of {stored} bits stored in {allocated} with high bit "
            f"{high_bit}; send 8 to 16 bits in 8 or 16 (RGB: 8)"
        )
    if rows * columns > max_pixels:
        raise TooLargeError(
            f"DICOM: {rows} x {columns} pixels are over the limit of {max_pixels:g} pixels"
        )
    if rows * columns == 0:
        raise UnreadableImageError("DICOM: no rows or no columns")
    return Layout(
        rows,
        columns,
        allocated,
        stored,
        bool(representation),
        photometric,
        header.byte_order,
        samples=samples,
        is_planar=header.words("PlanarConfiguration")[:1] == [1],
        shift=high_bit + 1 - stored,
        swaps_bytes=allocated == 8 and header.is_in_words("PixelData"),
        is_encapsulated=header.has_undefined_length("PixelData"),
    )

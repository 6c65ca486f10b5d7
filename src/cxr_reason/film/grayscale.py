"""What a DICOM header says about gray values, with the rules for headers that say it wrongly.

| header | rule | flag |
|---|---|---|
| no window, or widths of 0 and below | estimated from the pixels | `window_estimated` |
| several windows | the first with a width above 0 | |
| width below 1 with LINEAR | LINEAR_EXACT | |
| Rescale Slope or Intercept that is no number | 1 and 0 | `rescale_ignored` |
| VOI or modality LUT | see `cxr_reason.film.lut` | `voi_lut_…`, `modality_lut_…` |
| MONOCHROME1 with Presentation LUT Shape IDENTITY | shown as stored | `looks_negative` |
| PALETTE COLOR | the palette is the whole pipeline (PS3.3 C.7.6.3.1.5) | |
| RGB, YBR | ready for display | |
"""

from __future__ import annotations

import numpy as np

from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.film.display_table import GrayscaleSteps, Window, is_inverted
from cxr_reason.film.header import Header
from cxr_reason.film.lut import read_gray_palette, read_lut
from cxr_reason.film.pixels import Layout, number_values


def read_grayscale_steps(header: Header, layout: Layout) -> tuple[GrayscaleSteps, tuple[str, ...]]:
    """Read the steps from stored value to display.

    Returns:
        The steps, and flags of what was assumed.

    Raises:
        UnsupportedObjectError: Rescale Slope 0, or a palette of colors.
    """
    if layout.samples == 3:
        full = 1 << layout.bits_stored
        return GrayscaleSteps(layout.bits_stored, window=Window(full / 2, full)), ()
    if layout.photometric == "PALETTE COLOR":
        palette = read_gray_palette(header)
        if palette is None:
            raise UnsupportedObjectError(
                "DICOM: PALETTE COLOR without a palette of grays; send MONOCHROME1 or MONOCHROME2"
            )
        return GrayscaleSteps(layout.bits_stored, voi_lut=palette), ()
    slopes, intercepts = header.numbers("RescaleSlope"), header.numbers("RescaleIntercept")
    slope, intercept = (slopes or [1.0])[0], (intercepts or [0.0])[0]
    is_ignored = any(
        header.text(keyword) and not numbers
        for keyword, numbers in (("RescaleSlope", slopes), ("RescaleIntercept", intercepts))
    )
    if slope == 0:
        raise UnsupportedObjectError("DICOM: Rescale Slope 0; correct or remove (0028,1053)")
    modality_lut, modality_flags = read_lut(header, "ModalityLUTSequence", layout.signed)
    lowest = intercept + min(slope * ((1 << layout.bits_stored) - 1), 0.0)
    voi_is_signed = modality_lut is None and (layout.signed or lowest < 0)
    voi_lut, voi_flags = read_lut(header, "VOILUTSequence", voi_is_signed)
    shape = header.text("PresentationLUTShape")
    # PS3.3 C.11.6.1: IDENTITY is for MONOCHROME2. Writers that add it to MONOCHROME1 mean either.
    is_contradictory = layout.photometric == "MONOCHROME1" and shape == "IDENTITY"
    steps = GrayscaleSteps(
        bits_stored=layout.bits_stored,
        signed=layout.signed,
        inverted=is_inverted(layout.photometric, shape),
        slope=slope,
        intercept=intercept,
        modality_lut=modality_lut,
        voi_lut=voi_lut,
        window=_read_window(header),
        padding=_read_padding(header, layout),
    )
    flags = [*modality_flags, *voi_flags]
    flags += ["rescale_ignored"] * is_ignored + ["looks_negative"] * is_contradictory
    return steps, tuple(flags)


def _read_window(header: Header) -> Window | None:
    function = header.text("VOILUTFunction") or "LINEAR"
    pairs = zip(header.numbers("WindowCenter"), header.numbers("WindowWidth"), strict=False)
    return next((Window(c, w, function) for c, w in pairs if w > 0), None)


def _read_padding(header: Header, layout: Layout) -> tuple[int, int] | None:
    ends = header.words("PixelPaddingValue")[:1] + header.words("PixelPaddingRangeLimit")[:1]
    if not ends:
        return None
    indices = number_values(np.array(ends, dtype=np.uint16), layout)
    return int(indices.min()), int(indices.max())

"""What may be flagged about a film: each flag of `FilmInfo.flags`, and what it means.

A flag never stops a reading: it says what the file left open or got wrong, what was assumed, or how
the picture looks. The page and docs/films.md have the same words.
"""

from __future__ import annotations

from collections.abc import Mapping

FLAGS: Mapping[str, str] = {
    # What the header leaves open.
    "body_part_unknown": "The file does not say which body part it shows.",
    "body_part_placeholder": "The file has a placeholder in place of the body part.",
    "view_unknown": "The file does not say whether the film is PA or AP.",
    "view_perhaps_lateral": "A description in the file names a lateral view.",
    "modality_unusual": "The file names another modality than CR or DX.",
    # How the film lies, and its pixels.
    "reoriented": "The film was stored turned or mirrored and was turned upright by its header.",
    "orientation_invalid": "The orientation in the file is not one of a frontal film; not used.",
    "field_of_view_turned": "The device turned the picture, and the file does not say how it lies.",
    "pixels_not_square": "Pixels are not square: the film was resampled to square ones.",
    # Gray values.
    "window_estimated": "The file has no usable window: the display range was estimated from it.",
    "voi_lut_ignored": "A look-up table of the file (VOI LUT) could not be used.",
    "voi_lut_rescaled": "A look-up table (VOI LUT) uses fewer bits than it declares; scaled.",
    "voi_lut_truncated": "A look-up table (VOI LUT) is shorter than declared; its end was held.",
    "modality_lut_ignored": "A look-up table of the file (modality LUT) could not be used.",
    "modality_lut_rescaled": "A look-up table (modality LUT) has other bits than it declares.",
    "modality_lut_truncated": "A look-up table (modality LUT) is shorter than declared.",
    "rescale_ignored": "Rescale Slope or Intercept of the file is no number; not used.",
    "small_range_stretched": "The picture uses few of its 16 bits: its range was stretched.",
    "encoding_repaired": "The encoding of the file breaks the standard; it was read all the same.",
    # How the picture looks.
    "clipped": "Much of the picture is all black or all white: the window may be wrong.",
    "low_contrast": "The picture has little contrast.",
    "looks_negative": "The picture may be a negative: air bright, bone dark.",
    "looks_turned": "The film seems to lie on its side or upside down.",
    "not_frontal_chest": "The picture does not look like a frontal chest film to the model.",
}

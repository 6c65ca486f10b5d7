"""Attributes of a film besides its pixels: passed along with it and included in the reading."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cxr_reason.errors import BadRequestError

SourceKind = Literal["dicom", "png", "jpeg"]
SpacingKind = Literal["calibrated", "detector", "unknown"]


@dataclass(frozen=True)
class FilmInfo:
    r"""One film. Holds nothing that identifies a patient.

    Attributes:
        image_digest: SHA-256 of the encoded bytes, hexadecimal.
        source: Kind of file it was decoded from.
        height_px: Rows of the film, turned to L\F: the patient's left on the right, feet below.
        width_px: Columns of the film, turned to L\F.
        bits_stored: Significant bits of a stored pixel, 8 to 16.
        view: "PA", "AP" or None where the header does not say.
        laterality: "L", "R", "B" or None.
        body_part: "CHEST" where the header names it, in any language, or None.
        pixel_spacing_mm: Distance between rows and between columns of the turned film, or None
            where unknown.
        spacing_kind: "calibrated" (corrected for magnification), "detector" (distances on the
            detector plane, larger than in the patient) or "unknown". DICOM PS3.3 10.7.1.
        flags: What a reader should know: keys of `cxr_reason.film.flags.FLAGS`.
        orientation: How the stored pixels were turned to L\F, 1 (as stored) to 8, as in EXIF and
            TIFF. `film.orientation.Orientation.from_code` maps coordinates back to them.
    """

    image_digest: str
    source: SourceKind
    height_px: int
    width_px: int
    bits_stored: int
    view: str | None = None
    laterality: str | None = None
    body_part: str | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    spacing_kind: SpacingKind = "unknown"
    flags: tuple[str, ...] = ()
    orientation: int = 1

    def to_json(self) -> str:
        """Return the film as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> FilmInfo:
        """Build from what `json.loads` gives.

        Raises:
            BadRequestError: The fields are not those of a film.
        """
        try:
            spacing = fields.get("pixel_spacing_mm")
            return cls(
                **{
                    **fields,
                    "pixel_spacing_mm": tuple(spacing) if spacing else None,
                    "flags": tuple(fields.get("flags", ())),
                }
            )
        except (TypeError, AttributeError) as error:
            raise BadRequestError(
                "film: not a film record; send the `film` output of `preprocess`"
            ) from error

    @classmethod
    def from_json(cls, text: str | bytes) -> FilmInfo:
        """Inverse of `to_json`.

        Raises:
            BadRequestError: `text` is not the JSON of a film.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRequestError(
                "film: not JSON; send the `film` output of `preprocess`"
            ) from error
        return cls.from_dict(fields)

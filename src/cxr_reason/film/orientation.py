r"""How a film is stored, and the turn that brings it to L\F: the patient's left on the right.

Patient Orientation (0020,0020) names where rows and columns of the stored pixels run to (PS3.3
C.7.6.1.1.1). A film is turned by it to L\F, in which films are read and the model was trained.

Field of View Rotation and Horizontal Flip (0018,7032 and 0018,7034) never turn a film. They say
what the device has done already to the pixels, seen from the detector (PS3.3 C.8.11.4, PS3.17
FFF.1.2.5.3), and nothing of the patient: undone, they would give the detector's view. Of 7,469
films of Open-i, all 61 frontal ones with a flip are L\F as stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cxr_reason.film.header import Header

_AXES = ("LR", "AP", "HF")


@dataclass(frozen=True)
class Orientation:
    r"""The turn from stored pixels to L\F: a transposition, then flips.

    Attributes:
        transposed: Rows become columns, before the flips.
        flipped_rows: The turned film's first row was the last: upside down.
        flipped_columns: The turned film's first column was the last: mirrored.
    """

    transposed: bool = False
    flipped_rows: bool = False
    flipped_columns: bool = False

    @property
    def code(self) -> int:
        """The turn as a number, 1 to 8, with the meaning of Orientation in EXIF and TIFF."""
        return _CODES.index((self.transposed, self.flipped_rows, self.flipped_columns)) + 1

    @classmethod
    def from_code(cls, code: int) -> Orientation:
        """Inverse of `code`.

        Raises:
            ValueError: Not 1 to 8.
        """
        if not 1 <= code <= len(_CODES):
            raise ValueError(f"orientation {code}: must be 1 to 8, as in EXIF")
        return cls(*_CODES[code - 1])

    def turn(self, pixels: NDArray[Any]) -> NDArray[Any]:
        r"""Return stored pixels `[H, W]` turned to L\F: a view of any strides, not a copy."""
        turned = pixels.T if self.transposed else pixels
        return turned[
            :: -1 if self.flipped_rows else 1,
            :: -1 if self.flipped_columns else 1,
        ]

    def turn_pair(self, pair: tuple[float, float]) -> tuple[float, float]:
        """Return what belongs to rows and columns, such as a spacing, of the turned film."""
        return (pair[1], pair[0]) if self.transposed else pair

    def to_stored(self, x: float, y: float, *, width: float, height: float) -> tuple[float, float]:
        """Map a point of the turned film back to the stored pixels.

        Args:
            x: From the left edge of the turned film, where pixel i covers i to i + 1.
            y: From its upper edge.
            width: Of the turned film, in the unit of `x`: pixels, or 1 for shares.
            height: The same for `y`.

        Returns:
            x along the stored rows and y along the stored columns.
        """
        x = width - x if self.flipped_columns else x
        y = height - y if self.flipped_rows else y
        return (y, x) if self.transposed else (x, y)


_CODES = (  # transposed, flipped_rows, flipped_columns of EXIF's 1 to 8
    (False, False, False),
    (False, False, True),
    (False, True, True),
    (False, True, False),
    (True, False, False),
    (True, False, True),
    (True, True, True),
    (True, True, False),
)


def read_directions(header: Header) -> tuple[str, str]:
    """Return where rows and columns run to, each one letter of LRAPHF, or "" where not stated.

    Of an oblique direction, such as FR, the first letter counts: it is the principal one.
    """
    text = header.raw("PatientOrientation")[:64].decode("ascii", "replace").upper()
    values = [value.strip(" \0") for value in text.split("\\")]
    directions = [value[:1] if _is_direction(value) else "" for value in values]
    return (directions[0], directions[1]) if len(values) == 2 else (directions[0], "")


def _is_direction(value: str) -> bool:
    letters_of = [sum(letter in axis for letter in value) for axis in _AXES]
    return bool(re.fullmatch(r"[LRAPHF]{1,3}", value)) and max(letters_of) == 1


def read_orientation(header: Header) -> tuple[Orientation, tuple[str, ...]]:
    r"""Return the turn of a frontal film to L\F, and the flags that go with it.

    `reoriented`: the film was turned. `orientation_invalid`: Patient Orientation names no frontal
    orientation. `field_of_view_turned`: it names none, and the device has turned the pixels. In the
    last two cases the film is used as stored.
    """
    row, column = read_directions(header)
    if row and column and row in "LR" and column in "HF":
        orientation = Orientation(False, column == "H", row == "R")
    elif row and column and row in "HF" and column in "LR":
        orientation = Orientation(True, row == "H", column == "R")
    else:
        flags = ("orientation_invalid",) if header.text("PatientOrientation") else ()
        return Orientation(), flags + _field_of_view_flags(header)
    return orientation, () if orientation == Orientation() else ("reoriented",)


def names_orientation(header: Header) -> bool:
    """Return whether the header says how a frontal film lies, so that its sides are known."""
    row, column = read_directions(header)
    axes = {axis for axis in ("LR", "HF") for letter in (row, column) if letter and letter in axis}
    return axes == {"LR", "HF"}


def _field_of_view_flags(header: Header) -> tuple[str, ...]:
    rotation = (header.numbers("FieldOfViewRotation") or [0.0])[0]
    is_turned = header.text("FieldOfViewHorizontalFlip") == "YES" or rotation % 360 != 0
    return ("field_of_view_turned",) if is_turned else ()

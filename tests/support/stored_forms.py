"""One film in the eight ways in which devices store it, and phantoms to tell sides by."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom

from cxr_reason.data.phantoms import make_phantom, write_dicom
from cxr_reason.film.orientation import Orientation
from cxr_reason.reading.reading import Reading

EFFUSION = "Pleural Effusion"
# Patient Orientation of films that are turned to L\F in EXIF's ways 1 to 8.
STORED = ["L\\F", "R\\F", "R\\H", "L\\H", "F\\L", "F\\R", "H\\R", "H\\L"]
# Phantoms of the validation set, drawn with an effusion alone, by the side it is on. The checkpoint
# names the side rightly on these: it does so on ten of the first fourteen.
SEEDS = {"right": 1_000_000_005, "left": 1_000_000_003}


def stored_forms(film: bytes) -> list[bytes]:
    r"""Return an L\F film as the eight files that devices may make of it."""
    forms = []
    for code, orientation in enumerate(STORED, 1):
        dataset = pydicom.dcmread(BytesIO(film))
        # Each turn is its own inverse, but for those by 90 degrees.
        inverse = Orientation.from_code({6: 8, 8: 6}.get(code, code))
        pixels = np.ascontiguousarray(inverse.turn(dataset.pixel_array))
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.tobytes()
        dataset.PatientOrientation = orientation.split("\\")
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        forms.append(buffer.getvalue())
    return forms


def effusion_forms(side: str, folder: Path) -> list[bytes]:
    """Return the eight files of a phantom with an effusion on a side of `SEEDS`."""
    phantom = make_phantom(SEEDS[side], labels={EFFUSION: "present"})
    assert {finding.side for finding in phantom.findings} == {side}
    write_dicom(phantom, folder / "film.dcm")
    return stored_forms((folder / "film.dcm").read_bytes())


def check_sides(readings: list[Reading], side: str) -> None:
    """Fail unless the readings of the eight files are one, with the effusion on its side."""
    for reading in readings:
        [effusion] = [finding for finding in reading.findings if finding.label == EFFUSION]
        assert {evidence.side for evidence in effusion.evidence} - {None} == {side}
    assert [reading.film.orientation for reading in readings if reading.film] == [*range(1, 9)]
    assert len({reading.text for reading in readings}) == 1

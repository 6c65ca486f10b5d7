"""A folder → the release of a public data set that it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cxr_reason.data.releases.chexpert import load_chexpert
from cxr_reason.data.releases.example import Example
from cxr_reason.data.releases.mimic import load_mimic
from cxr_reason.data.releases.nih import load_nih, load_nih_subset
from cxr_reason.errors import DataError

# The table in a folder tells which release it is.
_RELEASES: dict[str, tuple[str, Callable[[Path], list[Example]]]] = {
    "labels.csv": ("the subset of NIH ChestX-ray14", load_nih_subset),
    "Data_Entry_2017_v2020.csv": ("NIH ChestX-ray14", load_nih),
    "mimic-cxr-2.0.0-metadata.csv.gz": ("MIMIC-CXR-JPG", load_mimic),
    "valid.csv": ("CheXpert", load_chexpert),
}


def load_release(folder: Path) -> list[Example]:
    """Return the examples of NIH ChestX-ray14, its subset, MIMIC-CXR-JPG or CheXpert.

    Raises:
        DataError: None of their tables lies in the folder, or its loader found bad data.
    """
    for table, (_, load) in _RELEASES.items():
        if (folder / table).is_file():
            return load(folder)
    known = "; ".join(f"{table} ({what})" for table, (what, _) in _RELEASES.items())
    raise DataError(f"data: no known release in the folder; looked for {known}")

"""CheXpert: `train.csv` and `valid.csv`, of the original release and of the small one.

Source: Irvin et al., CheXpert (AAAI 2019); data set page "CheXpert" of the Stanford AIMI Center.
Both releases have the same columns; paths begin with `CheXpert-v1.0` or `CheXpert-v1.0-small`.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from cxr_reason.data.releases.example import Example, Sex, Split, View
from cxr_reason.data.releases.splits import add_leaks
from cxr_reason.data.releases.tables import (
    Problems,
    Row,
    RowError,
    check_film,
    read_choice,
    read_rows,
)
from cxr_reason.data.releases.taxonomy import read_chexpert_labels
from cxr_reason.findings import LABELS

SOURCE = "chexpert"
_TABLES: dict[str, Split] = {"train.csv": "train", "valid.csv": "validation"}
_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS)
_PATH = re.compile(
    r"CheXpert-v1\.0[\w.-]*/(?P<rest>(?:train|valid)/(?P<patient>patient\d+)/study\d+/[\w.-]+)"
)
# The training table has one sex that reads Unknown.
_SEXES: dict[str, Sex | None] = {"Female": "F", "Male": "M", "Unknown": None}
# A few frontal films carry the code of a lateral view: their direction is not known.
_VIEWS: dict[str, View | None] = {"AP": "AP", "PA": "PA", "LL": None, "RL": None}


def load_chexpert(folder: Path) -> list[Example]:
    """Load the frontal films of both tables.

    Args:
        folder: Where `train.csv`, `valid.csv` and the folders `train` and `valid` are, whatever
            its own name.

    Raises:
        DataError: Names what is wrong with file and row.
    """
    problems = Problems()
    examples = []
    for name, split in _TABLES.items():
        for row in read_rows(folder / name, _COLUMNS, problems):
            try:
                example = _read(row, folder, split)
            except RowError as error:
                problems.add(row.origin, str(error))
            else:
                examples += [example] if example else []
    add_leaks(problems, examples)
    problems.raise_if_any()
    return examples


def _read(row: Row, folder: Path, split: Split) -> Example | None:
    cells = row.cells
    if cells["Frontal/Lateral"] not in ("Frontal", "Lateral"):
        raise RowError(f"Frontal/Lateral: {cells['Frontal/Lateral']!r}")
    match = _PATH.fullmatch(cells["Path"])
    if match is None:
        raise RowError(f"Path: {cells['Path']!r} is not of the form of the release")
    labels = read_chexpert_labels(cells)
    if not cells["Age"].isdecimal():
        raise RowError(f"Age: {cells['Age']!r} is not a number of years")
    if cells["Frontal/Lateral"] == "Lateral":
        return None
    return Example(
        film=check_film(folder / PurePosixPath(match["rest"])),
        patient=f"{SOURCE}/{match['patient']}",
        source=SOURCE,
        origin=row.origin,
        labels=labels,
        split=split,
        view=read_choice(cells["AP/PA"], _VIEWS, "AP/PA"),
        sex=read_choice(cells["Sex"], _SEXES, "Sex"),
        # The collection is of adults: the few zeros are ages that were not recorded.
        age=int(cells["Age"]) or None,
    )

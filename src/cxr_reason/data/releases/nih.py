"""NIH ChestX-ray14: the release, and a small subset with one table.

Source: Wang et al., ChestX-ray8 (CVPR 2017); download page "ChestXray-NIHCC" of the NIH Clinical
Center: `Data_Entry_2017_v2020.csv`, `BBox_List_2017.csv`, `train_val_list.txt`, `test_list.txt`.
Every film is frontal. Labels were mined from reports; boxes were drawn by a radiologist.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from cxr_reason.data.releases.example import Box, Example, Sex, Split, View
from cxr_reason.data.releases.splits import add_leaks
from cxr_reason.data.releases.tables import (
    Problems,
    Row,
    RowError,
    check_film,
    read_choice,
    read_rows,
)
from cxr_reason.data.releases.taxonomy import NIH_TO_CHEXPERT, map_nih_labels, read_nih_labels
from cxr_reason.statements import NIH_LABELS

SOURCE = "nih-cxr14"
_SIDE_PX = 1024  # the release has square films, and boxes are in its pixels
# The first release has ages up to 414 years; their meaning is unknown.
_MAX_AGE_YEARS = 120
_SEXES: dict[str, Sex] = {"F": "F", "M": "M"}
_VIEWS: dict[str, View] = {"AP": "AP", "PA": "PA"}
_LISTS: dict[str, Split] = {"train_val_list.txt": "train", "test_list.txt": "test"}
_SUBSET_SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}

# Label and x, y, width, height in pixels of the release.
_Drawn = tuple[str, tuple[float, ...]]


def load_nih(folder: Path) -> list[Example]:
    """Load the release; `train_val_list.txt` is the split "train".

    Args:
        folder: Where the four files are, and the images in any folder below.

    Raises:
        DataError: Names what is wrong with file and row.
    """
    problems = Problems()
    boxes = _read_box_list(folder / "BBox_List_2017.csv", problems)
    splits = _read_lists(folder, problems)
    films = {film.name: film for film in folder.rglob("*.png")}
    # Copies of the table differ in the name of this one column.
    table = folder / "Data_Entry_2017_v2020.csv"
    sex = "Patient Sex" if _has_column(table, "Patient Sex") else "Patient Gender"
    columns = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", sex, "View Position")
    examples = []
    for row in read_rows(table, columns, problems):
        name, labels, patient, age, sex_code, view = (row.cells[column] for column in columns)
        try:
            if name not in splits:
                raise RowError(f"{name} is in neither of {', '.join(_LISTS)}")
            film = check_film(films.get(name, folder / "images" / name))
            fields = (labels, patient, age, sex_code, view)
            examples.append(_make(row, film, fields, boxes.get(name, ()), splits[name]))
        except RowError as error:
            problems.add(row.origin, str(error))
    add_leaks(problems, examples)
    problems.raise_if_any()
    return examples


def load_nih_subset(folder: Path, films: Literal["jpg320", "png1024"] = "jpg320") -> list[Example]:
    """Load a subset: `labels.csv` and the films in the folder that their size names.

    Args:
        folder: Where `labels.csv` is, and folders `jpg320` (every film) and `png1024` (some).
        films: Which of the two folders.

    Raises:
        DataError: Names what is wrong with file and row.
    """
    problems = Problems()
    examples = []
    columns = ("image", "labels", "patient_id", "age", "sex", "view", "bboxes", "split_by_patient")
    for row in read_rows(folder / "labels.csv", (*columns, "has_png1024"), problems):
        cells = row.cells
        if films == "png1024" and cells["has_png1024"] != "1":
            continue
        try:
            split = _SUBSET_SPLITS.get(cells["split_by_patient"])
            if split is None:
                raise RowError(f"split_by_patient: {cells['split_by_patient']!r}")
            name = Path(cells["image"]).with_suffix(".jpg" if films == "jpg320" else ".png")
            fields = tuple(cells[column] for column in columns[1:6])
            boxes = _read_json_boxes(cells["bboxes"])
            examples.append(_make(row, check_film(folder / films / name), fields, boxes, split))
        except RowError as error:
            problems.add(row.origin, str(error))
    add_leaks(problems, examples)
    problems.raise_if_any()
    return examples


def _make(
    row: Row, film: Path, fields: tuple[str, ...], drawn: Iterable[_Drawn], split: Split
) -> Example:
    labels, patient, age, sex, view = fields
    if not patient.isdecimal():
        raise RowError(f"patient: {patient!r} is not a number")
    # The first release writes 058Y.
    years = age.removesuffix("Y")
    if not years.isdecimal():
        raise RowError(f"age: {age!r} is not a number of years")
    names = read_nih_labels(labels)
    boxes = tuple(
        Box(NIH_TO_CHEXPERT[name], *(length / _SIDE_PX for length in box)) for name, box in drawn
    )
    return Example(
        film=film,
        patient=f"{SOURCE}/{int(patient)}",
        source=SOURCE,
        origin=row.origin,
        # A finding that a radiologist drew is present, whatever was mined from the report.
        labels=map_nih_labels({*names, *(name for name, _ in drawn)}),
        boxes=boxes,
        split=split,
        view=read_choice(view, _VIEWS, "view"),
        sex=read_choice(sex, _SEXES, "sex"),
        age=int(years) if int(years) <= _MAX_AGE_YEARS else None,
    )


def _has_column(table: Path, name: str) -> bool:
    try:
        with table.open(encoding="utf-8-sig") as file:
            return name in file.readline().strip().split(",")
    except (OSError, UnicodeDecodeError):
        return False  # reading its rows says so with the name of the file


def _check_box(label: str, numbers: Iterable[object]) -> _Drawn:
    # The list of boxes has its own word for Infiltration.
    name = "Infiltration" if label == "Infiltrate" else label
    if name not in NIH_LABELS or name not in NIH_TO_CHEXPERT:
        raise RowError(f"box: unknown label {label!r}")
    try:
        box = tuple(float(str(number)) for number in numbers)
    except ValueError as error:
        raise RowError("box: x, y, width and height must be numbers") from error
    if len(box) != 4 or not all(0 <= length <= _SIDE_PX for length in box):
        raise RowError(f"box: four lengths within {_SIDE_PX} pixels are needed")
    x, y, width, height = box
    if not (width > 0 and height > 0 and x + width <= _SIDE_PX and y + height <= _SIDE_PX):
        raise RowError(f"box: empty or outside the {_SIDE_PX} pixels of the film")
    return name, box


def _read_box_list(table: Path, problems: Problems) -> dict[str, list[_Drawn]]:
    boxes: dict[str, list[_Drawn]] = defaultdict(list)
    lengths = ("Bbox [x", "y", "w", "h]")
    for row in read_rows(table, ("Image Index", "Finding Label", *lengths), problems):
        cells = row.cells
        try:
            drawn = _check_box(cells["Finding Label"], [cells[length] for length in lengths])
            boxes[cells["Image Index"]].append(drawn)
        except RowError as error:
            problems.add(row.origin, str(error))
    return boxes


def _read_json_boxes(text: str) -> list[_Drawn]:
    try:
        return [_check_box(str(box["label"]), box["xywh_1024"]) for box in json.loads(text)]
    except (ValueError, TypeError, KeyError) as error:
        raise RowError("bboxes: not a JSON list of label and xywh_1024") from error


def _read_lists(folder: Path, problems: Problems) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for table, split in _LISTS.items():
        try:
            names = (folder / table).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            problems.add(table, f"cannot be read: {type(error).__name__}")
            continue
        for number, name in enumerate(names, start=1):
            if splits.setdefault(name, split) != split:
                problems.add(f"{table} row {number}", f"{name} is in the other list too")
    return splits

"""MIMIC-CXR-JPG with the reports of MIMIC-CXR.

Source: Johnson et al., "MIMIC-CXR-JPG, a large publicly available database of labeled chest
radiographs" (2019); data set pages "MIMIC-CXR-JPG" and "MIMIC-CXR" of PhysioNet, version 2.0.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cxr_reason.data.releases.example import Example, Split, View
from cxr_reason.data.releases.reports import read_sections
from cxr_reason.data.releases.splits import add_leaks
from cxr_reason.data.releases.tables import Problems, Row, RowError, check_film, read_rows
from cxr_reason.data.releases.taxonomy import read_chexpert_labels
from cxr_reason.findings import LABELS
from cxr_reason.statements import Polarity

SOURCE = "mimic-cxr"
_VERSION = "mimic-cxr-2.0.0"
_SPLITS: dict[str, Split] = {"train": "train", "validate": "validation", "test": "test"}
# Other codes are lateral or oblique; a blank one does not say that the film is frontal.
_FRONTAL: dict[str, View] = {"AP": "AP", "PA": "PA"}

_Study = tuple[str, str]


def load_mimic(
    folder: Path, reports: Path | None = None, labeller: Literal["chexpert", "negbio"] = "chexpert"
) -> list[Example]:
    """Load the frontal films with labels, official split and, where given, reports.

    Sex and age are in another database (MIMIC-IV) and stay unknown.

    Args:
        folder: MIMIC-CXR-JPG: the tables `mimic-cxr-2.0.0-*.csv.gz` and the tree `files`.
        reports: MIMIC-CXR: the tree `files` with one text a study.
        labeller: Which of the two tables of labels.

    Raises:
        DataError: Names what is wrong with file and row.
    """
    problems = Problems()
    labels = _read_labels(folder / f"{_VERSION}-{labeller}.csv.gz", problems)
    splits = _read_splits(folder / f"{_VERSION}-split.csv.gz", problems)
    examples = []
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition")
    for row in read_rows(folder / f"{_VERSION}-metadata.csv.gz", columns, problems):
        if row.cells["ViewPosition"] not in _FRONTAL:
            continue
        try:
            study = _read_study(row)
            name = row.cells["dicom_id"]
            if name not in splits:
                raise RowError("image is not in the table of splits")
            examples.append(
                Example(
                    film=check_film(_place(folder, study) / f"{name}.jpg"),
                    patient=f"{SOURCE}/{study[0]}",
                    source=SOURCE,
                    origin=row.origin,
                    report=_read_report(reports, study) if reports else None,
                    # A handful of studies has no labels in the release: all are unknown.
                    labels=labels.get(study, {}),
                    split=splits[name],
                    view=_FRONTAL[row.cells["ViewPosition"]],
                )
            )
        except RowError as error:
            problems.add(row.origin, str(error))
    add_leaks(problems, examples)
    problems.raise_if_any()
    return examples


def _read_study(row: Row) -> _Study:
    subject, study = row.cells["subject_id"], row.cells["study_id"]
    if not (subject.isdecimal() and study.isdecimal()):
        raise RowError(f"subject_id {subject!r}, study_id {study!r}: not numbers")
    return subject, study


def _place(folder: Path, study: _Study) -> Path:
    subject, number = study
    return folder / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{number}"


def _read_labels(table: Path, problems: Problems) -> dict[_Study, dict[str, Polarity]]:
    labels: dict[_Study, dict[str, Polarity]] = {}
    for row in read_rows(table, ("subject_id", "study_id", *LABELS), problems):
        try:
            labels[_read_study(row)] = read_chexpert_labels(row.cells)
        except RowError as error:
            problems.add(row.origin, str(error))
    return labels


def _read_splits(table: Path, problems: Problems) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for row in read_rows(table, ("dicom_id", "split"), problems):
        name, split = row.cells["dicom_id"], row.cells["split"]
        if split in _SPLITS:
            splits[name] = _SPLITS[split]
        else:
            problems.add(row.origin, f"split: {split!r}; allowed are {', '.join(_SPLITS)}")
    return splits


def _read_report(reports: Path, study: _Study) -> str | None:
    path = _place(reports, study).with_suffix(".txt")
    try:
        return read_sections(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RowError(f"report missing or unreadable: {path}") from error

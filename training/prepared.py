"""A prepared data set: films at the size that the model sees, with what is known about them.

A folder of Hugging Face `datasets` (Arrow), one row a film, that pretraining, SFT and GRPO read.
`prepare` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from datasets import Dataset, Features, Image, List, Value, concatenate_datasets
from numpy.typing import NDArray

from cxr_reason.data.phantoms import Phantom
from cxr_reason.data.releases import Example
from cxr_reason.errors import DataError
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.findings import LABELS
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.prompts import REFUSAL
from cxr_reason.training.films import Picture, render_film
from cxr_reason.training.traces import (
    Facts,
    facts_of_example,
    facts_of_phantom,
    facts_of_report,
)

PHANTOMS = "phantoms"  # as a source
UNKNOWN, ABSENT, UNCERTAIN, PRESENT = -1, 0, 1, 2
MARKS_SIDE = 64
_STATES = {"absent": ABSENT, "uncertain": UNCERTAIN, "present": PRESENT}

FEATURES = Features(
    {
        "image": Image(),
        # One of 0 absent, 1 uncertain, 2 present, -1 unknown for each label of `findings.LABELS`.
        "states": List(Value("int8"), length=len(LABELS)),
        # Where the present findings are: uint16 `[MARKS_SIDE, MARKS_SIDE]` over the film, bit k for
        # label k. Empty where that is not known.
        "marks": Value("binary"),
        # `Facts` as JSON; empty where the trace is fixed.
        "facts": Value("string"),
        "trace": Value("string"),
        "patient": Value("string"),
        "source": Value("string"),
    }
)


def row_of_phantom(phantom: Phantom, budget: PixelBudget) -> dict[str, Any]:
    """Return the row of a synthetic film."""
    return _row(
        render_film(phantom.pixels, phantom.display_table, budget),
        facts_of_phantom(phantom),
        marks=_shrink(phantom.marks).tobytes(),
        patient=f"phantom/{phantom.seed}",
        source=PHANTOMS,
    )


def row_of_refusal(picture: Picture, name: str) -> dict[str, Any]:
    """Return the row of a picture that is not a chest film."""
    return _row(picture, None, trace=REFUSAL, patient=name, source="distractors")


def _shrink(marks: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return coarser marks: a cell has the bits of all the pixels in it."""
    for axis in (0, 1):
        edges = np.arange(MARKS_SIDE) * marks.shape[axis] // MARKS_SIDE
        marks = np.bitwise_or.reduceat(marks, edges, axis=axis)
    return marks


def read_marks(marks: bytes) -> NDArray[np.uint16]:
    """Return the marks of a row, `[MARKS_SIDE, MARKS_SIDE]`."""
    return np.frombuffer(marks, dtype=np.uint16).reshape(MARKS_SIDE, MARKS_SIDE)


def row_of_example(example: Example, budget: PixelBudget) -> dict[str, Any]:
    """Return the row of an example with a film; its labels, or else its report, say what is there.

    Raises:
        DataError: The example has no film, or neither labels nor report nor a fixed trace.
    """
    if example.film is None:
        raise DataError(f"{example.origin}: has no film")
    film = decode_radiograph(example.film.read_bytes())
    return _row(
        render_film(film.pixels, film.display_table, budget, film.pixel_aspect),
        None if example.trace == REFUSAL else facts_of(example),
        trace=example.trace or "",
        patient=example.patient,
        source=example.source,
    )


def facts_of(example: Example) -> Facts:
    """Return what labels and boxes say of an example, or else its report.

    Raises:
        DataError: It has neither.
    """
    if example.labels or example.boxes:
        return facts_of_example(example)
    if example.report is None:
        raise DataError(f"{example.origin}: has neither labels nor a report")
    return facts_of_report(example.report)


def _row(
    picture: Picture,
    facts: Facts | None,
    *,
    patient: str,
    source: str,
    trace: str = "",
    marks: bytes = b"",
) -> dict[str, Any]:
    states = facts.states if facts else {}
    return {
        "image": picture,
        "states": [_STATES[states[name]] if name in states else UNKNOWN for name in LABELS],
        "marks": marks,
        "facts": json.dumps(asdict(facts)) if facts else "",
        "trace": trace,
        "patient": patient,
        "source": source,
    }


def write_rows(rows: Iterable[dict[str, Any]], folder: Path) -> Dataset:
    """Write a prepared data set and return it."""
    with TemporaryDirectory(dir=folder.parent) as cache:
        # `rows` is read once: it has no fingerprint of its own.
        made = Dataset.from_generator(
            lambda: iter(rows), features=FEATURES, cache_dir=cache, fingerprint=folder.name
        )
        made.save_to_disk(folder)
    return load_prepared([folder])


def load_prepared(folders: Iterable[str | Path]) -> Dataset:
    """Open prepared data sets as one.

    Raises:
        DataError: A folder is not a prepared data set.
    """
    parts = []
    for folder in map(Path, folders):
        if not (folder / "dataset_info.json").is_file():
            raise DataError(f"{folder.name}: not a prepared data set; make one with `prepare`")
        parts.append(Dataset.load_from_disk(folder))
    return concatenate_datasets(parts)

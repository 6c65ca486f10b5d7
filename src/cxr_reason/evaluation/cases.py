"""What is evaluated: films with their known labels, from phantoms or a public data set."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from cxr_reason.data.phantoms import Phantom, encode_dicom, generate_many, phantom_seeds
from cxr_reason.data.phantoms.sets import TEST_FILMS
from cxr_reason.data.releases import (
    Box,
    Example,
    Split,
    load_release,
)
from cxr_reason.errors import BadRequestError, DataError, UnreadableImageError
from cxr_reason.findings import LABELS
from cxr_reason.statements import Polarity

PHANTOMS = "phantoms"

_SPLITS: tuple[Split, ...] = get_args(Split)
_AGE_BANDS = {"18-39": "<40", "40-64": "40-64", "65+": "≥65"}
_FEW = 32  # making so few phantoms takes less time than starting processes


@dataclass(frozen=True)
class Case:
    """One film and what is known about it.

    Attributes:
        load: Returns the bytes of its file.
        labels: State by label; a label that is not here is unknown, which is not absent.
        boxes: Rectangles around findings; empty says nothing about the findings.
        sex: "F", "M" or None.
        age_band: "<40", "40-64", "≥65" (years) or None.
        view: "AP", "PA" or None.
    """

    load: Callable[[], bytes]
    labels: Mapping[str, Polarity]
    boxes: tuple[Box, ...] = ()
    sex: str | None = None
    age_band: str | None = None
    view: str | None = None


@dataclass(frozen=True)
class DataSource:
    """Where the films come from.

    Attributes:
        folder: Of a release; None for phantoms.
        split: Part of it.
    """

    folder: Path | None
    split: Split

    @property
    def name(self) -> str:
        """Name for reports, without a path."""
        return f"{PHANTOMS if self.folder is None else self.folder.name}:{self.split}"


def parse_source(text: str) -> DataSource:
    """Read `phantoms`, a folder, or either with `:SPLIT`; the split is `test` unless given.

    Raises:
        BadRequestError: Neither `phantoms` nor a folder, or an unknown split.
    """
    name, _, split = text.rpartition(":")
    if not name or "/" in split:
        name, split = text, "test"
    if split not in _SPLITS:
        raise BadRequestError(f"data: split {split!r}; must be one of {', '.join(_SPLITS)}")
    if name == PHANTOMS:
        return DataSource(None, split)
    if not (name and Path(name).expanduser().is_dir()):
        raise BadRequestError(
            f"data: {name!r} is neither {PHANTOMS!r} nor a folder; give {PHANTOMS}, the folder of "
            "a release, or one of them followed by :train, :validation or :test"
        )
    return DataSource(Path(name).expanduser(), split)


def load_cases(
    source: DataSource,
    limit: int | None,
    *,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Case]:
    """Load a data source.

    Phantoms are made at 320 pixels, and their files (0.2 MB each) are kept in memory.

    Args:
        source: What to load.
        limit: Most films: of phantoms the first, of a release a random choice in its order.
        seed: Of that choice.
        progress: Called with the films that are ready and all of them.

    Raises:
        DataError: Not the folder of a known release, no such split, or bad data in it.
    """
    if source.folder is not None:
        return _load_release(source.folder, source.split, limit, seed)
    num_films = TEST_FILMS if limit is None else limit
    cases = []
    seeds = phantom_seeds(source.split, num_films)
    for phantom in generate_many(seeds, num_workers=1 if num_films <= _FEW else None):
        cases.append(case_of_phantom(phantom))
        progress(len(cases), num_films)
    return cases


def case_of_phantom(phantom: Phantom) -> Case:
    """Return a phantom as a case; a label's boxes are those of all that it rests on."""
    height, width = phantom.pixels.shape
    boxes = []
    for label in LABELS:
        for finding in phantom.findings_of(label):
            x0, y0, x1, y1 = finding.box
            boxes.append(Box(label, x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height))
    film = encode_dicom(phantom)
    return Case(
        load=lambda: film,
        labels=phantom.labels,
        boxes=tuple(boxes),
        sex=phantom.sex,
        age_band=_AGE_BANDS[phantom.age_band],
        view=phantom.view,
    )


def _load_release(folder: Path, split: Split, limit: int | None, seed: int) -> list[Case]:
    examples = [example for example in load_release(folder) if example.film is not None]
    splits = sorted({str(example.split) for example in examples if example.split is not None})
    if split not in splits:
        raise DataError(
            f"data: this release has no split {split!r}; it has {', '.join(splits) or 'none'}: "
            f"give the folder followed by :{splits[-1] if splits else 'SPLIT'}"
        )
    chosen: Sequence[Example] = [example for example in examples if example.split == split]
    if limit is not None and limit < len(chosen):
        indices = random.Random(seed).sample(range(len(chosen)), limit)
        chosen = [chosen[index] for index in sorted(indices)]
    return [_case_of_example(example) for example in chosen]


def _case_of_example(example: Example) -> Case:
    assert example.film is not None
    return Case(
        load=partial(_read_file, example.film),
        labels=example.labels,
        boxes=example.boxes,
        sex=example.sex,
        age_band=None if example.age is None else _age_band(example.age),
        view=example.view,
    )


def _age_band(age_years: int) -> str:
    return "<40" if age_years < 40 else "40-64" if age_years < 65 else "≥65"


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"image: cannot be read: {error.strerror}") from error

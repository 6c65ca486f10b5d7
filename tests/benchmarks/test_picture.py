"""The table of `film/picture.py` can be made again, and its benchmark counts what it says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_reason.benchmarks import picture, picture_fit
from cxr_reason.data.phantoms import phantom_seeds
from cxr_reason.film.picture import CELLS, rank_cells


@pytest.fixture(scope="module")
def phantoms() -> list[np.ndarray]:
    return picture_fit.draw_phantoms(phantom_seeds("validation", 24))


def test_a_fitted_table_tells_upright_from_turned_and_reversed(phantoms: list[np.ndarray]) -> None:
    table = picture_fit.fit(phantoms[:16])
    assert table.shape == (CELLS, CELLS)
    assert np.array_equal(table, table[:, ::-1])
    for film in phantoms[16:]:
        ranked = rank_cells(film)
        scores = [np.sum(np.rot90(ranked, turn) * table) for turn in range(4)]
        assert np.argmax(np.abs(scores)) == 0
        assert scores[0] > 0


def test_only_groups_with_odd_numbers_are_measured() -> None:
    assert picture_fit.is_for_fit("nih:76")
    assert not picture_fit.is_for_fit("nih:75")


def test_pictures_of_a_set_are_read(tmp_path: Path, phantoms: list[np.ndarray]) -> None:
    gray = np.rint(phantoms[0] * 255).astype(np.uint8)
    Image.fromarray(gray).save(tmp_path / "film.png")
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "set", "group_id", "quality_flags"])
        rows.writerow(["film.png", "nih_diverse", "nih:1", ""])
        rows.writerow(["missing.png", "another", "x:2", ""])
    [(group, flags, read)] = picture_fit.read_pictures(tmp_path, *picture_fit.CHEST)
    assert (group, flags, read.shape) == ("nih:1", "", gray.shape)


def test_each_case_is_counted(phantoms: list[np.ndarray]) -> None:
    rows = {row["case"]: row for row in picture.measure("few", phantoms[:4])}
    assert len(rows) == len(picture.CASES)
    assert rows["few: turned by 180"]["ours"] == 100.0
    assert rows["few: window beside all pixels"]["flags"]["blank"] == 100.0
    assert rows["few: upright"]["flags"]["looks_turned"] == 0.0

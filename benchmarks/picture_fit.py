"""The table by which `film/picture.py` tells how a film lies: fitted, and printed to be copied.

    python -m cxr_reason.benchmarks.picture_fit --films FOLDER

`FOLDER` has `manifest.csv` (columns path, set, group_id, quality_flags) and the films of NIH
ChestX-ray14 that it names. Patients with even numbers are fitted, with as many phantoms; those
with odd numbers are left for `benchmarks/picture.py`.

A film has eight readings: four quarter turns, each as it is and with its gray values reversed. The
table's product with the film's ranked cells is one logit for each; the table is the maximum of the
likelihood that the reading as it is wins (a conditional logit), with a small penalty on its size.
It is the same on both sides of the midline, since a mirrored film cannot be told from a film.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_reason.data.phantoms import make_phantom, phantom_seeds
from cxr_reason.film.picture import CELLS, rank_cells
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.kernels.preprocess.reference import unpatchify
from cxr_reason.reader.encoder import FilmPreprocessor

Floats = NDArray[np.float64]
Picture = NDArray[np.float32]

BUDGET = PixelBudget(128 * 128, 224 * 224)
PENALTY = 1e-3
PHANTOM_PX = 256
_MAX_CUT = 0.15  # of a side
_NEWTON_STEPS = 30


CHEST = ("nih_diverse", "nih_pneumonia")


def read_pictures(folder: Path, *sets: str) -> list[tuple[str, str, Picture]]:
    """Return group, quality flags and picture of the films in some sets of a manifest.

    Args:
        folder: Has `manifest.csv`.
        sets: Values of the column `set`.
    """
    preprocess = FilmPreprocessor(BUDGET)
    pictures = []
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["set"] in sets:
                film = preprocess((folder / row["path"]).read_bytes())
                picture = unpatchify(film.patches, film.grid)
                pictures.append((row["group_id"], row["quality_flags"], picture))
    return pictures


def is_for_fit(group: str) -> bool:
    """Return whether a group such as "nih:75" belongs to the half that is fitted."""
    return int(group.rpartition(":")[2]) % 2 == 0


def draw_phantoms(seeds: range) -> list[Picture]:
    """Return phantoms as the model sees them."""
    preprocess = FilmPreprocessor(BUDGET)
    pictures = []
    for seed in seeds:
        phantom = make_phantom(seed, PHANTOM_PX)
        pictures.append(unpatchify(*preprocess.resize(phantom.pixels, phantom.display_table)))
    return pictures


def cut(picture: Picture, rng: np.random.Generator, max_cut: float = _MAX_CUT) -> Picture:
    """Return the picture with up to `max_cut` of a side cut off at each edge."""
    height, width = picture.shape
    top, bottom = (rng.uniform(0.0, max_cut, 2) * height).astype(int)
    left, right = (rng.uniform(0.0, max_cut, 2) * width).astype(int)
    return picture[top : height - bottom, left : width - right]


def frame(picture: Picture, rng: np.random.Generator, max_cut: float = _MAX_CUT) -> Picture:
    """Return the picture inside a black or white frame, as shutters leave it."""
    height, width = picture.shape
    top, bottom = (rng.uniform(0.0, max_cut, 2) * height).astype(int)
    left, right = (rng.uniform(0.0, max_cut, 2) * width).astype(int)
    # White is rare: only where a shutter is rendered before an inversion.
    value = float(rng.random() < 0.2)
    return np.pad(picture, ((top, bottom), (left, right)), constant_values=value)


def fit(pictures: list[Picture]) -> Floats:
    """Return the table, float64 `[CELLS, CELLS]`, by Newton's method."""
    half = CELLS // 2
    ranked = np.stack([rank_cells(picture) for picture in pictures])
    readings = np.stack(
        [sign * np.rot90(ranked, turn, (1, 2)) for sign in (1, -1) for turn in range(4)], axis=1
    )
    folded = readings[..., :half] + readings[..., : -half - 1 : -1]
    logit_of = folded.reshape(*folded.shape[:2], -1)
    weights = np.zeros(logit_of.shape[2])
    for _ in range(_NEWTON_STEPS):
        logits = logit_of @ weights
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        mean = np.einsum("nk,nkd->nd", shares, logit_of)
        # Both halves of the table are penalised.
        gradient = (mean - logit_of[:, 0]).mean(0) + 4.0 * PENALTY * weights
        spread = np.einsum("nk,nkd,nke->de", shares, logit_of, logit_of) - mean.T @ mean
        hessian = spread / len(ranked) + 4.0 * PENALTY * np.eye(len(weights))
        weights -= np.linalg.solve(hessian, gradient)
    table = weights.reshape(CELLS, half)
    return np.concatenate([table, table[:, ::-1]], axis=1)


def main() -> None:
    """Fit, and print the left half of the table in hundredths."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--films", type=Path, required=True)
    arguments = parser.parse_args()
    rng = np.random.Generator(np.random.Philox(0))
    films = [
        picture
        for group, flags, picture in read_pictures(arguments.films, *CHEST)
        if is_for_fit(group) and not flags
    ]
    pictures = films + draw_phantoms(phantom_seeds("train", len(films)))
    varied = [change(picture, rng) for change in (cut, frame) for picture in pictures]
    for row in fit(pictures + varied)[:, : CELLS // 2]:
        print("    (" + ", ".join(str(value) for value in np.rint(row * 100).astype(int)) + "),")


if __name__ == "__main__":
    main()

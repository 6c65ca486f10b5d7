"""What the vision tower tells of a picture: frontal chest film, or something else.

Called by `benchmarks/picture.py --engine`. The gate is fitted to the films of patients with even
numbers; those with odd numbers give the false alarms, and its directions and shrinkage were chosen
with them in view. There are no laterals in the films.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.data import get_testdata_file

from cxr_reason.benchmarks.picture_fit import CHEST, Picture, is_for_fit, read_pictures
from cxr_reason.data.phantoms import make_phantom, phantom_seeds
from cxr_reason.engine.backend import VISION
from cxr_reason.engine.base import Engine
from cxr_reason.engine.registry import load_engine
from cxr_reason.evaluation.film_gate import fit_film_gate
from cxr_reason.film.display_table import identity_table
from cxr_reason.film.picture import check_picture
from cxr_reason.reader.encoder import FilmPreprocessor
from cxr_reason.reader.film_gate import Floats, pool
from cxr_reason.training.distractors import draw_distractor

NUM_DRAWN = 200
_SIDE_PX = 256

# Damage → how it is made from an upright film.
DAMAGES: dict[str, Callable[[Picture], Picture]] = {
    "mirrored (cannot be told)": lambda picture: picture[:, ::-1],
    "turned by 90": np.rot90,
    "turned by 180": lambda picture: np.rot90(picture, 2),
    "reversed": lambda picture: 1.0 - picture,
    "a quarter of the film": lambda picture: picture[: len(picture) // 2, : len(picture) // 2],
    "the lower half": lambda picture: picture[len(picture) // 2 :],
    "one side": lambda picture: picture[:, : picture.shape[1] // 2],
}
# In pydicom's package: a tibia, slices of CT and MR.
OTHER_RADIOGRAPHS = ("RG3_UNCR.dcm", "CT_small.dcm", "MR_small.dcm")


def measure(engine_dir: Path, films: Path, dicoms: Path | None) -> list[dict[str, Any]]:
    """Print and return AUROC and the share outside, at the threshold for 1 % of frontal films.

    Args:
        engine_dir: An engine.
        films: See `benchmarks/picture_fit.py`.
        dicoms: Folder of DICOM files that are no frontal chest films, or None.
    """
    with load_engine(engine_dir, parts={VISION}) as engine:
        encode = _Encoder(engine)
        frontal = [
            (is_for_fit(group), picture)
            for group, flags, picture in read_pictures(films, *CHEST)
            if not flags and not check_picture(picture)
        ]
        # Once more through the preprocessing, as damaged pictures are, so that they are alike.
        known = encode(picture for is_fitted, picture in frontal if is_fitted)
        unseen = [picture for is_fitted, picture in frontal if not is_fitted]
        gate = fit_film_gate(known, engine.manifest, "even patients")
        upright = gate.distances(encode(unseen))
        groups = {
            "upright films of other patients": upright,
            **{
                f"films, {name}": gate.distances(encode(damage(picture) for picture in unseen[::3]))
                for name, damage in DAMAGES.items()
            },
            **{
                name: gate.distances(encode(one for _, _, one in read_pictures(films, name)))
                for name in ("notchest_ct_mri", "notchest_microscopy", "notchest_photos")
            },
            "drawn pictures (training/distractors.py)": gate.distances(
                encode(draw_distractor(seed, _SIDE_PX) / 255.0 for seed in range(NUM_DRAWN))
            ),
            "phantoms: frontal, but drawn": gate.distances(encode(_draw_phantoms())),
            "hip, tibia, breast, CT, MR": gate.distances(encode(_read_others(dicoms))),
        }
    return [_row(name, far, upright, gate.threshold) for name, far in groups.items()]


class _Encoder:
    """Pictures → pooled visual tokens."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._preprocess = FilmPreprocessor.for_engine(engine.manifest)
        self._table = identity_table(16)

    def __call__(self, pictures: Iterable[NDArray[Any]]) -> Floats:
        return np.array([self._encode(picture) for picture in pictures])

    def _encode(self, picture: NDArray[Any]) -> Floats:
        pixels = np.ascontiguousarray(np.rint(np.clip(picture, 0.0, 1.0) * 65535.0), np.uint16)
        return pool(self._engine.encode(*self._preprocess.resize(pixels, self._table)).tokens)


def _draw_phantoms() -> Iterable[NDArray[Any]]:
    for seed in phantom_seeds("validation", NUM_DRAWN):
        phantom = make_phantom(seed, _SIDE_PX)
        yield phantom.display_table[phantom.pixels]


def _read_others(dicoms: Path | None) -> Iterable[NDArray[Any]]:
    """Yield radiographs that the header would have refused, stretched to their own range."""
    files = [get_testdata_file(name, download=False) for name in OTHER_RADIOGRAPHS]
    paths = [Path(file) for file in files if isinstance(file, str)]
    for path in paths + (sorted(dicoms.glob("*.dcm")) if dicoms is not None else []):
        dataset = dcmread(path)
        try:
            pixels = dataset.pixel_array.astype(np.float64)
        except RuntimeError:  # no decoder for this syntax; its twin in another one is there
            continue
        low, high = np.quantile(pixels, (0.005, 0.995))
        shown = np.clip((pixels - low) / (high - low), 0.0, 1.0)
        yield 1.0 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


def _row(name: str, far: Floats, upright: Floats, threshold: float) -> dict[str, Any]:
    share = 100.0 * float(np.mean(far > threshold))
    # Pairs of an upright film and another picture in which the other lies farther out.
    order = np.searchsorted(np.sort(upright), far) / len(upright)
    print(f"{name:60} {share:6.2f} % outside   AUROC {order.mean():.3f}   of {len(far)}")
    return {
        "case": f"film gate, {name}",
        "metric": "share outside at the threshold for 1 % of frontal films",
        "unit": "% of pictures",
        "ours": round(share, 2),
        "auroc": round(float(order.mean()), 3),
        "pictures": len(far),
        "runs": 1,
    }

"""What the look at the picture catches and misses, on films with known damage.

    python -m cxr_reason.benchmarks.picture --films FOLDER [--engine DIR] [--dicom FOLDER]
        [--output FILE]

`FOLDER` is that of `benchmarks/picture_fit.py`; only patients that its table was not fitted to are
measured, and phantoms of the validation set. With an engine, `benchmarks/film_gate.py` as well. The
last line is JSON.

The numbers of the table were not fitted to these films, but all thresholds, the margin among them,
and the table's form were chosen with them in view: the shares on NIH's films are a little too good.
Films of other archives were not there to be measured, but for two.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_reason.benchmarks import film_gate
from cxr_reason.benchmarks.picture_fit import (
    CHEST,
    cut,
    draw_phantoms,
    frame,
    is_for_fit,
    read_pictures,
)
from cxr_reason.data.phantoms import phantom_seeds
from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.evaluation.result_line import describe_machine, make_report
from cxr_reason.film.picture import check_picture

PACKAGES = ("numpy", "pillow")
NUM_PHANTOMS = 300
FLAGS = ("blank", "low_contrast", "clipped", "looks_negative", "looks_turned")
NOT_CHEST = ("notchest_ct_mri", "notchest_microscopy", "notchest_photos")

Picture = NDArray[np.float32]
Damage = Callable[[Picture, np.random.Generator], Picture]


def _window(center: float | None, width: float) -> Damage:
    """Return a window in shares of the gray scale; no center: the film's median."""

    def show(picture: Picture, _: np.random.Generator) -> Picture:
        middle = float(np.median(picture)) if center is None else center
        return np.clip((picture - middle) / width + 0.5, 0.0, 1.0, dtype=np.float32)

    return show


def _squeeze(share: float) -> Damage:
    """Return one that leaves a share of the gray scale, in 8 bits."""
    return lambda picture, _: np.rint(picture * np.float32(255.0 * share)) / np.float32(255.0)


# Case → the flag that it should have, None for none, and how it is made.
CASES: dict[str, tuple[str | None, Damage]] = {
    "upright": (None, lambda picture, _: picture),
    "upright, up to 20 % cut off at each edge": (None, lambda picture, rng: cut(picture, rng, 0.2)),
    "upright, framed by shutters up to 20 %": (None, lambda picture, rng: frame(picture, rng, 0.2)),
    "mirrored (cannot be told)": (None, lambda picture, _: picture[:, ::-1]),
    "turned by 90": ("looks_turned", lambda picture, _: np.rot90(picture)),
    "turned by 180": ("looks_turned", lambda picture, _: np.rot90(picture, 2)),
    "turned by 270": ("looks_turned", lambda picture, _: np.rot90(picture, 3)),
    "turned by 90 and mirrored": ("looks_turned", lambda picture, _: picture.T),
    "turned by 180, up to 20 % cut off": (
        "looks_turned",
        lambda picture, rng: np.rot90(cut(picture, rng, 0.2), 2),
    ),
    "reversed": ("looks_negative", lambda picture, _: 1.0 - picture),
    "reversed, up to 20 % cut off": (
        "looks_negative",
        lambda picture, rng: 1.0 - cut(picture, rng, 0.2),
    ),
    "reversed and turned by 90: negative": (
        "looks_negative",
        lambda picture, _: 1.0 - np.rot90(picture),
    ),
    "reversed and turned by 90: turned": (
        "looks_turned",
        lambda picture, _: 1.0 - np.rot90(picture),
    ),
    "window of 1/2 the range": ("clipped", _window(None, 0.5)),
    "window of 1/3": ("clipped", _window(None, 1 / 3)),
    "window of 1/5": ("clipped", _window(None, 0.2)),
    "window of 1/2, too low": ("clipped", _window(0.25, 0.5)),
    "window of 1/2, too high": ("clipped", _window(0.75, 0.5)),
    "1/2 of the gray scale used": ("low_contrast", _squeeze(0.5)),
    "1/3 of the gray scale used": ("low_contrast", _squeeze(1 / 3)),
    "1/4 of the gray scale used": ("low_contrast", _squeeze(0.25)),
    "1/16 of the gray scale used": ("low_contrast", _squeeze(1 / 16)),
    "window beside all pixels": ("blank", lambda picture, _: np.zeros_like(picture)),
    "1/256 of the gray scale used": ("blank", _squeeze(1 / 256)),
}


def find_flags(picture: Picture) -> tuple[str, ...]:
    """Return the flags of a picture, "blank" where it is refused."""
    try:
        return check_picture(picture)
    except UnsupportedObjectError:
        return ("blank",)


def measure(name: str, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """Print and return the shares of flags in each case."""
    results = []
    for case, (wanted, damage) in CASES.items():
        rng = np.random.Generator(np.random.Philox(1))
        results.append(_count(f"{name}: {case}", wanted, [damage(one, rng) for one in pictures]))
    return results


def _count(case: str, wanted: str | None, pictures: Sequence[Picture]) -> dict[str, Any]:
    counts = Counter(flag for picture in pictures for flag in find_flags(picture))
    shares = {flag: 100.0 * counts[flag] / len(pictures) for flag in FLAGS}
    row = "  ".join(f"{shares[flag]:6.2f}" for flag in FLAGS)
    print(f"{case:60} {row}   {wanted or ''}")
    return {
        "case": case,
        "metric": f"share with {wanted}" if wanted else "share with a flag, by flag",
        "unit": "% of pictures",
        "ours": round(shares[wanted], 2) if wanted else None,
        "flags": {flag: round(share, 2) for flag, share in shares.items()},
        "pictures": len(pictures),
        "runs": 1,
    }


def main() -> None:
    """Measure, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--engine", type=Path, help="measure the film gate with this engine")
    parser.add_argument("--dicom", type=Path, help="DICOM files that are no chest films, for it")
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    arguments = parser.parse_args()
    films = [
        picture
        for group, flags, picture in read_pictures(arguments.films, *CHEST)
        if not is_for_fit(group) and not flags
    ]
    print(describe_machine())
    print(
        f"{'% of the pictures with each flag':60} {'  '.join(flag[-6:] for flag in FLAGS)}   right"
    )
    results = measure(f"{len(films)} films of NIH", films)
    phantoms = draw_phantoms(phantom_seeds("validation", NUM_PHANTOMS))
    results += measure(f"{NUM_PHANTOMS} phantoms", phantoms)
    for name in NOT_CHEST:
        pictures = [one for _, _, one in read_pictures(arguments.films, name)]
        if pictures:
            results.append(_count(name, None, pictures))
    if arguments.engine is not None:
        results += film_gate.measure(arguments.engine, arguments.films, arguments.dicom)
    report = make_report("picture", PACKAGES, results)
    if arguments.output is not None:
        arguments.output.write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()

"""Is it a frontal chest film at all, as the vision tower sees it?

The mean of a film's visual tokens is one point; frontal films of the kind that the user has lie in
a cloud, and what is something else lies outside. The file that describes the cloud is made by
`cxr-reason calibrate --film-gate` (`evaluation/film_gate.py`) and holds for one checkpoint and one
pixel budget: the same films at three quarters of the side lie outside.
Mahalanobis distance: Lee et al. 2018, arXiv 1807.03888.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_reason.engine.artifact import Manifest
from cxr_reason.errors import BadRequestError

NOT_FRONTAL_CHEST = "not_frontal_chest"
ARRAYS = ("mean", "directions", "variances")

# An array alone, which NumPy reads too, is no context manager: AttributeError or TypeError.
_UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError, EOFError),
    zipfile.BadZipFile,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FilmGate:
    """A cloud of frontal films.

    Attributes:
        mean: Its middle, float64 `[hidden]`.
        directions: Orthonormal rows in which it spreads most, float64 `[k, hidden]`.
        variances: Along each of them, float64 `[k]`, over 0.
        rest_variance: Along any other direction, over 0.
        threshold: Largest squared distance of a frontal film.
        false_alarm_rate: Share of frontal films that are farther out.
        checkpoint_digest: Of the checkpoint whose visual tokens these are.
        max_pixels: Of the engine's pixel budget.
        source: The films that it was made of.
    """

    mean: Floats
    directions: Floats
    variances: Floats
    rest_variance: float
    threshold: float
    false_alarm_rate: float
    checkpoint_digest: str
    max_pixels: int
    source: str

    def distances(self, pooled: Floats) -> Floats:
        """Return squared distances from the middle, float64 `[n]`.

        Args:
            pooled: `pool` of n films, `[n, hidden]`.
        """
        offset = pooled - self.mean
        along = offset @ self.directions.T
        rest = np.maximum((offset**2).sum(1) - (along**2).sum(1), 0.0)
        distance: Floats = (along**2 / self.variances).sum(1) + rest / self.rest_variance
        return distance

    def is_outside(self, tokens: NDArray[np.float32]) -> bool:
        """Return whether a film is farther out than the threshold.

        Args:
            tokens: Visual tokens, float32 `[n, hidden]`.
        """
        return not self.distances(pool(tokens)[None])[0] <= self.threshold

    def check_engine(self, manifest: Manifest) -> None:
        """Check that an engine's visual tokens are those of this gate.

        Raises:
            BadRequestError: Another checkpoint, or another pixel budget.
        """
        ours = (self.checkpoint_digest, self.max_pixels)
        if ours != (manifest.checkpoint_digest, manifest.max_pixels):
            raise BadRequestError(
                f"film gate: made with checkpoint {self.checkpoint_digest[:12]} and "
                f"{self.max_pixels} pixels, and the engine has "
                f"{manifest.checkpoint_digest[:12]} and {manifest.max_pixels}; make one for it "
                "with `cxr-reason calibrate --film-gate`",
                param="film_gate",
            )


def pool(tokens: NDArray[np.float32]) -> Floats:
    """Return the mean of visual tokens `[n, hidden]`, float64 `[hidden]`."""
    mean: Floats = tokens.mean(axis=0, dtype=np.float64)
    return mean


def write_film_gate(gate: FilmGate, path: Path) -> None:
    """Write a file for `read_film_gate`.

    Raises:
        BadRequestError: The file cannot be written.
    """
    fields = {name: value for name, value in vars(gate).items() if name not in ARRAYS}
    arrays = {name: getattr(gate, name).astype(np.float32) for name in ARRAYS}
    try:
        with path.open("wb") as file:
            np.savez(file, fields=np.array(json.dumps(fields)), **arrays)
    except OSError as error:
        raise BadRequestError(
            f"film gate {path.name}: cannot be written ({error.strerror})", param="film_gate"
        ) from error


def read_film_gate(path: Path) -> FilmGate:
    """Read a film gate.

    Raises:
        BadRequestError: Unreadable, or not a film gate.
    """
    try:
        # Opened here: NumPy leaves a damaged archive open.
        with path.open("rb") as data, np.load(data, allow_pickle=False) as file:
            fields = json.loads(str(file["fields"]))
            arrays = {name: file[name].astype(np.float64) for name in ARRAYS}
        gate = FilmGate(**arrays, **fields)
        is_whole = (
            gate.directions.shape == (len(gate.variances), len(gate.mean))
            and all(np.isfinite(array).all() for array in arrays.values())
            and min(*gate.variances, gate.rest_variance, gate.threshold) > 0.0
            and isinstance(gate.checkpoint_digest, str)
            and isinstance(gate.max_pixels, int)
        )
    except _UNREADABLE as error:
        raise _not_a_gate(path) from error
    if not is_whole:
        raise _not_a_gate(path)
    return gate


def _not_a_gate(path: Path) -> BadRequestError:
    return BadRequestError(
        f"film gate {path.name}: not a file of `cxr-reason calibrate --film-gate`; make one for "
        "this engine",
        param="film_gate",
    )

"""Frontal films → the cloud of their visual tokens, by which a reader flags what is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from cxr_reason.engine.artifact import Manifest
from cxr_reason.engine.base import Engine
from cxr_reason.errors import DataError
from cxr_reason.evaluation.cases import Case
from cxr_reason.reader.encoder import FilmEncoder
from cxr_reason.reader.film_gate import FilmGate, Floats, pool

FALSE_ALARM_RATE = 0.01
MIN_FILMS = 200  # with fewer, a rate of 1 % is no more than a film or two
_MAX_DIRECTIONS = 64  # chosen by measurement among 16 to 512: `benchmarks/film_gate.py`
_FILMS_PER_DIRECTION = 4
_SHRINKAGE = 0.003  # of the mean variance, added to each
_FOLDS = 5
# A film with one of these is left out: it would widen the cloud.
_SPOILT = {"looks_negative", "looks_turned", "low_contrast", "clipped"}


def encode_films(
    engine: Engine,
    cases: Sequence[Case],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Floats:
    """Return the pooled visual tokens of films, float64 `[n, hidden]`.

    Films that the look at the picture flags are left out.

    Args:
        engine: Loaded with its part "vision".
        cases: All frontal.
        progress: Called with the films that are ready and all of them.

    Raises:
        InputError: A film cannot be used.
    """
    encode = FilmEncoder(engine)
    pooled = []
    for done, case in enumerate(cases, start=1):
        film = encode(case.load())
        if not _SPOILT & set(film.info.flags):
            pooled.append(pool(film.visual.tokens))
        progress(done, len(cases))
    return np.array(pooled)


def fit_film_gate(
    pooled: Floats, manifest: Manifest, source: str, rate: float = FALSE_ALARM_RATE
) -> FilmGate:
    """Describe the cloud and choose the threshold.

    The threshold is a quantile of distances to clouds that the film had no part in (five folds):
    films lie nearer to a cloud that was fitted to them than others do.

    Args:
        pooled: `encode_films`, float64 `[n, hidden]`.
        manifest: Of the engine that encoded them.
        source: What they are, without a path.
        rate: Share of frontal films that may be flagged, over 0 and under 1.

    Raises:
        DataError: Fewer than `MIN_FILMS`.
    """
    if len(pooled) < MIN_FILMS:
        raise DataError(
            f"film gate: {len(pooled)} usable frontal films, at least {MIN_FILMS} are needed; "
            "give more, from the devices that the engine will see"
        )
    fold = np.random.Generator(np.random.Philox(0)).permutation(len(pooled)) % _FOLDS
    held_out = np.concatenate(
        [
            _describe(pooled[fold != one], 1.0, rate, manifest, source).distances(
                pooled[fold == one]
            )
            for one in range(_FOLDS)
        ]
    )
    # The distance that no more than `rate` of new films exceed, were they drawn alike.
    rank = min(len(held_out), math.ceil((len(held_out) + 1) * (1.0 - rate)))
    threshold = float(np.sort(held_out)[rank - 1])
    return _describe(pooled, threshold, rate, manifest, source)


def _describe(
    pooled: Floats, threshold: float, rate: float, manifest: Manifest, source: str
) -> FilmGate:
    mean = pooled.mean(0)
    _, scales, directions = np.linalg.svd(pooled - mean, full_matrices=False)
    variances = scales**2 / len(pooled)
    count = min(_MAX_DIRECTIONS, len(pooled) // _FILMS_PER_DIRECTION, len(variances))
    # Never 0, also where all films are one: a variance divides.
    floor = float(np.finfo(np.float32).tiny) + _SHRINKAGE * float(variances.sum()) / pooled.shape[1]
    rest = float(variances[count:].sum()) / max(1, pooled.shape[1] - count)
    return FilmGate(
        mean=mean,
        directions=directions[:count],
        variances=variances[:count] + floor,
        rest_variance=rest + floor,
        threshold=threshold,
        false_alarm_rate=rate,
        checkpoint_digest=manifest.checkpoint_digest,
        max_pixels=manifest.max_pixels,
        source=source,
    )

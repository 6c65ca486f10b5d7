"""Synthetic pictures that are not chest radiographs, to learn refusal from; seeded.

Blank fields, noise, gradients, stripes, checks and heaps of ellipses. They teach that there are
things to refuse, not what every other photograph or radiograph looks like: for that, give real
images to `prepare refusals`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cxr_reason.training.films import Picture

_Field = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def draw_distractor(seed: int, size_px: int) -> Picture:
    """Return one picture, uint8 `[size_px, size_px]`."""
    rng = np.random.Generator(np.random.Philox(seed))
    draw = _KINDS[int(rng.integers(len(_KINDS)))]
    field = draw(rng, *np.meshgrid(*[np.linspace(-1.0, 1.0, size_px)] * 2, indexing="ij"))
    if rng.random() < 0.5:
        field = field + rng.normal(0.0, rng.uniform(0.0, 0.15), field.shape)
    return np.asarray(np.rint(np.clip(field, 0.0, 1.0) * 255.0), dtype=np.uint8)


def _blank(rng: np.random.Generator, y: _Field, x: _Field) -> _Field:
    return np.full(y.shape, rng.random())


def _noise(rng: np.random.Generator, y: _Field, x: _Field) -> _Field:
    coarse = max(1, int(rng.integers(1, 16)))
    small = rng.random(tuple(-(-side // coarse) for side in y.shape))
    return np.kron(small, np.ones((coarse, coarse)))[: y.shape[0], : y.shape[1]]


def _gradient(rng: np.random.Generator, y: _Field, x: _Field) -> _Field:
    angle = rng.uniform(0.0, 2.0 * np.pi)
    return 0.5 + rng.uniform(0.1, 0.7) * (np.cos(angle) * x + np.sin(angle) * y)


def _stripes(rng: np.random.Generator, y: _Field, x: _Field) -> _Field:
    angle = rng.uniform(0.0, 2.0 * np.pi)
    waves = rng.uniform(4.0, 40.0) * (np.cos(angle) * x + np.sin(angle) * y)
    return 0.5 + 0.5 * rng.uniform(0.2, 1.0) * np.sin(waves)


def _checks(rng: np.random.Generator, y: _Field, x: _Field) -> _Field:
    count = rng.uniform(2.0, 16.0)
    odd = (np.floor(count * x) + np.floor(count * y)) % 2.0
    return rng.random() + (rng.random() - 0.5) * odd


def _ellipses(rng: np.random.Generator, y: _Field, x: _Field) -> _Field:
    field = np.full(y.shape, rng.random())
    for _ in range(int(rng.integers(2, 12))):
        across, down = rng.uniform(-1.0, 1.0, 2)
        width, height = rng.uniform(0.05, 0.6, 2)
        inside = ((x - across) / width) ** 2 + ((y - down) / height) ** 2 < 1.0
        field = np.where(inside, rng.random(), field)
    return field


_KINDS: tuple[Callable[[np.random.Generator, _Field, _Field], _Field], ...] = (
    _blank,
    _noise,
    _gradient,
    _stripes,
    _checks,
    _ellipses,
)

"""Random numbers: one independent, named stream for each part of a phantom.

A part draws from its own stream only, so switching a finding on or off changes nothing else: the
film with the finding and the film without it are a pair.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The parts that draw random numbers. A value must never change: films depend on it."""

    CASE = 0
    ANATOMY = 1
    VESSELS = 2
    TEXTURE = 3
    EXPOSURE = 4
    NOISE = 5
    PLACEMENT = 6
    GEOMETRY = 7
    ATELECTASIS = 16
    CONSOLIDATION = 17
    EDEMA = 18
    FRACTURE = 19
    LESION = 20
    OPACITY = 21
    EFFUSION = 22
    PLEURA = 23
    PNEUMONIA = 24
    PNEUMOTHORAX = 25
    DEVICES = 26
    AIRSPACE = 27
    STATES = 28
    OUTLINE = 29
    FAINTNESS = 30


def open_stream(seed: int, stream: Stream) -> np.random.Generator:
    """Return the generator of one part: Philox 4x64, keyed by seed and part (no global state)."""
    key = np.array([seed, int(stream)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))

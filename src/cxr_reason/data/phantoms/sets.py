"""The seeds of the phantom data sets, so that no test film is ever trained on.

Training takes seeds from 0 on, validation and test from far above. A film is its seed, and
`cases.DEFAULT_PREVALENCE` is part of the definition: the test set is the films of
`phantom_seeds("test", 1000)` at 320 pixels.
"""

from __future__ import annotations

from typing import Literal

from cxr_reason.errors import BadRequestError

PhantomSplit = Literal["train", "validation", "test"]

TEST_FILMS = 1_000
SET_SIZE = 1_000_000_000  # seeds of one set
FIRST_SEED: dict[PhantomSplit, int] = {
    "train": 0,
    "validation": SET_SIZE,
    "test": 2 * SET_SIZE,
}


def phantom_seeds(split: PhantomSplit, num_films: int, *, start: int = 0) -> range:
    """Return the seeds of films `start` to `start + num_films` of a set.

    Raises:
        BadRequestError: More films than the set has.
    """
    if start < 0 or num_films < 0 or start + num_films > SET_SIZE:
        raise BadRequestError(
            f"phantoms: films {start} to {start + num_films}; a set has {SET_SIZE} from 0 on"
        )
    return range(FIRST_SEED[split] + start, FIRST_SEED[split] + start + num_films)

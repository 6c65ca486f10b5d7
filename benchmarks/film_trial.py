"""One mutated film through decoding and preprocessing, and what must not be seen of it."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from cxr_reason.errors import TooLargeError, UnreadableImageError, UnsupportedObjectError
from cxr_reason.film.flags import FLAGS
from cxr_reason.film.radiograph import FilmLimits, decode_radiograph
from cxr_reason.film.render import find_gray_view
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.reader.encoder import FilmPreprocessor

ALLOWED = (UnreadableImageError, UnsupportedObjectError, TooLargeError)
_MARKS = ("canary", "^name")  # of `film_seeds.CANARY`
_LIMITS = FilmLimits(max_encoded_bytes=1 << 21, max_pixels=1e6)


class Trial(NamedTuple):
    """What became of a film.

    Attributes:
        outcome: "read", or the code of an error.
        problems: What must not happen, each with the place in the code and nothing of the film.
    """

    outcome: str
    problems: tuple[str, ...]


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def _listening() -> Iterator[list[str]]:
    records, root = _Records(), logging.getLogger()
    level = root.level
    root.addHandler(records)
    root.setLevel(logging.INFO)
    try:
        yield records.texts
    finally:
        root.removeHandler(records)
        root.setLevel(level)


def has_canary(text: str) -> bool:
    """Tell whether a text repeats the header of a seed."""
    return any(mark in text.lower() for mark in _MARKS)


def try_film(data: bytes, preprocess: bool = True) -> Trial:
    """Read a film as the server does.

    Args:
        data: Any bytes.
        preprocess: Whether to resize it too, at a small pixel budget.
    """
    problems: list[str] = []
    shown: list[str] = []
    outcome = "read"
    with warnings.catch_warnings(record=True) as warned, _listening() as logged:
        warnings.simplefilter("always")
        try:
            film = decode_radiograph(data, _LIMITS)
            shown += [film.info.to_json(), film.right_edge]
            problems += [f"unknown flag {flag}" for flag in film.info.flags if flag not in FLAGS]
            find_gray_view(film)
            if preprocess:
                resizer = FilmPreprocessor(PixelBudget(28 * 28, 56 * 56))
                resizer.resize(film.pixels, film.display_table, film.pixel_aspect)
        except ALLOWED as error:
            outcome = error.code
            shown += [str(error), repr(error)]
        except Exception as error:
            outcome = "untyped"
            problems.append(f"{type(error).__name__} at {_place(error)}")
    problems += [f"{w.category.__name__} at {w.filename}:{w.lineno}" for w in warned]
    problems += ["log record"] * bool(logged)
    texts = (*shown, *logged, *(str(warning.message) for warning in warned))
    problems += ["header text shown"] * any(map(has_canary, texts))
    return Trial(outcome, tuple(dict.fromkeys(problems)))


def _place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"

"""Statements of many texts in less time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from cxr_reason.statements import finder


@contextmanager
def searched_once() -> Iterator[None]:
    """Search each sentence for findings once, however often it is said.

    What a sentence names depends on the sentence alone, so keeping it changes no result.
    """
    search = finder._mentions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finder, "_mentions", cache(lambda sentence: tuple(search(sentence))))
        yield

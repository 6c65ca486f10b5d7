"""Keeps pydicom's warnings and log records, which quote the file, out of sight."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pydicom.config import logger

_IS_QUIET = ContextVar("_IS_QUIET", default=False)


def _keep(record: logging.LogRecord) -> bool:
    return not _IS_QUIET.get()


logger.addFilter(_keep)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Drop what pydicom says in this thread inside the block. Its other callers are heard."""
    token = _IS_QUIET.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _IS_QUIET.reset(token)

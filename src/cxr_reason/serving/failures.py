"""Errors in the form in which Triton sends them, and this package's log sent to Triton's log."""

from __future__ import annotations

import logging
from typing import Any

from cxr_reason.errors import (
    CapacityError,
    CxrError,
    InputError,
    RequestCancelledError,
    to_wire,
)


def make_triton_error(pb_utils: Any, error: CxrError) -> Any:
    """Return the `pb_utils.TritonError` that carries `error` to a client."""
    codes = pb_utils.TritonError
    if isinstance(error, InputError):
        code = codes.INVALID_ARG
    elif isinstance(error, CapacityError):
        code = codes.UNAVAILABLE
    elif isinstance(error, RequestCancelledError):
        code = codes.CANCELLED
    else:
        code = codes.INTERNAL
    return pb_utils.TritonError(to_wire(error), code)


class TritonLogHandler(logging.Handler):
    """Sends records of this package to Triton's own log.

    Args:
        pb_utils: The module `triton_python_backend_utils`.
    """

    def __init__(self, pb_utils: Any) -> None:
        super().__init__()
        self._triton = pb_utils.Logger

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record at the level of Triton that matches its own."""
        text = f"{record.name}: {self.format(record)}"
        if record.levelno >= logging.ERROR:
            self._triton.log_error(text)
        elif record.levelno >= logging.WARNING:
            self._triton.log_warn(text)
        else:
            self._triton.log_info(text)


def log_through_triton(pb_utils: Any) -> None:
    """Send this package's log of the current process to Triton's."""
    logger = logging.getLogger("cxr_reason")
    logger.handlers = [TritonLogHandler(pb_utils)]
    logger.setLevel(logging.INFO)
    logger.propagate = False

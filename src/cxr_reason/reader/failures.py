"""Exceptions of any kind → errors that a caller may see."""

from __future__ import annotations

import logging

from cxr_reason.errors import CxrError, GenerationError, describe_place

_LOGGER = logging.getLogger(__name__)


def as_cxr_error(error: Exception) -> CxrError:
    """Return one of our own errors as it is; log any other and return a general one for it."""
    if isinstance(error, CxrError):
        return error
    _LOGGER.error("internal error: %s", describe_place(error))
    return GenerationError("internal error; the log says where")

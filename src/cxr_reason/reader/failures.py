"""Exceptions of any kind → errors that a caller may see.

The log gets the place of a failure, never its message: a library's message may quote what it was
given, and that may be a prompt or a header value.
"""

from __future__ import annotations

import logging
import traceback

from cxr_reason.errors import CxrError, GenerationError

_LOGGER = logging.getLogger(__name__)


def as_cxr_error(error: Exception) -> CxrError:
    """Return one of our own errors as it is; log any other and return a general one for it."""
    if isinstance(error, CxrError):
        return error
    _LOGGER.error("internal error: %s", _describe_without_content(error))
    return GenerationError("internal error; the log says where")


def _describe_without_content(error: BaseException) -> str:
    lines = traceback.format_tb(error.__traceback__)
    description = f"{type(error).__name__}\n{''.join(lines)}"
    cause = error.__cause__ or error.__context__
    if cause is not None:
        description += f"caused by {_describe_without_content(cause)}"
    return description

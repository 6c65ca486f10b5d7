"""Errors as callers of the gateway see them: an HTTP status and OpenAI's error object.

Nothing but a message of this package goes out: no text of another library, which may quote what it
was given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from cxr_reason.errors import (
    CapacityError,
    CxrError,
    InputError,
    RequestCancelledError,
    RequestTimeoutError,
    ServerUnavailableError,
    TooLargeError,
)

_BUSY_RETRY_S = 2

# First match counts. 499 is nginx's for a caller that left.
_STATUS: tuple[tuple[type[CxrError], int], ...] = (
    (TooLargeError, 413),
    (InputError, 400),
    (CapacityError, 503),
    (ServerUnavailableError, 503),
    (RequestTimeoutError, 504),
    (RequestCancelledError, 499),
)


class ApiError(Exception):
    """An error of the HTTP service itself.

    Attributes:
        status: HTTP status.
        message: What was given, what is allowed, what to do.
        code: Short stable name.
        param: The parameter at fault, or None.
        headers: To send along.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})


def bad_request(message: str, *, param: str | None = None, code: str = "bad_request") -> ApiError:
    """Return the error for a request that its caller can put right."""
    return ApiError(400, message, code=code, param=param)


def too_large(message: str, *, param: str | None = None) -> ApiError:
    """Return the error for something over a size limit."""
    return ApiError(413, message, code=TooLargeError.code, param=param)


def busy(message: str) -> ApiError:
    """Return the error for a gateway that takes no more at the moment."""
    return ApiError(
        503, message, code=CapacityError.code, headers={"Retry-After": str(_BUSY_RETRY_S)}
    )


def too_many(wait_s: float, requests_per_minute: int) -> ApiError:
    """Return the error for a caller who asks too often."""
    return ApiError(
        429,
        f"rate limit: {requests_per_minute} requests a minute are allowed; "
        f"try again in {math.ceil(wait_s)} s",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(math.ceil(wait_s))},
    )


def as_api_error(error: Exception) -> ApiError:
    """Return the API's error for any error; a general one for errors of other libraries."""
    if isinstance(error, ApiError):
        return error
    if not isinstance(error, CxrError):
        return ApiError(500, "internal error; the gateway's log says where", code="internal")
    status = next((status for cls, status in _STATUS if isinstance(error, cls)), 500)
    if isinstance(error, CapacityError):
        return busy(error.message)
    return ApiError(status, error.message, code=error.code, param=error.param)


def error_object(error: ApiError) -> dict[str, Any]:
    """Return OpenAI's error object."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    if error.status == 429:
        kind = "rate_limit_error"
    return {
        "error": {
            "message": error.message,
            "type": kind,
            "param": error.param,
            "code": error.code,
        }
    }


def error_response(error: ApiError) -> JSONResponse:
    """Return the response for an error."""
    return JSONResponse(error_object(error), error.status, headers=error.headers)

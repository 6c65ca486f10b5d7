"""The one exception tree.

    CxrError
    ├── InputError                    the caller's input: fix it and ask again
    │   ├── UnreadableImageError      not an image, truncated, or no decoder for it
    │   ├── UnsupportedObjectError    an image, but not one frontal chest radiograph
    │   ├── TooLargeError             over a size limit
    │   ├── BadRequestError           prompt, messages or sampling settings
    │   │   └── UnknownFilmError      a film named by a digest that is not in the cache
    │   └── DataError                 a data set for training or evaluation
    ├── EngineError                   the engine could not do its work
    │   ├── CheckpointError           missing files or an unknown architecture
    │   ├── ArtifactError             an engine folder that does not match its manifest
    │   ├── CapacityError             busy: the queue is full; try again later
    │   └── GenerationError           a step of the model failed
    ├── MissingExtraError             a part of the package that is not installed
    └── ServerError                   between client and server
        ├── ServerUnavailableError    not reachable, not ready, or gone
        ├── RequestTimeoutError       no answer within the given time
        └── RequestCancelledError     the caller cancelled

Messages say what was given, what is allowed and what to do. They never hold patient data: no
header values that identify, no file names, no pixels, no prompt text. `DataError` alone names files
and rows: it is for the owner of a data set, and nothing that serves raises it.
"""

from __future__ import annotations

import re
import traceback
from typing import ClassVar


class CxrError(Exception):
    """Base of every error this package raises on purpose.

    Attributes:
        code: Short stable name, the same on both sides of the wire.
        message: What was given, what is allowed, what to do.
        param: The input at fault, by its name in the contract or among the settings, or None.
    """

    code: ClassVar[str] = "error"
    default_param: ClassVar[str | None] = None

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param or self.default_param


class InputError(CxrError):
    """The caller's input cannot be used."""

    code = "input"


class UnreadableImageError(InputError):
    """The bytes are not an image that can be decoded."""

    code = "unreadable_image"
    default_param = "image"


class UnsupportedObjectError(InputError):
    """The image can be read but is not one frontal chest radiograph."""

    code = "unsupported_object"
    default_param = "image"


class TooLargeError(InputError):
    """The film is over a size limit."""

    code = "too_large"
    default_param = "image"


class BadRequestError(InputError):
    """Prompt, messages or sampling settings are not valid."""

    code = "bad_request"


class UnknownFilmError(BadRequestError):
    """The cache does not hold, or no longer, the film of this digest; send the film itself."""

    code = "unknown_film"
    default_param = "image_digest"


class DataError(InputError):
    """A data set has missing files, corrupt rows, unknown labels or leaking splits."""

    code = "data"


class EngineError(CxrError):
    """The engine could not do its work."""

    code = "engine"


class CheckpointError(EngineError):
    """The checkpoint lacks files or has an unknown architecture."""

    code = "checkpoint"


class ArtifactError(EngineError):
    """An engine folder is incomplete, altered, or made for another version."""

    code = "artifact"


class CapacityError(EngineError):
    """The queue is full; try again later."""

    code = "busy"


class GenerationError(EngineError):
    """A step of the model failed."""

    code = "generation"


class MissingExtraError(CxrError):
    """A part of the package, named by its extra, is not installed."""

    code = "missing_extra"


class ServerError(CxrError):
    """Something between client and server failed."""

    code = "server"


class ServerUnavailableError(ServerError):
    """The server cannot be reached, is not ready, or went away."""

    code = "unavailable"


class RequestTimeoutError(ServerError):
    """No answer came within the given time."""

    code = "timeout"


class RequestCancelledError(ServerError):
    """The caller cancelled the request."""

    code = "cancelled"


_WIRE = re.compile(r"\[cxr:(?P<code>\w+)(?: (?P<param>\w+))?\] (?P<message>.*)", re.DOTALL)


def to_wire(error: CxrError) -> str:
    """Return `error` as the one line of text that Triton can carry to a client."""
    place = f" {error.param}" if error.param else ""
    return f"[cxr:{error.code}{place}] {error.message}"


def from_wire(text: str) -> CxrError:
    """Return the typed error in `text`, wherever Triton put it in its own message.

    Args:
        text: An error message from Triton, with or without a line of `to_wire` in it.

    Returns:
        The error that was sent, or `ServerError` with the whole text if it was not one of ours.
    """
    match = _WIRE.search(text)
    if match is None:
        return ServerError(text)
    classes = {cls.code: cls for cls in _subclasses(CxrError)}
    return classes.get(match["code"], ServerError)(match["message"], param=match["param"])


def describe_place(error: BaseException) -> str:
    """Return kind and place of an error and its causes, for a log; never a message.

    A library's message may quote what it was given, and that may be a prompt or a header value.
    """
    lines = traceback.format_tb(error.__traceback__)
    description = f"{type(error).__name__}\n{''.join(lines)}"
    cause = error.__cause__ or error.__context__
    return description + (f"caused by {describe_place(cause)}" if cause is not None else "")


def _subclasses(cls: type[CxrError]) -> list[type[CxrError]]:
    return [cls, *(deeper for child in cls.__subclasses__() for deeper in _subclasses(child))]

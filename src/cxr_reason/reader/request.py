"""The inputs of a request (`contract.REASON_MODEL`) → a checked request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cxr_reason.contract import (
    FILM,
    GRID,
    IMAGE,
    IMAGE_DIGEST,
    PROMPT,
    SETTING_TENSORS,
    VISUAL_TOKENS,
)
from cxr_reason.engine.base import VisualInput
from cxr_reason.errors import BadRequestError
from cxr_reason.film.info import FilmInfo
from cxr_reason.kernels.preprocess.geometry import has_whole_blocks
from cxr_reason.prompts import Message, parse_prompt
from cxr_reason.reader.film_cache import EncodedFilm
from cxr_reason.settings import ReadingSettings

# Of a tensor of shape [1] its one element, of every other the array.
Value: TypeAlias = "bytes | int | float | npt.NDArray[Any]"

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ReadRequest:
    """One request. At most one of the three ways to give a film is set.

    Attributes:
        messages: The conversation.
        settings: How the film is read.
        encoded: The film as `preprocess` and `vision` made it (the ensemble).
        image: The bytes of the film's file, or a data: URL of it.
        image_digest: SHA-256 of the file of a film that was sent before.
    """

    messages: tuple[Message, ...]
    settings: ReadingSettings
    encoded: EncodedFilm | None = None
    image: bytes | None = None
    image_digest: str | None = None

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Value]) -> ReadRequest:
        """Check the inputs of one request.

        Raises:
            BadRequestError: A value outside its range, or a film given in two ways or in half.
        """
        ways = [spec.name for spec in (IMAGE, IMAGE_DIGEST, VISUAL_TOKENS) if spec.name in inputs]
        if len(ways) > 1:
            raise BadRequestError(
                f"film: give one of {', '.join(ways)}, not several", param=ways[-1]
            )
        image = inputs.get(IMAGE.name)
        assert image is None or isinstance(image, bytes)
        return cls(
            messages=parse_prompt(as_text(inputs[PROMPT.name], PROMPT.name)),
            settings=_read_settings(inputs),
            encoded=_read_encoded(inputs),
            image=image,
            image_digest=_read_digest(inputs),
        )


def _read_settings(inputs: Mapping[str, Value]) -> ReadingSettings:
    given: dict[str, Any] = {
        name: as_text(value, name) if isinstance(value, bytes) else value
        for name, value in inputs.items()
        if name in SETTING_TENSORS
    }
    return ReadingSettings(**given)


def _read_digest(inputs: Mapping[str, Value]) -> str | None:
    if IMAGE_DIGEST.name not in inputs:
        return None
    digest = as_text(inputs[IMAGE_DIGEST.name], IMAGE_DIGEST.name)
    if not _DIGEST.fullmatch(digest):
        raise BadRequestError(
            "image_digest: must be 64 lower-case hexadecimal digits (SHA-256)",
            param=IMAGE_DIGEST.name,
        )
    return digest


def _read_encoded(inputs: Mapping[str, Value]) -> EncodedFilm | None:
    if VISUAL_TOKENS.name not in inputs:
        return None
    if GRID.name not in inputs or FILM.name not in inputs:
        raise BadRequestError(
            "film: visual_tokens need grid and film of the same film", param=VISUAL_TOKENS.name
        )
    tokens, grid = inputs[VISUAL_TOKENS.name], inputs[GRID.name]
    assert isinstance(tokens, np.ndarray)
    assert isinstance(grid, np.ndarray)
    height, width = int(grid[0]), int(grid[1])
    if not has_whole_blocks((height, width)) or len(tokens) * 4 != height * width:
        raise BadRequestError(
            f"film: grid {height} x {width} does not match {len(tokens)} visual tokens; "
            "both sides are even and four patches make one token",
            param=GRID.name,
        )
    info = FilmInfo.from_json(as_text(inputs[FILM.name], FILM.name))
    return EncodedFilm(VisualInput(tokens, (height, width)), info)


def as_text(value: Value, name: str) -> str:
    """Return a BYTES value as text.

    Raises:
        BadRequestError: The value is not UTF-8.
    """
    assert isinstance(value, bytes)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        # Without the cause: its message quotes what was sent.
        raise BadRequestError(f"{name}: must be UTF-8 text", param=name) from None


def shorten(value: np.float32) -> float:
    """Return the shortest decimal that is this value in 32 bits: 0.7, not 0.699999988079071."""
    return float(str(value))

"""What every backend offers: films in, visual tokens out; messages in, a stream of text out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxr_reason.contract import (
    DEFAULT_MAX_TOKENS,
    DEFAULT_SEED,
    DEFAULT_TEMPERATURE,
    DEFAULT_TOP_P,
)
from cxr_reason.engine.artifact import Manifest
from cxr_reason.errors import BadRequestError
from cxr_reason.prompts import Message
from cxr_reason.usage import Usage

if TYPE_CHECKING:
    from typing_extensions import Self

Array = npt.NDArray[np.float32]


class FinishReason(str, Enum):
    """Why a generation ended."""

    STOP = "stop"  # the model ended its turn
    LENGTH = "length"  # max_tokens or the context length
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen.

    Attributes:
        max_tokens: Limit of generated tokens, at least 1.
        temperature: 0 takes the most likely token; at most 2.
        top_p: Nucleus probability, over 0 up to 1.
        seed: Same seed, same text. 0 to 2^64 - 1.

    Raises:
        BadRequestError: A value outside its range.
    """

    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = DEFAULT_TEMPERATURE
    top_p: float = DEFAULT_TOP_P
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise BadRequestError(f"max_tokens: {self.max_tokens}; must be at least 1")
        if not 0.0 <= self.temperature <= 2.0:
            raise BadRequestError(f"temperature: {self.temperature}; must be from 0 to 2")
        if not 0.0 < self.top_p <= 1.0:
            raise BadRequestError(f"top_p: {self.top_p}; must be over 0 and at most 1")
        if not 0 <= self.seed < 2**64:
            raise BadRequestError("seed: must be from 0 to 2^64 - 1")


@dataclass(frozen=True)
class VisualInput:
    """A film as the decoder sees it.

    Attributes:
        tokens: Visual tokens, float32 `[grid_h * grid_w / 4, hidden]`.
        grid: Rows and columns of patches, both even.
    """

    tokens: Array
    grid: tuple[int, int]


@dataclass(frozen=True)
class GenerationRequest:
    """One request for text.

    Attributes:
        messages: The conversation; its last turn is the user's.
        visual: The film, or None for a conversation without one.
        sampling: How tokens are chosen.
        answer_format: What the answer behind `</think>` is held to: "" for nothing,
            `contract.LABEL_ANSWER`, or a JSON schema.
    """

    messages: tuple[Message, ...]
    visual: VisualInput | None = None
    sampling: SamplingParams = SamplingParams()
    answer_format: str = ""


@dataclass(frozen=True)
class TextEvent:
    """The text that one decoding step added.

    Attributes:
        text: New text only; may be empty while a character is incomplete.
        token_id: The token, or -1 in a last event that brings none (cancelled).
        finish_reason: Set in the last event only.
    """

    text: str
    token_id: int
    finish_reason: FinishReason | None = None


class Generation(ABC):
    """A request under way. Iterate for its events; the last one has a finish reason."""

    @abstractmethod
    def __iter__(self) -> Iterator[TextEvent]:
        """Yield events until the last.

        Raises:
            GenerationError: A step of the model failed.
        """

    @abstractmethod
    def cancel(self) -> None:
        """End the generation at the next step boundary and free what it holds. Idempotent."""

    @abstractmethod
    def usage(self) -> Usage:
        """Return tokens and times so far."""


class Engine(ABC):
    """A loaded engine artifact.

    Attributes:
        manifest: What the artifact says of itself.
    """

    manifest: Manifest

    @abstractmethod
    def encode(self, patches: Array, grid: tuple[int, int]) -> VisualInput:
        """Run vision tower and projector on one film.

        Args:
            patches: Gray patches, float32 `[grid_h * grid_w, 196]` in merge order, 0..1.
            grid: Rows and columns of patches, both even.

        Raises:
            BadRequestError: Shapes that do not match, or a grid over the artifact's pixel budget.
        """

    @abstractmethod
    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a request and return at once.

        Raises:
            BadRequestError: The prompt does not fit into the context, or lacks room for one token.
            CapacityError: The queue is full.
        """

    def cache_bytes(self) -> dict[str, int]:
        """Return the memory that each cache holds now, by the cache's name."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """Cancel what runs and free the models. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

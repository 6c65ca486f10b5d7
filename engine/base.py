"""What every backend offers: films in, visual tokens out; messages in, a stream of text out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxr_reason.engine.artifact import Manifest
from cxr_reason.prompts import Message
from cxr_reason.settings import TEMPERATURE_OF_ONE_TRACE, ReadingSettings, check_setting
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
    """How the next token is chosen; bounds are those of `ReadingSettings`.

    Attributes:
        max_tokens: Limit of generated tokens.
        temperature: 0 takes the most likely token.
        top_p: Nucleus probability.
        seed: Same seed, same text.

    Raises:
        BadRequestError: A value outside its range.
    """

    max_tokens: int = ReadingSettings.max_tokens
    temperature: float = TEMPERATURE_OF_ONE_TRACE
    top_p: float = ReadingSettings.top_p
    seed: int = ReadingSettings.seed

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = check_setting(entry.name, getattr(self, entry.name))
            object.__setattr__(self, entry.name, value)


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
        answer_format: What the answer after `</think>` is constrained to: "" for nothing,
            `settings.LABEL_ANSWER`, or a JSON schema.
    """

    messages: tuple[Message, ...]
    visual: VisualInput | None = None
    sampling: SamplingParams = SamplingParams()
    answer_format: str = ""


@dataclass(frozen=True)
class TokenEvent:
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
    def __iter__(self) -> Iterator[TokenEvent]:
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
        manifest: The description of the artifact.
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

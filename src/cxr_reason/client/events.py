"""What a stream brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cxr_reason.reading import Reading
from cxr_reason.trace import Section


@dataclass(frozen=True)
class TextEvent:
    """New text.

    Attributes:
        section: "reasoning", "answer", or "other" for text outside of both.
        text: New text only, without tags.
    """

    section: Section
    text: str


@dataclass(frozen=True)
class DoneEvent:
    """The end of a stream.

    Attributes:
        reading: The whole output with everything needed to audit it.
    """

    reading: Reading


Event: TypeAlias = TextEvent | DoneEvent

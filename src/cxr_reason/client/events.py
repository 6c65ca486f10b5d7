"""What a stream brings, in this order: queued, then text and findings, then done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cxr_reason.reading.audit import Finding
from cxr_reason.reading.reading import Reading
from cxr_reason.reading.trace import Section


@dataclass(frozen=True)
class QueuedEvent:
    """The request was sent; text follows when the server has a free slot.

    Attributes:
        request_id: The name under which the server knows the request.
    """

    request_id: str


@dataclass(frozen=True)
class TextEvent:
    """New text.

    The texts of one section, put together, are what the reading holds of it: tags and the white
    space around a section are left out.

    Attributes:
        section: "reasoning", "answer", or "other" for text outside of both.
        text: New text only.
    """

    section: Section
    text: str


@dataclass(frozen=True)
class FindingEvent:
    """A complete sentence of the reasoning states a finding first, or changes its status.

    Attributes:
        finding: As the reasoning so far has it: `in_answer` is False, and the evidence counts
            characters of the reasoning, as in the reading. The reading at the end may differ: it
            knows the answer and all traces.
    """

    finding: Finding


@dataclass(frozen=True)
class DoneEvent:
    """The end of a stream.

    Attributes:
        reading: The whole output with everything needed to audit it.
    """

    reading: Reading


Event: TypeAlias = QueuedEvent | TextEvent | FindingEvent | DoneEvent

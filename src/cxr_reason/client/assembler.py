"""Responses of the server → events for the caller."""

from __future__ import annotations

from collections.abc import Iterator

from cxr_reason.client.events import DoneEvent, FindingEvent, TextEvent
from cxr_reason.client.finding_tracker import FindingTracker
from cxr_reason.client.transport import Response
from cxr_reason.reading.reading import Reading
from cxr_reason.reading.trace import Section, SectionSplitter


class EventAssembler:
    """Follows one answer.

    Attributes:
        has_text: Text was delivered.
        is_done: The reading was delivered.
    """

    def __init__(self) -> None:
        self.has_text = False
        self.is_done = False
        self._splitter = SectionSplitter()
        self._section: Section | None = None
        self._texts: dict[Section, _SectionText] = {}
        self._findings = FindingTracker()

    def feed(self, response: Response) -> Iterator[TextEvent | FindingEvent | DoneEvent]:
        """Take the next response and yield what it brings."""
        yield from self._add(self._splitter.feed(response.text))
        if response.finish_reason:
            yield from self._add(self._splitter.flush())
            yield from map(FindingEvent, self._findings.close())
            self.is_done = True
            yield DoneEvent(Reading.from_json(response.reading))

    def _add(self, parts: list[tuple[Section, str]]) -> Iterator[TextEvent | FindingEvent]:
        for index, (section, piece) in enumerate(parts):
            text = self._texts.setdefault(section, _SectionText())
            # Two parts of one section in one piece: there was a tag between them.
            if section != self._section or index:
                text.begin_part()
            if section != self._section and self._section == "reasoning":
                yield from map(FindingEvent, self._findings.close())
            self._section = section
            if new := text.add(piece):
                self.has_text = True
                yield TextEvent(section, new)
                if section == "reasoning":
                    yield from map(FindingEvent, self._findings.feed(new))


class _SectionText:
    """Joins the parts of a section as `trace.parse_trace` does: places in the text stay valid."""

    def __init__(self) -> None:
        self._is_empty = True
        self._is_part_empty = True
        self._gap = ""

    def begin_part(self) -> None:
        self._gap = "" if self._is_empty else "\n"
        self._is_part_empty = True

    def add(self, piece: str) -> str:
        """Take text; return what is new without the white space that may turn out to be the end."""
        if self._is_part_empty:
            piece = piece.lstrip()
        text = piece.rstrip()
        if not text:
            self._gap += piece
            return ""
        new, self._gap = self._gap + text, piece[len(text) :]
        self._is_empty = self._is_part_empty = False
        return new

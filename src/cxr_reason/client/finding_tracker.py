"""Reasoning as it comes → findings as they are stated.

The audit of a whole trace (`cxr_reason.reading.audit`) takes tens of milliseconds of a long one:
too much for every sentence of a stream. Here each sentence is read once.
"""

from __future__ import annotations

from dataclasses import replace

from cxr_reason.findings import LABELS
from cxr_reason.reading.audit import Finding, collect_stated, find_evidence
from cxr_reason.statements import Polarity, Statement, find_statements
from cxr_reason.statements.sentences import film_spans, split_sentences

_ENDS = frozenset(".!?\n")


class FindingTracker:
    """Follows one reasoning."""

    def __init__(self) -> None:
        self._text = ""
        self._has_open_end = False
        self._read: dict[tuple[int, int], tuple[Statement, ...]] = {}
        self._statuses: dict[str, Polarity] = {}

    def feed(self, text: str) -> list[Finding]:
        """Take new text; return the findings whose status the sentences now complete change."""
        self._text += text
        ends = not _ENDS.isdisjoint(text)
        # A sentence is known to have ended when the next one begins: "1." may become "1.5".
        if not (ends or self._has_open_end) or not text.strip():
            self._has_open_end |= ends
            return []
        self._has_open_end = ends
        return self._update(self._sentences()[:-1])

    def close(self) -> list[Finding]:
        """The reasoning has ended; return as `feed` does."""
        return self._update(self._sentences())

    def _sentences(self) -> list[tuple[int, int]]:
        return [
            (part_start + start, part_start + end)
            for part_start, part_end in film_spans(self._text)
            for start, end in split_sentences(self._text[part_start:part_end])
        ]

    def _update(self, sentences: list[tuple[int, int]]) -> list[Finding]:
        new = [span for span in sentences if span not in self._read]
        if not new:
            return []
        for start, end in new:
            self._read[start, end] = tuple(
                replace(statement, sentence_start=start, sentence_end=end)
                for statement in find_statements(self._text[start:end])
            )
        statements = [item for span in sentences for item in self._read[span]]
        statuses = collect_stated(statements)
        changed = [
            label
            for label in LABELS
            if label in statuses and statuses[label] != self._statuses.get(label)
        ]
        self._statuses = statuses
        return [
            Finding(
                label=label,
                status=statuses[label],
                in_answer=False,
                evidence=find_evidence(statements, label),
            )
            for label in changed
        ]

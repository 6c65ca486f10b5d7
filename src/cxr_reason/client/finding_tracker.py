"""Reasoning as it comes → findings as they are stated.

The audit of a whole trace (`cxr_reason.reading.audit`) takes tens of milliseconds of a long one:
too much for every sentence of a stream. Here each sentence is read once.
"""

from __future__ import annotations

from dataclasses import replace

from cxr_reason.findings import LABELS
from cxr_reason.reading.audit import Finding, collect_stated, find_evidence
from cxr_reason.statements import Polarity, Statement, find_statements
from cxr_reason.statements.language import Language, judge_sentence, settle
from cxr_reason.statements.sentences import MARKS, film_sentences

_ENDS = frozenset(f"{MARKS}\n")


class FindingTracker:
    """Follows one reasoning."""

    def __init__(self) -> None:
        self._text = ""
        self._has_open_end = False
        self._read: dict[tuple[int, int], tuple[Statement, ...]] = {}
        self._languages: dict[tuple[int, int], Language] = {}
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
        return self._update(list(film_sentences(self._text)), is_open=True)

    def close(self) -> list[Finding]:
        """The reasoning has ended; return as `feed` does."""
        return self._update(list(film_sentences(self._text)), is_open=False)

    def _update(self, sentences: list[tuple[int, int]], *, is_open: bool) -> list[Finding]:
        """Read the sentences that are new; where the text is open, the last one has not ended."""
        ended = sentences[:-1] if is_open else sentences
        for start, end in ended:
            if (start, end) not in self._read:
                sentence = self._text[start:end]
                self._languages[start, end] = judge_sentence(sentence)
                self._read[start, end] = tuple(
                    replace(statement, sentence_start=start, sentence_end=end)
                    for statement in find_statements(sentence)
                )
        languages = [self._languages[span] for span in ended]
        # A sentence that does not tell its language waits until another one does, or for the end.
        # The words of the one that has not ended tell it too, except the last: "the" of "thorax".
        languages += [
            judge_sentence(self._text[start:end].rpartition(" ")[0])
            for start, end in sentences[len(ended) :]
        ]
        statements = [
            item
            for span, language in zip(ended, settle(languages), strict=False)
            if language == "english" or (language == "open" and not is_open)
            for item in self._read[span]
        ]
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

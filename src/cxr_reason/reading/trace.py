r"""Model output → `Trace`: what the model thought, what it answered, and in which state it ended.

The trained form is `<think> … </think>\n<answer> Label, Label </answer>` (strict regular
expression of NVIDIA-Medtech/NV-Reason-CXR, `train/vlm_rewards.py`). Everything else that a model
can produce is a state here, never an exception, and no text is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from cxr_reason.findings import NO_FINDING, split_answer
from cxr_reason.prompts import REFUSAL
from cxr_reason.statements.language import has_other_language

Section = Literal["reasoning", "answer", "other"]
Ending = Literal["stop", "length"]


class Outcome(str, Enum):
    """How the output ended. The first that applies, in this order."""

    TRUNCATED = "truncated"  # the token limit came before the end
    REFUSED = "refused"  # the trained refusal sentence
    COMPLETE = "complete"  # the trained form, every tag once
    FREE_TEXT = "free_text"  # no tags at all, as in follow-up turns
    MALFORMED = "malformed"  # some tags, but not the trained form


class Issue(str, Enum):
    """What a reader should know about the form or the content of the output."""

    MISSING_TAG = "missing_tag"
    DOUBLED_TAG = "doubled_tag"
    TEXT_OUTSIDE_TAGS = "text_outside_tags"
    EMPTY_ANSWER = "empty_answer"
    UNKNOWN_LABEL = "unknown_label"
    NO_FINDING_BESIDE_FINDINGS = "no_finding_beside_findings"
    # Sentences that are not English: the rules read English alone, so they state no finding.
    LANGUAGE_UNKNOWN = "language_unknown"


@dataclass(frozen=True)
class Trace:
    """One parsed output.

    Attributes:
        text: The output as generated.
        reasoning: Text of the thinking, without its tags; empty where there was none.
        answer: Text of the answer, without its tags; in free text and in a refusal, the whole.
        labels: Known labels of the answer, in the order of `findings.LABELS`.
        unknown_labels: Other names in the answer, as written.
        outcome: How the output ended.
        issues: In the order of `Issue`.
    """

    text: str
    reasoning: str
    answer: str
    labels: tuple[str, ...]
    unknown_labels: tuple[str, ...]
    outcome: Outcome
    issues: tuple[Issue, ...]

    @property
    def finish_reason(self) -> Ending:
        """Why the generation ended: "length" if the token limit ended it, else "stop"."""
        return "length" if self.outcome is Outcome.TRUNCATED else "stop"


# Some write-ups of this model family say <thinking>; both spellings open and close the reasoning.
_TAG = re.compile(r"<(?P<close>/?)(?P<name>think|answer)(?:ing)?>")
_TAGS = tuple(
    f"<{close}{name}{ending}>"
    for close in ("", "/")
    for name in ("think", "answer")
    for ending in ("", "ing")
)


def parse_trace(text: str, *, truncated: bool, has_labels: bool = True) -> Trace:
    """Parse one model output. Never raises.

    Where tags are doubled, the reasoning is everything inside any of its pairs and the answer is
    the last one: a model that answers again has changed its mind.

    Args:
        text: The whole output, special tokens removed.
        truncated: The token limit ended it.
        has_labels: The answer is label names; it is not where a JSON schema was asked for.
    """
    parts = list(split_sections(text))
    reasoning = _join(parts, "reasoning")
    answers = [part for section, part in parts if section == "answer"]
    outside = _join(parts, "other")
    tags = [match.group("close") + match.group("name") for match in _TAG.finditer(text)]
    is_tagged = bool(tags)
    answer = answers[-1].strip() if answers else ("" if is_tagged else text.strip())
    refused = _is_refusal(answer) or _is_refusal(outside)
    # An answer that the limit cut may end in half a label: none of it counts.
    is_cut = truncated and tags[-1:] == ["answer"]
    is_readable = "answer" in tags and not refused and not is_cut
    labels, unknown = split_answer(answer) if is_readable and has_labels else ((), ())
    # Free text is the answer and is words; the answer beside tags is label names, or JSON.
    prose = reasoning if is_tagged or not has_labels else answer
    found = {
        Issue.MISSING_TAG: is_tagged and len({*tags}) < 4,
        Issue.DOUBLED_TAG: len(tags) > len({*tags}),
        Issue.TEXT_OUTSIDE_TAGS: is_tagged and bool(outside) and not refused,
        Issue.EMPTY_ANSWER: is_readable and not (labels or unknown or (answer and not has_labels)),
        Issue.UNKNOWN_LABEL: bool(unknown),
        Issue.NO_FINDING_BESIDE_FINDINGS: NO_FINDING in labels and len(labels) > 1,
        Issue.LANGUAGE_UNKNOWN: has_other_language(prose),
    }
    issues = tuple(issue for issue in Issue if found[issue])
    form = {Issue.MISSING_TAG, Issue.DOUBLED_TAG, Issue.TEXT_OUTSIDE_TAGS}
    if truncated:
        outcome = Outcome.TRUNCATED
    elif refused:
        outcome = Outcome.REFUSED
    elif not is_tagged:
        outcome = Outcome.FREE_TEXT
    elif form & set(issues) or tags != ["think", "/think", "answer", "/answer"]:
        outcome = Outcome.MALFORMED
    else:
        outcome = Outcome.COMPLETE
    return Trace(text, reasoning, answer, labels, unknown, outcome, issues)


def split_sections(text: str) -> Iterator[tuple[Section, str]]:
    """Yield the parts of a whole output with the section each one is in, tags left out."""
    section: Section = "other"
    start = 0
    for match in _TAG.finditer(text):
        if part := text[start : match.start()]:
            yield section, part
        section, start = _section_after(match), match.end()
    if part := text[start:]:
        yield section, part


class SectionSplitter:
    """Splits streamed text into sections although tags are cut anywhere between the pieces."""

    def __init__(self) -> None:
        self._pending = ""
        self._section: Section = "other"

    def feed(self, piece: str) -> list[tuple[Section, str]]:
        """Take the next piece of text; return what can no longer turn out to be part of a tag."""
        self._pending += piece
        parts: list[tuple[Section, str]] = []
        while match := _TAG.search(self._pending):
            self._emit(parts, self._pending[: match.start()])
            self._pending = self._pending[match.end() :]
            self._section = _section_after(match)
        start = self._pending.rfind("<")
        may_become_tag = start >= 0 and any(tag.startswith(self._pending[start:]) for tag in _TAGS)
        ready = self._pending[:start] if may_become_tag else self._pending
        self._emit(parts, ready)
        self._pending = self._pending[len(ready) :]
        return parts

    def flush(self) -> list[tuple[Section, str]]:
        """Return what is left when no more text comes."""
        parts: list[tuple[Section, str]] = []
        self._emit(parts, self._pending)
        self._pending = ""
        return parts

    def _emit(self, parts: list[tuple[Section, str]], text: str) -> None:
        if text:
            parts.append((self._section, text))


_SECTION_OF: dict[str, Section] = {"think": "reasoning", "answer": "answer"}


def _section_after(tag: re.Match[str]) -> Section:
    return "other" if tag["close"] else _SECTION_OF[tag["name"]]


def _join(parts: list[tuple[Section, str]], section: Section) -> str:
    return "\n".join(text.strip() for name, text in parts if name == section and text.strip())


def _is_refusal(text: str) -> bool:
    return text.strip().rstrip(".").casefold() == REFUSAL.rstrip(".").casefold()

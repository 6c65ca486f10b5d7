"""Text of a reasoning → its sections in the radiologist's terms, and what it leaves open.

As for statements, rules on words decide which part of the film a sentence is about, and whether it
considers several findings possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from cxr_reason.statements import find_statements
from cxr_reason.statements.sentences import split_sentences

SectionName = Literal[
    "quality",
    "devices",
    "airways",
    "lungs",
    "pleura",
    "mediastinum",
    "hila",
    "heart",
    "abdomen",
    "bones",
    "summary",
]

# The parts of a film in the order in which they are read, each with the words that begin it. The
# leftmost word of a sentence decides, so that a list of all these words in one sentence is one.
_WORDS: dict[SectionName, str] = {
    "quality": r"films?\b|image|radiograph|view|projection|rotat|inspir|expos|quality",
    "devices": r"devices?\b|tubes?\b|endotracheal|tracheostomy|catheter|lines?\b|leads?\b|pacemaker"
    r"|wires?\b|clips?\b|hardware",
    "airways": r"airway|trachea|carina|bronch",
    "lungs": r"lungs?\b|lobes?\b|zones?\b|pulmonary|opaci|consolid|atelecta|edema|nodul|infiltrat",
    "pleura": r"pleura|pneumothora|effusion|costophrenic",
    "mediastinum": r"mediastin|aort",
    "hila": r"hil(?:a|ar|um)\b",
    "heart": r"heart|cardi",
    "abdomen": r"abdom|(?:hemi|sub)?diaphragm|stomach|gastric|bowel",
    "bones": r"bon(?:es?|y)\b|osseous|skelet|ribs?\b|clavic|spine|vertebra|fractur",
}
PARTS = tuple(_WORDS)
SUMMARY: SectionName = "summary"
_BEGINS = re.compile(
    # Only its first words make a sentence the summary.
    rf"\A[\W\d]*(?P<{SUMMARY}>(?:in )?summary|impression|overall|(?:in )?conclusion)\b|\b(?:"
    + "|".join(f"(?P<{name}>{words})" for name, words in _WORDS.items())
    + ")",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ReasoningSection:
    """Sentences of a reasoning, one after another, on one part of the film.

    Attributes:
        name: The part: one of the ten that a radiologist describes, or the summary.
        start: First character in the reading's `reasoning`.
        end: Index just after its last character.
    """

    name: SectionName
    start: int
    end: int


@dataclass(frozen=True)
class Alternatives:
    """One sentence of a reasoning that leaves several findings open.

    Attributes:
        findings: Their names in `statements.FINDINGS`, in the order of the sentence.
        start: First character of the sentence in the reading's `reasoning`.
        end: Index just after its last character.
    """

    findings: tuple[str, ...]
    start: int
    end: int


def split_reasoning(reasoning: str) -> tuple[ReasoningSection, ...]:
    """Return the sections; a sentence that begins none belongs to the one before it."""
    named = groupby(_name_sentences(reasoning), key=lambda item: item[0])
    sections = []
    for name, group in named:
        places = [(start, end) for _, start, end in group]
        if name is not None:
            sections.append(ReasoningSection(name, places[0][0], places[-1][1]))
    return tuple(sections)


def find_alternatives(reasoning: str) -> tuple[Alternatives, ...]:
    """Return the sentences that call two or more findings uncertain: the differential."""
    uncertain = [item for item in find_statements(reasoning) if item.polarity == "uncertain"]
    found = []
    for (start, end), group in groupby(
        uncertain, key=lambda item: (item.sentence_start, item.sentence_end)
    ):
        findings = tuple(dict.fromkeys(item.finding for item in group))
        if len(findings) > 1:
            found.append(Alternatives(findings, start, end))
    return tuple(found)


def _name_sentences(reasoning: str) -> Iterator[tuple[SectionName | None, int, int]]:
    name: SectionName | None = None
    for start, end in split_sentences(reasoning):
        match = _BEGINS.search(reasoning[start:end])
        if match and match.lastgroup:
            name = match.lastgroup  # type: ignore[assignment]
        yield name, start, end

"""Text → statements: which finding, what is said about it, where, and the words that say so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cxr_reason.findings import NO_FINDING
from cxr_reason.statements.finding_rules import RULES, Rule
from cxr_reason.statements.language import english_sentences
from cxr_reason.statements.patterns import compile_rule
from cxr_reason.statements.places import Side, find_region, find_side, has_side
from cxr_reason.statements.scope import Polarity, Status, assess_mentions


@dataclass(frozen=True)
class Statement:
    """One thing that a text says about a film. All places count characters of the whole text.

    Attributes:
        finding: A name of `vocabulary.FINDINGS`.
        polarity: What is said: it is there, it is not, or it is open.
        side: As seen from the patient; None where the text does not say or the finding has none.
        region: A name of `places.REGIONS`, or None.
        start: First character of the words that name the finding.
        end: Index just after their last character.
        sentence_start: First character of the sentence.
        sentence_end: Index just after its last character.
    """

    finding: str
    polarity: Polarity
    side: Side | None
    region: str | None
    start: int
    end: int
    sentence_start: int
    sentence_end: int


@dataclass(frozen=True)
class _Mention:
    rule: Rule
    start: int
    end: int
    core: tuple[int, int]


# Between a subject and a predicate these say that the predicate is another subject's, or not so.
_NOT_NORMAL = compile_rule(
    r"not|no|upper limits?|borderline|but|enlarged|widened|large|increased|prominent|tortuous"
)
_NOT_ABNORMAL = compile_rule(
    r"normal|unremarkable|clear|but|with|which|while|and (?:the|an?|there)|aort(?:a|ic)"
)


def find_statements(text: str) -> tuple[Statement, ...]:
    """Find what a report, or a reasoning trace, states about its film.

    Sections of a report that do not describe the film (indication, comparison, technique),
    questions, and sentences that are not English are left out. Never raises.

    Args:
        text: A report with or without headings, a trace, or any part of one.

    Returns:
        Statements in the order of their place.
    """
    found: list[Statement] = []
    for start, end in english_sentences(text):
        found.extend(_in_sentence(text, start, end))
    return tuple(found)


def assess(sentence: str, condition: str) -> Literal["negated", "affirmed", "possible"]:
    """Say whether a clinical sentence negates, affirms or doubts a condition named in it.

    Args:
        sentence: One sentence.
        condition: Words of the sentence, whatever their case and white space. A condition that
            the sentence does not hold is affirmed: nothing negates it.
    """
    pattern = r"\s{1,20}".join(re.escape(word) for word in condition.split())
    match = re.search(pattern, sentence, re.IGNORECASE)
    status = assess_mentions(sentence, [match.span()])[0] if match else "present"
    answers: dict[Status, Literal["negated", "possible"]] = {
        "absent": "negated",
        "uncertain": "possible",
    }
    return answers.get(status, "affirmed")


def _in_sentence(text: str, start: int, end: int) -> Iterator[Statement]:
    sentence = text[start:end]
    mentions = _outermost(_mentions(sentence))
    if not mentions or sentence.endswith("?"):
        return
    statuses = assess_mentions(sentence, [mention.core for mention in mentions])
    for mention, status in zip(mentions, statuses, strict=True):
        polarity = _polarity(mention.rule, status)
        if polarity is None:
            continue
        finding = mention.rule.finding
        span = mention.start, mention.end
        yield Statement(
            finding=finding,
            polarity=polarity,
            side=find_side(sentence, span) if has_side(finding) else None,
            region=find_region(sentence, span),
            start=start + mention.start,
            end=start + mention.end,
            sentence_start=start,
            sentence_end=end,
        )


def _polarity(rule: Rule, status: Status) -> Polarity | None:
    if status == "unasserted":
        return None
    if rule.kind == "named":
        return status
    if rule.kind == "sign":
        return "absent" if status == "absent" else "uncertain"
    if rule.finding == NO_FINDING:
        return "uncertain" if status == "uncertain" else "present"
    # "is not normal" says that something is there, without its name.
    return "uncertain" if status in ("absent", "uncertain") else "absent"


def _mentions(sentence: str) -> Iterator[_Mention]:
    for rule in RULES:
        for match in rule.pattern.finditer(sentence):
            core = match.span("core") if "core" in rule.pattern.groupindex else match.span()
            if not _belongs(rule, sentence[match.start() : core[0]]):
                continue
            yield _Mention(rule, match.start(), match.end(), core)


def _belongs(rule: Rule, gap: str) -> bool:
    """Whether a predicate belongs to the subject before it, by the words between them."""
    if rule.finding == NO_FINDING:  # "no acute process" is normal by its own "no"
        return True
    if rule.kind == "normal":
        return _NOT_NORMAL.search(gap) is None
    # A subject such as "aorta" may itself be the first word.
    return _NOT_ABNORMAL.search(gap, 1) is None


def _outermost(mentions: Iterator[_Mention]) -> Sequence[_Mention]:
    """Drop a mention inside a longer name: "nodular opacity" is not also an opacity."""
    kept: list[_Mention] = []
    widest = (-1, -1)
    for mention in sorted(mentions, key=lambda one: (one.core[0], -one.core[1])):
        if mention.core[1] > widest[1]:
            widest = mention.core
        # Two findings can share one predicate: "heart and mediastinum are normal".
        if mention.core == widest:
            kept.append(mention)
    return sorted(kept, key=lambda one: (one.start, one.end, one.rule.finding))

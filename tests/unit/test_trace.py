"""Model output → trace: every form a model can produce, whole and in pieces."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from cxr_reason.findings import LABELS
from cxr_reason.prompts import REFUSAL
from cxr_reason.reading.trace import (
    Issue,
    Outcome,
    Section,
    SectionSplitter,
    parse_trace,
    split_sections,
)

TAGS = [
    f"<{slash}{name}>"
    for name in ("think", "answer", "thinking", "answering")
    for slash in ("", "/")
]
TRAINED = "<think>\nHeart is large.\n</think>\n<answer> Cardiomegaly, Edema </answer>"


@dataclass(frozen=True)
class Case:
    """One output and what must be read from it. What is left out must be empty."""

    name: str
    text: str
    outcome: Outcome
    reasoning: str = ""
    answer: str = ""
    labels: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()
    truncated: bool = False


COMPLETE, REFUSED, TRUNCATED = Outcome.COMPLETE, Outcome.REFUSED, Outcome.TRUNCATED
FREE_TEXT, MALFORMED = Outcome.FREE_TEXT, Outcome.MALFORMED
MISSING, DOUBLED, OUTSIDE = Issue.MISSING_TAG, Issue.DOUBLED_TAG, Issue.TEXT_OUTSIDE_TAGS

CASES = [
    Case(
        "complete",
        TRAINED,
        COMPLETE,
        reasoning="Heart is large.",
        answer="Cardiomegaly, Edema",
        labels=("Cardiomegaly", "Edema"),
    ),
    Case(
        "complete-one-line",
        "<think>Clear.</think><answer>No Finding</answer>",
        COMPLETE,
        reasoning="Clear.",
        answer="No Finding",
        labels=("No Finding",),
    ),
    Case(
        "complete-space-around",
        f"  \n{TRAINED}\n\n ",
        COMPLETE,
        reasoning="Heart is large.",
        answer="Cardiomegaly, Edema",
        labels=("Cardiomegaly", "Edema"),
    ),
    Case(
        "complete-thinking-spelling",
        "<thinking>Clear.</thinking><answer>No Finding</answer>",
        COMPLETE,
        reasoning="Clear.",
        answer="No Finding",
        labels=("No Finding",),
    ),
    Case(
        "complete-mixed-spelling",
        "<thinking>Clear.</think><answer>No Finding</answer>",
        COMPLETE,
        reasoning="Clear.",
        answer="No Finding",
        labels=("No Finding",),
    ),
    Case(
        "less-than-signs-are-text",
        "<think>Ratio <0.5, gap < 5 mm</think><answer>No Finding</answer>",
        COMPLETE,
        reasoning="Ratio <0.5, gap < 5 mm",
        answer="No Finding",
        labels=("No Finding",),
    ),
    Case(
        "unknown-labels",
        "<think>r</think><answer>Edema, Hilar mass, Gout</answer>",
        COMPLETE,
        reasoning="r",
        answer="Edema, Hilar mass, Gout",
        labels=("Edema",),
        unknown=("Hilar mass", "Gout"),
        issues=(Issue.UNKNOWN_LABEL,),
    ),
    Case(
        "only-unknown-labels",
        "<think>r</think><answer>Hilar mass</answer>",
        COMPLETE,
        reasoning="r",
        answer="Hilar mass",
        unknown=("Hilar mass",),
        issues=(Issue.UNKNOWN_LABEL,),
    ),
    Case(
        "no-finding-beside-findings",
        "<think>r</think><answer>No Finding, Edema</answer>",
        COMPLETE,
        reasoning="r",
        answer="No Finding, Edema",
        labels=("Edema", "No Finding"),
        issues=(Issue.NO_FINDING_BESIDE_FINDINGS,),
    ),
    Case(
        "no-finding-beside-unknown-label-is-no-contradiction",
        "<think>r</think><answer>No Finding, Gout</answer>",
        COMPLETE,
        reasoning="r",
        answer="No Finding, Gout",
        labels=("No Finding",),
        unknown=("Gout",),
        issues=(Issue.UNKNOWN_LABEL,),
    ),
    Case(
        "empty-answer",
        "<think>r</think><answer></answer>",
        COMPLETE,
        reasoning="r",
        issues=(Issue.EMPTY_ANSWER,),
    ),
    Case(
        "blank-answer",
        "<think>r</think><answer> \n </answer>",
        COMPLETE,
        reasoning="r",
        issues=(Issue.EMPTY_ANSWER,),
    ),
    Case(
        "answer-of-commas",
        "<think>r</think><answer>, ,</answer>",
        COMPLETE,
        reasoning="r",
        answer=", ,",
        issues=(Issue.EMPTY_ANSWER,),
    ),
    Case(
        "empty-reasoning",
        "<think></think><answer>Edema</answer>",
        COMPLETE,
        answer="Edema",
        labels=("Edema",),
    ),
    Case("refusal", REFUSAL, REFUSED, answer=REFUSAL),
    Case("refusal-no-period", REFUSAL[:-1], REFUSED, answer=REFUSAL[:-1]),
    Case("refusal-case", REFUSAL.upper(), REFUSED, answer=REFUSAL.upper()),
    Case("refusal-space-around", f"\n {REFUSAL} ", REFUSED, answer=REFUSAL),
    Case(
        "refusal-in-tags",
        f"<think>A hand.</think><answer> {REFUSAL} </answer>",
        REFUSED,
        reasoning="A hand.",
        answer=REFUSAL,
    ),
    Case(
        "refusal-after-thinking",
        f"<think>A hand.</think>\n{REFUSAL}",
        REFUSED,
        reasoning="A hand.",
        issues=(MISSING,),
    ),
    Case(
        "refusal-only-quoted-in-reasoning",
        f"<think>{REFUSAL}</think><answer>Edema</answer>",
        COMPLETE,
        reasoning=REFUSAL,
        answer="Edema",
        labels=("Edema",),
    ),
    Case(
        "refusal-with-more-text-is-free-text",
        f"{REFUSAL} This is a hand.",
        FREE_TEXT,
        answer=f"{REFUSAL} This is a hand.",
    ),
    Case("truncated-before-any-tag", "The film", TRUNCATED, answer="The film", truncated=True),
    Case("truncated-at-once", "", TRUNCATED, truncated=True),
    Case("truncated-inside-first-tag", "<thi", TRUNCATED, answer="<thi", truncated=True),
    Case(
        "truncated-inside-think",
        "<think>The heart is lar",
        TRUNCATED,
        reasoning="The heart is lar",
        issues=(MISSING,),
        truncated=True,
    ),
    Case(
        "truncated-after-less-than",
        "<think>gap <5 mm",
        TRUNCATED,
        reasoning="gap <5 mm",
        issues=(MISSING,),
        truncated=True,
    ),
    Case(
        "truncated-inside-answer",
        "<think>r</think><answer>Edema, Pleural Other",
        TRUNCATED,
        reasoning="r",
        # "Pleural Other" may have been the start of something else.
        answer="Edema, Pleural Other",
        issues=(MISSING,),
        truncated=True,
    ),
    Case(
        "truncated-at-the-start-of-the-answer",
        "<think>r</think><answer>",
        TRUNCATED,
        reasoning="r",
        issues=(MISSING,),
        truncated=True,
    ),
    Case(
        "truncated-inside-a-second-answer",
        "<think>r</think><answer>Edema</answer><answer>Pneumo",
        TRUNCATED,
        reasoning="r",
        answer="Pneumo",
        issues=(DOUBLED,),
        truncated=True,
    ),
    Case(
        "truncated-after-the-form",
        TRAINED,
        TRUNCATED,
        reasoning="Heart is large.",
        answer="Cardiomegaly, Edema",
        labels=("Cardiomegaly", "Edema"),
        truncated=True,
    ),
    Case(
        "missing-think",
        "<answer>Edema</answer>",
        MALFORMED,
        answer="Edema",
        labels=("Edema",),
        issues=(MISSING,),
    ),
    Case("missing-answer", "<think>r</think>", MALFORMED, reasoning="r", issues=(MISSING,)),
    Case(
        "text-in-place-of-answer",
        "<think>r</think>\nEdema",
        MALFORMED,
        reasoning="r",
        issues=(MISSING, OUTSIDE),
    ),
    Case(
        "missing-think-close",
        "<think>r<answer>Edema</answer>",
        MALFORMED,
        reasoning="r",
        answer="Edema",
        labels=("Edema",),
        issues=(MISSING,),
    ),
    Case(
        "missing-answer-close",
        "<think>r</think><answer>Edema",
        MALFORMED,
        reasoning="r",
        answer="Edema",
        labels=("Edema",),
        issues=(MISSING,),
    ),
    Case(
        "missing-answer-close-ends-with-less-than",
        "<think>r</think><answer>Edema, <x",
        MALFORMED,
        reasoning="r",
        answer="Edema, <x",
        labels=("Edema",),
        unknown=("<x",),
        issues=(MISSING, Issue.UNKNOWN_LABEL),
    ),
    Case(
        "missing-think-open",
        "r</think><answer>Edema</answer>",
        MALFORMED,
        answer="Edema",
        labels=("Edema",),
        issues=(MISSING, OUTSIDE),
    ),
    Case("only-a-closing-tag", "r</think>", MALFORMED, issues=(MISSING, OUTSIDE)),
    Case(
        "doubled-think",
        "<think>a</think><think>b</think><answer>Edema</answer>",
        MALFORMED,
        reasoning="a\nb",
        answer="Edema",
        labels=("Edema",),
        issues=(DOUBLED,),
    ),
    Case(
        "doubled-open-think",
        "<think>a<think>b</think><answer>Edema</answer>",
        MALFORMED,
        reasoning="a\nb",
        answer="Edema",
        labels=("Edema",),
        issues=(DOUBLED,),
    ),
    Case(
        "doubled-answer-the-last-counts",
        "<think>r</think><answer>Edema</answer>\n<answer>Fracture</answer>",
        MALFORMED,
        reasoning="r",
        answer="Fracture",
        labels=("Fracture",),
        issues=(DOUBLED,),
    ),
    Case(
        "doubled-by-the-other-spelling",
        "<think><thinking>a</thinking></think><answer>Edema</answer>",
        MALFORMED,
        reasoning="a",
        answer="Edema",
        labels=("Edema",),
        issues=(DOUBLED,),
    ),
    Case(
        "text-before-the-tags",
        f"Sure. {TRAINED}",
        MALFORMED,
        reasoning="Heart is large.",
        answer="Cardiomegaly, Edema",
        labels=("Cardiomegaly", "Edema"),
        issues=(OUTSIDE,),
    ),
    Case(
        "text-between-and-after-the-tags",
        "<think>r</think> so: <answer>Edema</answer> Done.",
        MALFORMED,
        reasoning="r",
        answer="Edema",
        labels=("Edema",),
        issues=(OUTSIDE,),
    ),
    Case(
        "wrong-order",
        "<answer>Edema</answer><think>r</think>",
        MALFORMED,
        reasoning="r",
        answer="Edema",
        labels=("Edema",),
    ),
    Case(
        "everything-at-once",
        "Well <think>a</think><think>b<answer>No Finding, Edema, Gout</answer>",
        MALFORMED,
        reasoning="a\nb",
        answer="No Finding, Edema, Gout",
        labels=("Edema", "No Finding"),
        unknown=("Gout",),
        issues=(DOUBLED, OUTSIDE, Issue.UNKNOWN_LABEL, Issue.NO_FINDING_BESIDE_FINDINGS),
    ),
    Case(
        "free-text-follow-up",
        " The effusion is small: under 200 ml. ",
        FREE_TEXT,
        answer="The effusion is small: under 200 ml.",
    ),
    Case("free-text-names-no-findings", "Edema, Fracture", FREE_TEXT, answer="Edema, Fracture"),
    Case("free-text-with-foreign-tags", "<b>Edema</b>", FREE_TEXT, answer="<b>Edema</b>"),
    Case("tags-are-case-sensitive", "<Think>x</Think>", FREE_TEXT, answer="<Think>x</Think>"),
    Case(
        "another-language",
        "<think>Kein Pneumothorax.</think><answer>No Finding</answer>",
        COMPLETE,
        reasoning="Kein Pneumothorax.",
        answer="No Finding",
        labels=("No Finding",),
        issues=(Issue.LANGUAGE_UNKNOWN,),
    ),
    Case(
        "free-text-in-another-language",
        "Pas de pneumothorax.",
        FREE_TEXT,
        answer="Pas de pneumothorax.",
        issues=(Issue.LANGUAGE_UNKNOWN,),
    ),
    Case("empty", "", FREE_TEXT),
    Case("only-tags", "<think></think><answer>", MALFORMED, issues=(MISSING, Issue.EMPTY_ANSWER)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    trace = parse_trace(case.text, truncated=case.truncated)
    assert trace.text == case.text
    assert trace.outcome is case.outcome
    assert trace.issues == case.issues
    assert trace.reasoning == case.reasoning
    assert trace.answer == case.answer
    assert trace.labels == case.labels
    assert trace.unknown_labels == case.unknown


def test_names_of_the_cases_are_unique_and_every_outcome_and_issue_has_one() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.outcome for case in CASES} == set(Outcome)
    assert {issue for case in CASES for issue in case.issues} == set(Issue)


def merged(parts: list[tuple[Section, str]]) -> list[tuple[Section, str]]:
    """Join neighbours of one section: pieces may be cut anywhere."""
    whole: list[tuple[Section, str]] = []
    for section, text in parts:
        if whole and whole[-1][0] == section:
            whole[-1] = (section, whole[-1][1] + text)
        else:
            whole.append((section, text))
    return whole


def fed(pieces: list[str]) -> list[tuple[Section, str]]:
    splitter = SectionSplitter()
    parts = [part for piece in pieces for part in splitter.feed(piece)]
    return merged([*parts, *splitter.flush()])


def plain_sections(text: str) -> list[tuple[Section, str]]:
    """The specification, one character at a time: a tag changes the section, text keeps it."""
    parts: list[tuple[Section, str]] = []
    section: Section = "other"
    while text:
        tag = next((tag for tag in TAGS if text.startswith(tag)), None)
        if tag is None:
            parts.append((section, text[0]))
            text = text[1:]
        else:
            opened: Section = "reasoning" if "think" in tag else "answer"
            section = "other" if tag.startswith("</") else opened
            text = text[len(tag) :]
    return merged(parts)


def random_soup(rng: random.Random) -> str:
    shards = [
        *TAGS,
        *TAGS,
        *(tag[: rng.randrange(1, len(tag))] for tag in TAGS),
        *("<", ">", "</", " ", "\n", ",", ".", "<<", "a", "<5 mm", "thinking>", "[]", "\0", "é"),
        *LABELS,
        REFUSAL,
    ]
    return "".join(rng.choices(shards, k=rng.randrange(0, 16)))


SOUPS = [random_soup(random.Random(seed)) for seed in range(1500)]
TEXTS = [case.text for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_stream_gives_the_sections_of_the_whole(case: Case) -> None:
    whole = plain_sections(case.text)
    assert merged(list(split_sections(case.text))) == whole
    assert fed(list(case.text)) == whole
    for cut in range(len(case.text) + 1):
        assert fed([case.text[:cut], case.text[cut:]]) == whole, cut


def test_two_cuts_anywhere_in_the_trained_form() -> None:
    whole = plain_sections(TRAINED)
    for first in range(len(TRAINED) + 1):
        for second in range(first, len(TRAINED) + 1):
            pieces = [TRAINED[:first], TRAINED[first:second], TRAINED[second:]]
            assert fed(pieces) == whole, (first, second)


def test_any_mix_of_tags_and_text_parses_and_nothing_is_dropped() -> None:
    rng = random.Random(1)
    for text in SOUPS:
        whole = plain_sections(text)
        assert fed([text]) == fed(list(text)) == whole, text
        assert merged(list(split_sections(text))) == whole, text
        cuts = sorted(rng.choices(range(len(text) + 1), k=4))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert fed(pieces) == whole, pieces
        for truncated in (False, True):
            trace = parse_trace(text, truncated=truncated)
            assert trace.text == text
            assert (trace.outcome is TRUNCATED) == truncated
            assert set(trace.labels) <= set(LABELS)
            assert trace.outcome is not COMPLETE or not {MISSING, DOUBLED, OUTSIDE} & {
                *trace.issues
            }


@pytest.mark.parametrize("text", [*TEXTS, *SOUPS[:50]], ids=range(len(TEXTS) + 50))
def test_sections_and_tags_together_are_the_text(text: str) -> None:
    """Walk through the text: between the sections there are tags and nothing else."""
    rest = text
    for _, part in split_sections(text):
        assert not any(tag in part for tag in TAGS), part
        rest = without_leading_tags(rest)
        assert rest.startswith(part)
        rest = rest[len(part) :]
    assert without_leading_tags(rest) == ""


def without_leading_tags(text: str) -> str:
    while tag := next((tag for tag in TAGS if text.startswith(tag)), None):
        text = text[len(tag) :]
    return text


@pytest.mark.parametrize("text", [*TEXTS, *SOUPS[:50]], ids=range(len(TEXTS) + 50))
def test_only_the_start_of_a_tag_is_held_back(text: str) -> None:
    """A reader sees "<5 mm" when it is generated, not eleven characters later."""
    splitter = SectionSplitter()
    shown = 0
    for length, character in enumerate(text, start=1):
        shown += sum(len(part) for _, part in splitter.feed(character))
        total = sum(len(part) for _, part in plain_sections(text[:length]))
        held = total - shown
        tail = text[length - held : length]
        assert held == 0 or any(tag.startswith(tail) for tag in TAGS), tail


def test_flush_gives_what_is_left_once() -> None:
    splitter = SectionSplitter()
    assert splitter.feed("<think>a<") == [("reasoning", "a")]
    assert splitter.flush() == [("reasoning", "<")]
    assert splitter.flush() == []


def test_empty_pieces_change_nothing() -> None:
    assert fed(["", "<th", "", "ink>a", "", "</think>", ""]) == [("reasoning", "a")]

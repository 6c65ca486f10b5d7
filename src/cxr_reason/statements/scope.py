"""What a sentence says about the findings it names: how far its triggers reach, in two sweeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cxr_reason.statements.triggers import TRIGGER

Polarity = Literal["present", "absent", "uncertain"]
# `unasserted`: named without a statement about this film, e.g. as something to look for.
Status = Literal["present", "absent", "uncertain", "unasserted"]

_BEFORE: dict[str, Status] = {
    "absent": "absent",
    "possible": "uncertain",
    "possible_adjective": "uncertain",
    "versus": "uncertain",
    "unasserted": "unasserted",
}
_AFTER: dict[str, Status] = {
    "absent_after": "absent",
    "possible_after": "uncertain",
    "versus": "uncertain",
}
_ENDS = {"end", "clause"}
# What stands between a mention and a predicate that is not its own.
_STOPS_BACKWARDS = {*_ENDS, *_BEFORE, "verb", "pseudo", "probable"}
# A subject in the singular before "is not seen" is one noun, not the list before its comma.
_SINGULAR = re.compile(r"(?:is|was|has)\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Event:
    """A trigger (kind and its text) or a mention (its index) at a place of the sentence."""

    start: int
    end: int
    kind: str
    text: str = ""
    mention: int = -1


def assess_mentions(sentence: str, mentions: Sequence[tuple[int, int]]) -> list[Status]:
    """Return what one sentence says about each of the mentions in it.

    Args:
        sentence: One sentence.
        mentions: Start and end in the sentence, in any order. Triggers inside one are part of its
            name and have no effect.
    """
    events = _events(sentence, mentions)
    before = _sweep_forwards(events, len(mentions))
    after = _sweep_backwards(events, len(mentions))
    return [_combine(*pair) for pair in zip(before, after, strict=True)]


def _events(sentence: str, mentions: Sequence[tuple[int, int]]) -> list[_Event]:
    inside = bytearray(len(sentence) + 1)
    for start, end in mentions:
        inside[start:end] = b"\1" * (end - start)
    events = [_Event(start, end, "mention", mention=i) for i, (start, end) in enumerate(mentions)]
    for match in TRIGGER.finditer(sentence):
        kind = match.lastgroup
        if kind is None or inside[match.start()]:
            continue
        if kind == "pseudo" and inside[match.end() - 1]:
            # "no ischemic changes": the change itself is what the sentence denies.
            kind = "absent"
        elif inside[match.end() - 1]:
            continue
        events.append(_Event(match.start(), match.end(), kind, match[0]))
    return sorted(events, key=lambda event: event.start)


def _sweep_forwards(events: list[_Event], num_mentions: int) -> list[Status]:
    """Apply triggers to the mentions after them."""
    found: list[Status] = ["present"] * num_mentions
    status: Status = "present"
    by_adjective = False
    has_mention = False  # since the trigger that is in force
    previous = "clause"
    lists_on = _before_an_or(events)
    for event, is_list in zip(events, lists_on, strict=True):
        kind = event.kind
        if kind == "mention":
            found[event.mention] = status
            has_mention = True
        elif kind in _ENDS or (kind == "verb" and has_mention):
            # "No effusion is seen" has said what it denies; what follows the verb is new.
            status = "present"
        elif kind == "probable":
            # "no findings most consistent with" stays denied; ", probable atelectasis" is new.
            if previous in ("comma", "joint"):
                status = "present"
        elif kind in ("comma", "joint"):
            if by_adjective and has_mention and not is_list:
                status = "present"
        elif kind == "cause":
            if status == "absent":
                status = "present"
        elif kind == "absent" or (kind in _BEFORE and _may_follow(status, previous, kind)):
            status = _BEFORE[kind]
            by_adjective = kind == "possible_adjective"
            has_mention = False
        elif kind == "pseudo":
            status = "present"
        previous = kind
    return found


def _before_an_or(events: list[_Event]) -> list[bool]:
    """Return for each event whether an "or" follows in its clause: "possibly A, B, or C"."""
    found = [False] * len(events)
    has_or = False
    for i in range(len(events) - 1, -1, -1):
        kind = events[i].kind
        has_or = kind == "or" or (has_or and kind not in _ENDS and kind != "verb")
        found[i] = has_or
    return found


def _may_follow(status: Status, previous: str, kind: str) -> bool:
    """Whether a hedge counts: "no opacity to suggest …" is denied, not doubted."""
    if kind == "versus":
        return status == "present"
    return status != "absent" or previous in ("comma", "joint")


def _sweep_backwards(events: list[_Event], num_mentions: int) -> list[Status]:
    """Apply triggers to the mentions before them."""
    found: list[Status] = ["present"] * num_mentions
    status: Status = "present"
    is_one_noun = False
    for event in reversed(events):
        kind = event.kind
        if kind == "mention":
            found[event.mention] = status
        elif kind in _AFTER:
            status = _AFTER[kind]
            is_one_noun = kind == "versus" or bool(_SINGULAR.match(event.text))
        elif kind in _STOPS_BACKWARDS or (kind == "comma" and is_one_noun):
            status = "present"
    return found


def _combine(before: Status, after: Status) -> Status:
    """Return the final status: a predicate after the mention takes precedence."""
    if before == "unasserted" or after == "present":
        return before
    return after

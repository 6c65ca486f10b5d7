"""The check that every trace passes before it is used, whatever its source.

What a text states is read by the statement rules that the audit of readings and the rewards use
too, so a trace is judged here as a model's output is judged later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cxr_reason.errors import BadRequestError
from cxr_reason.findings import LABELS, NO_FINDING
from cxr_reason.reading.audit import audit_trace
from cxr_reason.reading.trace import Outcome, parse_trace
from cxr_reason.statements import TO_CHEXPERT, Statement, collect_labels, find_statements
from cxr_reason.training.rewards import structure_reward
from cxr_reason.training.traces.facts import ZONE_OF_REGION, Facts, gold_answer, sides_of
from cxr_reason.training.traces.places import LUNG_LABELS, PLEURAL_LABELS, places_of

_CLEAR_ZONE = re.compile(
    r"\b(?P<side>right|left) (?P<third>upper|mid)?(?:dle)?(?P<low>lower)? (?:lung )?zone"
    r" (?:is|appears|remains|looks) clear\b",
    re.IGNORECASE,
)

SECTIONS = (
    "quality, devices, airways, lungs, pleura, mediastinum, hila, heart, abdomen, bones, and a"
    " summary that begins with 'In summary'"
)


class TraceError(BadRequestError):
    """A trace does not say what its source says, or none can be written."""

    code = "trace"


def check_trace(text: str, facts: Facts) -> None:
    """Refuse a trace that its source does not support.

    - The form is complete: every tag once, nothing outside of them.
    - The sections are all there, in their order.
    - Each known label is stated as the source has it; no other finding is stated at all.
    - Sides and zones of what is stated are those of the source's signs.
    - Nothing is both stated and denied of the same place, and no zone with a sign in it is clear.
    - The answer is `gold_answer`, and does not contradict the reasoning.

    Args:
        text: The whole output.
        facts: What the source states.

    Raises:
        TraceError: Names everything that is wrong, in words that tell a writer what to change.
    """
    if problems := list(_find_problems(text, facts)):
        raise TraceError("trace: " + "; ".join(problems))


def _find_problems(text: str, facts: Facts) -> Iterator[str]:
    trace = parse_trace(text, truncated=False)
    if trace.outcome is not Outcome.COMPLETE or trace.issues:
        issues = ", ".join(issue.value for issue in trace.issues)
        yield f"the form is {trace.outcome.value}{f' ({issues})' if issues else ''}"
        return
    if structure_reward(text) < 1.0:
        yield f"the sections must be, each in its own sentences: {SECTIONS}"
    statements = find_statements(trace.reasoning)
    yield from _unsupported(statements, facts)
    yield from _self_contradictions(statements)
    yield from _clear_zones(trace.reasoning, facts)
    gold = gold_answer(facts.states)
    if ", ".join(trace.labels) != gold:
        yield f"the answer is {', '.join(trace.labels)!r} where the labels are {gold!r}"
    _, contradictions = audit_trace(trace)
    for contradiction in contradictions:
        yield f"answer and reasoning differ on {contradiction.label}: {contradiction.kind}"


def _unsupported(statements: Sequence[Statement], facts: Facts) -> Iterator[str]:
    stated = collect_labels(statements, "chexpert")
    for label in LABELS:
        said, known = stated.get(label), facts.states.get(label)
        # What is said of No Finding follows from the rest, see below.
        if label != NO_FINDING and said != known:
            yield f"{label} is {known or 'unknown'} but {said or 'not'} stated"
    for statement in statements:
        if statement.polarity == "absent":
            continue
        name = TO_CHEXPERT.get(statement.finding)
        if name is None:
            yield f"{statement.finding} is stated without a source"
        elif name == NO_FINDING:
            if facts.states.get(NO_FINDING) != "present":
                yield "a normal film is stated without a source"
        else:
            yield from _misplaced(statement, name, facts)


def _misplaced(statement: Statement, label: str, facts: Facts) -> Iterator[str]:
    # What is certain may be hedged, but a suspicion does not place what is stated as present.
    signs = [
        sign
        for sign in facts.all_signs_of(label)
        if statement.polarity == "uncertain" or sign.state == "present"
    ]
    if statement.side and statement.side not in sides_of(signs):
        yield f"{label} is stated on the side {statement.side!r} without a source"
    zone = ZONE_OF_REGION.get(statement.region or "")
    if zone and not any(sign.zone in (zone, "diffuse") for sign in signs):
        yield f"{label} is stated in the {zone} zone without a source"


def _self_contradictions(statements: Sequence[Statement]) -> Iterator[str]:
    affirmed = [one for one in statements if one.polarity != "absent"]
    for denied in statements:
        if denied.polarity == "absent" and any(_is_same(denied, one) for one in affirmed):
            yield f"{denied.finding} is both stated and denied"


def _is_same(denied: Statement, affirmed: Statement) -> bool:
    """Whether a denial covers the place of a statement: one without a place covers every place.

    One with a place leaves others open: "an effusion", "none on the left".
    """
    if denied.finding != affirmed.finding or denied.finding == NO_FINDING:
        return False
    covers_side = denied.side in (None, "bilateral", affirmed.side) or affirmed.side == "bilateral"
    return covers_side and denied.region in (None, affirmed.region)


def _clear_zones(reasoning: str, facts: Facts) -> Iterator[str]:
    taken = {
        place
        for s in facts.signs
        if s.label in (*LUNG_LABELS, *PLEURAL_LABELS)
        for place in places_of(s)
    }
    for match in _CLEAR_ZONE.finditer(reasoning):
        third = (match["third"] or match["low"] or "").lower()
        place = (match["side"].lower(), third)
        if place in taken:
            yield f"the {place[0]} {place[1]} zone is clear where a sign is in it"

"""Side and region: the nearest word for a place in the same clause as a mention."""

from __future__ import annotations

import re
from typing import Literal, TypeVar

from cxr_reason.findings import NO_FINDING
from cxr_reason.statements.patterns import compile_rule

Side = Literal["left", "right", "bilateral"]
_Name = TypeVar("_Name", bound=str)

# Farther away than this, a word for a place belongs to something else.
_REACH = 60

# One of each in a body, in the middle of it.
_WITHOUT_SIDE = {"Cardiomegaly", "Enlarged Cardiomediastinum", "Hernia", NO_FINDING}

_SIDES: dict[Side, re.Pattern[str]] = {
    "bilateral": compile_rule(
        r"bilateral(?:ly)?|both|bibasilar|bibasal|biapical|bihilar|diffuse(?:ly)?",
        r"(?:right|left)(?: side)?,? (?:and|or|greater than|larger than|worse than|more than)"
        r"(?: the| on the)? (?:right|left)",
    ),
    "left": compile_rule(r"left(?: sided)?|lingula|lingular|retrocardiac"),
    "right": compile_rule(r"right(?: sided)?|middle lobe"),
}

REGIONS: dict[str, re.Pattern[str]] = {
    "apex": compile_rule(r"apex|apices|(?:bi)?apical"),
    "upper zone": compile_rule(r"upper(?: lung)? (?:zones?|lobes?|lungs?|fields?)|suprahilar"),
    "middle zone": compile_rule(
        r"mid(?:dle)?(?: lung)? (?:zones?|lobes?|lungs?|fields?)|midlungs?|lingula|lingular"
    ),
    "lower zone": compile_rule(r"lower(?: lung)? (?:zones?|lobes?|lungs?|fields?)|infrahilar"),
    "base": compile_rule(r"bases?|(?:bi)?bas(?:ilar|al)"),
    "hilum": compile_rule(r"hil(?:um|a|ar)|perihilar|(?:supra|infra)hilar"),
    "retrocardiac": compile_rule(r"retro ?cardiac|behind the heart"),
    "costophrenic angle": compile_rule(
        r"(?:costophrenic|CP)(?: \w{1,14})? ?(?:angles?|sulc(?:us|i)|recess(?:es)?)?"
    ),
    "fissure": compile_rule(r"fissures?|fissural|interlobar"),
    "mediastinum": compile_rule(r"(?:cardio)?mediastin(?:um|al)|paratracheal"),
    "diaphragm": compile_rule(r"(?:hemi ?)?diaphragms?|subdiaphragmatic"),
    "ribs": compile_rule(r"ribs?"),
    "spine": compile_rule(r"spine|spinal|vertebra(?:e|l)?"),
    "clavicle": compile_rule(r"clavicles?|clavicular"),
}
# What a word for a place does not reach across, and the commas that it does: "In the right
# base, …".
_BREAK = re.compile(r"[;:,]|\b(?:but|however|although|while|whereas|and (?:the|an?|there))\b")
_FRONTED = re.compile(r"(?:in|at|on|within|over|under|along)\b", re.IGNORECASE)
# "effusions, right greater than left": both sides, although after a comma.
_COMPARED = compile_rule(
    r"(?:right|left)(?: side)? (?:greater|larger|worse|more|bigger)(?: \w{1,14})? than"
    r"(?: the| on the)? (?:right|left)"
)


def has_side(finding: str) -> bool:
    """Whether a finding can be on one side."""
    return finding not in _WITHOUT_SIDE


def find_side(sentence: str, span: tuple[int, int]) -> Side | None:
    """Return the side that the words nearest to a mention give it."""
    if _COMPARED.search(sentence, span[1], min(len(sentence), span[1] + _REACH)):
        return "bilateral"
    return _nearest(_SIDES, sentence, span)


def find_region(sentence: str, span: tuple[int, int]) -> str | None:
    """Return the region that the words nearest to a mention give it."""
    return _nearest(REGIONS, sentence, span)


def _nearest(
    names: dict[_Name, re.Pattern[str]], sentence: str, span: tuple[int, int]
) -> _Name | None:
    start, end = span
    first, last = max(0, start - _REACH), min(len(sentence), end + _REACH)
    breaks = [match.end() for match in _BREAK.finditer(sentence, first, start)]
    is_fronted = first == 0 and _FRONTED.match(sentence) is not None
    if breaks and not is_fronted:
        first = breaks[-1]
    if following := _BREAK.search(sentence, end, last):
        last = following.start()
    distances = [
        (max(start - match.end(), match.start() - end, 0), order, name)
        for order, (name, pattern) in enumerate(names.items())
        for match in pattern.finditer(sentence, first, last)
    ]
    return min(distances)[2] if distances else None

"""Where signs are, in words, and what can be said of each zone of the lungs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cxr_reason.statements import Polarity
from cxr_reason.training.traces.facts import Facts, Sign

LungSide = Literal["right", "left"]
Third = Literal["upper", "mid", "lower"]
Place = tuple[LungSide, Third]

SIDES: tuple[LungSide, ...] = ("right", "left")
THIRDS: tuple[Third, ...] = ("upper", "mid", "lower")
LUNG_LABELS = ("Lung Opacity", "Consolidation", "Pneumonia", "Atelectasis", "Edema", "Lung Lesion")
PLEURAL_LABELS = ("Pneumothorax", "Pleural Effusion", "Pleural Other")

ZONE_NAMES: dict[Third, str] = {"upper": "upper", "mid": "middle", "lower": "lower"}


def places_of(sign: Sign) -> set[Place]:
    """Return the zones that a sign is in; none where its place is not known so well."""
    sides = SIDES if sign.side == "bilateral" else [side for side in SIDES if side == sign.side]
    thirds = THIRDS if sign.zone == "diffuse" else [third for third in THIRDS if third == sign.zone]
    return {(side, third) for side in sides for third in thirds}


def zone_states(facts: Facts) -> dict[Place, Polarity] | None:
    """Return the state of the six zones, or None where the source does not place what it states.

    A zone is "absent" of signs only where lung opacity is known at all and everything that is
    present or uncertain in lungs and pleura has its place.
    """
    if "Lung Opacity" not in facts.states:
        return None
    zones: dict[Place, Polarity] = {(side, third): "absent" for side in SIDES for third in THIRDS}
    labels = (*LUNG_LABELS, *PLEURAL_LABELS)
    for label in labels:
        state = facts.states.get(label, "absent")
        if state == "absent":
            continue
        signs = facts.signs_of(label)
        if not signs or not all(places_of(sign) for sign in signs):
            return None
        for place in set().union(*map(places_of, signs)):
            zones[place] = "present" if "present" in (state, zones[place]) else "uncertain"
    # An uncertain sign beside a present one of the same label is placed as well.
    for sign in facts.signs:
        if sign.label in labels:
            for place in places_of(sign):
                if zones[place] == "absent":
                    zones[place] = sign.state
    return zones


def place_words(signs: Sequence[Sign]) -> str:
    """Return the place of signs as in " in the right upper zone"; empty where it is not known."""
    placed = {place for sign in signs for place in places_of(sign)}
    sides = [side for side in SIDES if any(sign.side in (side, "bilateral") for sign in signs)]
    if not sides:
        return ""
    thirds = {side: [t for t in THIRDS if (side, t) in placed] for side in sides}
    if not all(thirds.values()):
        return " on both sides" if len(sides) == 2 else f" on the {sides[0]}"
    if len(sides) == 2 and thirds["right"] == thirds["left"]:
        return _zones("both", thirds["right"])
    placed_words = " and".join(_zones(side, thirds[side]) for side in sides)
    # The nearest side is what a reader takes a finding to be on, so both come first.
    return f" on both sides,{placed_words}" if len(sides) == 2 else placed_words


def _zones(side: str, thirds: Sequence[Third]) -> str:
    if len(thirds) == len(THIRDS):
        return " throughout both lungs" if side == "both" else f" throughout the {side} lung"
    names = " and ".join(ZONE_NAMES[third] for third in thirds)
    plural = "s" if side == "both" or len(thirds) > 1 else ""
    return f" in {side if side == 'both' else f'the {side}'} {names} zone{plural}"

"""Which findings a film has, and which labels follow from them.

What can be drawn is thirteen of the fourteen labels; `No Finding` is what is left. Each is drawn
or not independently, so the only findings that go together are those of the hierarchy (CheXpert,
Irvin et al., AAAI 2019):

    Lung Opacity                 ← Atelectasis, Consolidation ← Pneumonia, Edema, Lung Lesion
    Enlarged Cardiomediastinum   ← Cardiomegaly

A present child makes its parent present. An uncertain child makes its parent uncertain, if nothing
else makes it present. `No Finding` is CheXpert's rule: present where no label other than `Support
Devices` is present or uncertain, else absent.

Conventions of these phantoms, where a film cannot decide what a clinician would:

- Pneumonia is a consolidation with small airspace nodules around it; without them it is absent,
  with hardly visible ones uncertain.
- Lung Opacity drawn by itself is ground glass.
- Cardiomegaly is a cardiothoracic ratio above 0.50 on a PA film (Danzer, Am J Med Sci 1919) and
  above 0.55 on an AP film, which magnifies the heart; up to 0.03 below that it is uncertain.
- Enlarged Cardiomediastinum drawn by itself is a mediastinum, at the aortic knob, wider than 0.27
  of the thorax; from 0.25 it is uncertain.
- Every other finding is present where it changes what is shown by at least `VISIBLE_CONTRAST` of
  the window's width, and uncertain below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from cxr_reason.data.phantoms.anatomy import View
from cxr_reason.data.phantoms.body import Outline
from cxr_reason.data.phantoms.streams import Stream, open_stream
from cxr_reason.errors import BadRequestError
from cxr_reason.findings import LABELS, NO_FINDING, PARENTS

State = Literal["present", "absent", "uncertain"]

# Probability that a finding is drawn. Labels that also follow from others are drawn less often by
# themselves; `No Finding` then comes to about 0.17.
DEFAULT_PREVALENCE: dict[str, float] = {
    "Atelectasis": 0.15,
    "Cardiomegaly": 0.15,
    "Consolidation": 0.08,
    "Edema": 0.15,
    "Enlarged Cardiomediastinum": 0.10,
    "Fracture": 0.15,
    "Lung Lesion": 0.15,
    "Lung Opacity": 0.08,
    "Pleural Effusion": 0.15,
    "Pleural Other": 0.15,
    "Pneumonia": 0.12,
    "Pneumothorax": 0.15,
    "Support Devices": 0.25,
}

UNCERTAIN_SHARE = 0.12  # of the findings that are drawn
NEVER_UNCERTAIN = frozenset({"Support Devices"})  # a device is there or it is not

VISIBLE_CONTRAST = 0.05  # of the window's width: see the module's docstring

CARDIOTHORACIC_LIMIT: dict[View, float] = {"PA": 0.50, "AP": 0.55}
CARDIOTHORACIC_MARGIN = 0.03
MEDIASTINAL_LIMIT = 0.27
MEDIASTINAL_MARGIN = 0.02


def draw_states(seed: int, prevalence: Mapping[str, float]) -> dict[str, State]:
    """Draw the findings of a film.

    Args:
        seed: Of the film.
        prevalence: Label to probability; what is not in it is not drawn.

    Returns:
        What is drawn, each "present" or "uncertain", in the order of `LABELS`.

    Raises:
        BadRequestError: A name that cannot be drawn, or a probability outside 0..1.
    """
    for label, probability in prevalence.items():
        _check_drawable(label)
        if not 0.0 <= probability <= 1.0:
            raise BadRequestError(f"prevalence of {label}: {probability:g}; give 0 to 1")
    rng = open_stream(seed, Stream.STATES)
    states: dict[str, State] = {}
    # Two numbers for every label, drawn or not: what is asked of one says nothing about the next.
    for label, (is_drawn, is_faint) in zip(LABELS, rng.random((len(LABELS), 2)), strict=True):
        if is_drawn < prevalence.get(label, 0.0):
            faint = is_faint < UNCERTAIN_SHARE and label not in NEVER_UNCERTAIN
            states[label] = "uncertain" if faint else "present"
    return states


def complete_request(asked: Mapping[str, State]) -> dict[str, State]:
    """Check a caller's choice of findings.

    Args:
        asked: Label to state; "absent" is the same as leaving it out.

    Returns:
        What is to be drawn. A pneumonia brings the consolidation that it is drawn around.

    Raises:
        BadRequestError: A name or state that cannot be drawn.
    """
    for label, state in asked.items():
        _check_drawable(label)
        if state not in ("present", "absent", "uncertain"):
            raise BadRequestError(f"{label}: {state!r}; give present, absent or uncertain")
        if state == "uncertain" and label in NEVER_UNCERTAIN:
            raise BadRequestError(f"{label} is never uncertain; give present or absent")
    drawn = {label: asked[label] for label in LABELS if asked.get(label, "absent") != "absent"}
    if "Pneumonia" in drawn:
        drawn["Consolidation"] = "present"
    return drawn


def label_film(drawn: Mapping[str, State]) -> dict[str, State]:
    """Return the state of all fourteen labels, by the rules in the module's docstring."""
    states: dict[str, State] = {label: drawn.get(label, "absent") for label in LABELS}
    # Twice: Pneumonia reaches Lung Opacity by way of Consolidation.
    for _ in range(2):
        for child, parent in PARENTS.items():
            states[parent] = _stronger(states[parent], states[child])
    others = {state for label, state in states.items() if label != "Support Devices"}
    states[NO_FINDING] = "present" if others == {"absent"} else "absent"
    return states


def choose_outline(seed: int, view: View, drawn: Mapping[str, State]) -> Outline:
    """Draw the sizes of heart and mediastinum that the states ask for."""
    rng = open_stream(seed, Stream.OUTLINE)
    within = rng.random(2)

    def between(k: int, low: float, high: float) -> float:
        return low + float(within[k]) * (high - low)

    limit, margin = CARDIOTHORACIC_LIMIT[view], CARDIOTHORACIC_MARGIN
    heart = {
        "present": between(0, limit + 0.02, limit + 0.14),
        "uncertain": between(0, limit - margin, limit),
        "absent": between(0, limit - 0.11, limit - margin - 0.005),
    }
    limit, margin = MEDIASTINAL_LIMIT, MEDIASTINAL_MARGIN
    mediastinum = {
        "present": between(1, limit + 0.02, limit + 0.10),
        "uncertain": between(1, limit - margin, limit),
        "absent": between(1, limit - 0.07, limit - margin - 0.005),
    }
    return Outline(
        cardiothoracic=heart[drawn.get("Cardiomegaly", "absent")],
        mediastinal=mediastinum[drawn.get("Enlarged Cardiomediastinum", "absent")],
    )


def _check_drawable(label: str) -> None:
    if label not in DEFAULT_PREVALENCE:
        raise BadRequestError(
            f"phantom: {label!r} cannot be drawn; give some of {', '.join(DEFAULT_PREVALENCE)}"
        )


def _stronger(one: State, other: State) -> State:
    order: tuple[State, ...] = ("absent", "uncertain", "present")
    return max(one, other, key=order.index)

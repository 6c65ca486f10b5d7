"""What a source states about one film: the only thing that a trace of it may say.

States come from the source as they are: a label that it does not state is unknown, and neither
affirmed nor denied in the trace. Where a finding is, and what kind, is a `Sign`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from cxr_reason.data.phantoms import Phantom
from cxr_reason.data.releases import Box, Example
from cxr_reason.findings import LABELS, NO_FINDING, labels_above
from cxr_reason.statements import TO_CHEXPERT, Polarity, collect_labels, find_statements

Side = Literal["left", "right", "bilateral"]
Zone = Literal["upper", "mid", "lower", "diffuse", "mediastinum"]
View = Literal["PA", "AP"]

# Thirds of the lungs on a film that shows the chest from the neck to the costophrenic angles, as
# shares of its height; a box higher than `_DIFFUSE_HEIGHT` is in more than one of them.
_ZONE_LIMITS = (0.38, 0.58)
_DIFFUSE_HEIGHT = 0.42
# A box that reaches this far beyond the midline on both sides is on both.
_ACROSS = 0.12
_WITHOUT_SIDE = ("Cardiomegaly", "Enlarged Cardiomediastinum")

# The regions of `cxr_reason.statements` that are a third of a lung.
ZONE_OF_REGION: dict[str, Zone] = {
    "apex": "upper",
    "upper zone": "upper",
    "middle zone": "mid",
    "lower zone": "lower",
    "base": "lower",
}


@dataclass(frozen=True)
class Sign:
    """One thing seen.

    Attributes:
        label: One of `findings.LABELS`.
        state: "present" or "uncertain".
        side: Of the patient; None for the midline, or where the source does not say.
        zone: Third of the lung; "diffuse" for more than one; None where the source does not say.
        kind: What it is, e.g. "nodule" or "endotracheal tube", if the source says.
    """

    label: str
    state: Literal["present", "uncertain"]
    side: Side | None = None
    zone: Zone | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is known about one film.

    Attributes:
        states: Label to state. A label that is not here is unknown.
        signs: What is present or uncertain, as far as its place or kind is known.
        view: Direction of the beam, if known.
    """

    states: Mapping[str, Polarity]
    signs: tuple[Sign, ...] = ()
    view: View | None = None

    def signs_of(self, label: str) -> tuple[Sign, ...]:
        """Return the signs that a label rests on: its own and those below it in the hierarchy.

        Those of its own state only: what is present is not placed by what is uncertain.
        """
        state = self.states.get(label)
        return tuple(sign for sign in self.all_signs_of(label) if sign.state == state)

    def all_signs_of(self, label: str) -> tuple[Sign, ...]:
        """Return its signs, and those below it, whatever their state."""
        return tuple(sign for sign in self.signs if label in labels_above(sign.label))


def facts_of_phantom(phantom: Phantom) -> Facts:
    """Return the ground truth of a phantom."""
    signs = tuple(
        Sign(
            label=finding.label,
            state="present" if finding.state == "present" else "uncertain",
            side=None if finding.side == "midline" else finding.side,
            zone=finding.zone,
            kind=finding.kind,
        )
        for finding in phantom.findings
    )
    return Facts(dict(phantom.labels), signs, phantom.view)


def facts_of_example(example: Example) -> Facts:
    """Return the labels of an example, placed by its boxes.

    The report, if there is one, is not read: see `facts_of_report`. A box of a label that is not
    present says nothing.
    """
    signs = tuple(
        _sign_of_box(box) for box in example.boxes if example.labels.get(box.label) == "present"
    )
    return Facts(dict(example.labels), signs, example.view)


def facts_of_report(report_text: str) -> Facts:
    """Return what the statement rules read in a report.

    What has no label of its own (emphysema, a granuloma, old surgery) only keeps `No Finding` from
    being present.
    """
    statements = find_statements(report_text)
    states = collect_labels(statements, "chexpert")
    signs = []
    for statement in statements:
        label = TO_CHEXPERT.get(statement.finding)
        polarity = statement.polarity
        if label is None or label == NO_FINDING or polarity == "absent":
            continue
        zone = ZONE_OF_REGION.get(statement.region or "")
        if statement.side or zone:
            signs.append(Sign(label, polarity, statement.side, zone))
    return Facts(states, tuple(dict.fromkeys(signs)))


def gold_answer(states: Mapping[str, Polarity]) -> str:
    """Return the labels of the answer, comma-separated, in the order of `LABELS`.

    - What is present; No Finding only by itself, so a device is answered alone.
    - Where nothing is present: what is uncertain. A reader must name what is suspected, and
      training on uncertain labels as positive is CheXpert's U-Ones (Irvin et al., AAAI 2019).
    - Else it is empty: no answer follows, e.g. from a disease that has no label.
    """
    others = [label for label in LABELS if label != NO_FINDING]
    present = _in_state(states, others, "present")
    uncertain = _in_state(states, others, "uncertain")
    normal = [NO_FINDING] if states.get(NO_FINDING) == "present" else []
    return ", ".join(present or uncertain or normal)


def sides_of(signs: Iterable[Sign]) -> set[Side]:
    """Return the sides that signs are on; where they are on both, "bilateral" too."""
    sides: set[Side] = {sign.side for sign in signs if sign.side}
    if "bilateral" in sides or {"left", "right"} <= sides:
        return {"left", "right", "bilateral"}
    return sides


def _in_state(states: Mapping[str, Polarity], labels: Iterable[str], state: Polarity) -> list[str]:
    return [label for label in labels if states.get(label) == state]


def _sign_of_box(box: Box) -> Sign:
    if box.label in _WITHOUT_SIDE:
        return Sign(box.label, "present", None, "mediastinum")
    left, right = box.left, box.left + box.width
    side: Side = "right" if (left + right) / 2.0 < 0.5 else "left"  # the patient faces us
    if left < 0.5 - _ACROSS and right > 0.5 + _ACROSS:
        side = "bilateral"
    middle = box.top + box.height / 2.0
    zone: Zone = "lower"
    if box.height > _DIFFUSE_HEIGHT:
        zone = "diffuse"
    elif middle < _ZONE_LIMITS[0]:
        zone = "upper"
    elif middle < _ZONE_LIMITS[1]:
        zone = "mid"
    return Sign(box.label, "present", side, zone)

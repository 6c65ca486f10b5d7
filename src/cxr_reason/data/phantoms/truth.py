"""Ground truth: where a finding is, how clear it is, and the state that follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxr_reason.data.phantoms.anatomy import (
    APEX_CM,
    KNOB_CM,
    SIGN,
    Side,
    lateral_border,
    medial_border,
)
from cxr_reason.data.phantoms.body import Outline, mediastinal_borders
from cxr_reason.data.phantoms.canvas import Canvas, Map
from cxr_reason.data.phantoms.cases import VISIBLE_CONTRAST, State
from cxr_reason.data.phantoms.detector import Plate
from cxr_reason.data.phantoms.scene import Painted, Scene
from cxr_reason.data.phantoms.streams import Stream, open_stream
from cxr_reason.findings import LABELS

Box = tuple[int, int, int, int]
FindingSide = Literal["left", "right", "midline"]
Zone = Literal["upper", "mid", "lower", "diffuse", "mediastinum"]

_BOX_SHARE = 0.08  # of a finding's largest change: what is fainter lies outside its box
_CORE_SHARE = 0.5  # likewise: what its contrast is measured on
# Contrast of an uncertain finding, and the least of a present one, over `VISIBLE_CONTRAST`.
_FAINT = (0.4, 0.8)
_CLEAR = 1.3
_DIFFUSE_SHARE = 0.6  # of the lung's height


@dataclass(frozen=True)
class PhantomFinding:
    """One thing on the film, with the ground truth about it.

    Attributes:
        label: The label it was drawn for. What follows by hierarchy has no finding of its own.
        state: "present" or "uncertain".
        kind: What it is, e.g. "nodule" or "endotracheal tube".
        side: Of the patient: the patient's left is the right of the image.
        zone: Third of the lung's height that holds the middle of its box; "diffuse" where the box
            is higher than 0.6 of the lung; "mediastinum" for heart, mediastinum and what is in it.
        box: x0, y0, x1, y1 in pixels, the ends not included.
        contrast_units: Mean absolute change in detector units over its core, before edge
            processing; None for the outlines of heart and mediastinum.
        visibility: The same over the window's width: at least `VISIBLE_CONTRAST` where present.
        ratio: Width over that of the thorax, for the outlines of heart and mediastinum.
    """

    label: str
    state: State
    kind: str
    side: FindingSide
    zone: Zone
    box: Box
    contrast_units: float | None = None
    visibility: float | None = None
    ratio: float | None = None


def judge(
    scene: Scene, plate: Plate, label: str, state: State, painted: Painted
) -> tuple[list[PhantomFinding], Map, NDArray[np.bool_]]:
    """Make a painted finding as clear or as faint as its state says, and describe it.

    Args:
        scene: The chest.
        plate: The exposed film without findings.
        label: What it is drawn for.
        state: "present" or "uncertain".
        painted: The finding in its natural strength.

    Returns:
        The finding, once for each side it has a box on, its change in nepers `[H, W]`, and the
        pixels it shows on `[H, W]`.
    """
    exposure = plate.exposure
    # Scatter takes its share of every contrast.
    shown = np.abs(painted.change) * plate.direct_share
    core = shown[shown > _CORE_SHARE * shown.max()]
    natural = float(core.mean()) * exposure.units_per_neper / exposure.window_width
    factor = _choose_visibility(scene.seed, label, state, natural) / natural
    shown *= factor
    if painted.with_change is not None:
        shown = np.maximum(shown, np.abs(painted.with_change) * plate.direct_share)
    findings = [
        PhantomFinding(
            label=label,
            state=state,
            kind=painted.kind,
            side=side,
            zone=_zone_of(scene, painted, side, box),
            box=box,
            contrast_units=natural * factor * exposure.window_width,
            visibility=natural * factor,
        )
        for side, box in _boxes(scene, shown, painted)
    ]
    return findings, factor * painted.change, _significant(shown)


def _choose_visibility(seed: int, label: str, state: State, natural: float) -> float:
    if state == "present":
        return max(natural, _CLEAR * VISIBLE_CONTRAST)
    within = open_stream(seed, Stream.FAINTNESS).random(len(LABELS))[LABELS.index(label)]
    return VISIBLE_CONTRAST * (_FAINT[0] + (_FAINT[1] - _FAINT[0]) * float(within))


def outline_findings(
    scene: Scene, outline: Outline, drawn: Mapping[str, State]
) -> list[PhantomFinding]:
    """Describe what is enlarged: heart, mediastinum."""
    findings = []
    for label, kind, ratio in (
        ("Cardiomegaly", "enlarged heart", outline.cardiothoracic),
        ("Enlarged Cardiomediastinum", "wide mediastinum", outline.mediastinal),
    ):
        if label not in drawn:
            continue
        is_heart = label == "Cardiomegaly"
        box = _heart_box(scene) if is_heart else _mediastinal_box(scene, outline)
        findings.append(
            PhantomFinding(label, drawn[label], kind, "midline", "mediastinum", box, ratio=ratio)
        )
    return findings


def _heart_box(scene: Scene) -> Box:
    return _box_around(scene.body.heart > 0.0)


def _mediastinal_box(scene: Scene, outline: Outline) -> Box:
    right, left = mediastinal_borders(scene.anatomy, outline.mediastinal, np.array(KNOB_CM))
    return _box_of_region(scene.canvas, (-float(right), float(left)), (APEX_CM, -1.0))


def lung_box(scene: Scene, side: Side) -> Box:
    """Return the box of a lung from its apex to the top of the diaphragm, in pixels."""
    dome = scene.anatomy.dome_of(side)
    outer = float(lateral_border(scene.anatomy, np.array(dome)))
    inner = float(medial_border(np.array(dome)))
    return _box_of_region(scene.canvas, (SIGN[side] * inner, SIGN[side] * outer), (APEX_CM, dome))


def _box_of_region(canvas: Canvas, x_cm: tuple[float, float], y_cm: tuple[float, float]) -> Box:
    rows, columns = canvas.region(x_cm, y_cm)
    return columns.start, rows.start, columns.stop, rows.stop


def _boxes(scene: Scene, shown: Map, painted: Painted) -> list[tuple[FindingSide, Box]]:
    if painted.is_split:
        return [(side, _box_around(_significant(shown * scene.is_side(side)))) for side in SIGN]
    side: FindingSide = painted.side or "midline"
    return [(side, _box_around(_significant(shown)))]


def _significant(shown: Map) -> NDArray[np.bool_]:
    return np.asarray(shown > _BOX_SHARE * shown.max())


def _box_around(mask: NDArray[np.bool_]) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _zone_of(scene: Scene, painted: Painted, side: FindingSide, box: Box) -> Zone:
    if side not in ("left", "right") or painted.kind == "central venous catheter":
        return "mediastinum"
    _, top, _, bottom = lung_box(scene, "left" if side == "left" else "right")
    if painted.kind == "pacemaker":
        return "upper"  # the case; its leads run down to the heart
    if painted.is_split or box[3] - box[1] > _DIFFUSE_SHARE * (bottom - top):
        return "diffuse"
    third = 3.0 * ((box[1] + box[3]) / 2.0 - top) / (bottom - top)
    return "upper" if third < 1.0 else "mid" if third < 2.0 else "lower"

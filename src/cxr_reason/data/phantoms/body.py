"""Soft tissue, lungs, mediastinum and diaphragm as path lengths along the beam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_reason.data.phantoms.anatomy import (
    APEX_CM,
    CARINA_CM,
    KNOB_CM,
    SIGN,
    Anatomy,
    Side,
    dome_drop,
    lateral_border,
    medial_border,
)
from cxr_reason.data.phantoms.canvas import Canvas, Map, cylinder

# The heart at its unit size: center x, center y, semi-axes, extra tilt. The union of the three is
# the outline: ventricles, right atrium, and the outflow with the left atrial appendage.
_VENTRICLES = (2.5, 4.6, 6.1, 4.3)
_RIGHT_ATRIUM = (-1.1, 3.9, 3.0, 4.7)
_OUTFLOW = (0.9, -0.3, 3.0, 4.2)

_HEART_DEPTH_CM = 10.5
_MEDIASTINUM_DEPTH_CM = 10.0
_LIVER_RADIUS_CM = 7.5  # of the dome, seen from the side


@dataclass(frozen=True)
class Outline:
    """The two ratios that are findings, both over the largest inner width of the thorax.

    Attributes:
        cardiothoracic: Width of the heart.
        mediastinal: Width of the mediastinum at the aortic knob.
    """

    cardiothoracic: float
    mediastinal: float


@dataclass(frozen=True)
class Body:
    """Path lengths, float64 `[H, W]`, in cm.

    Attributes:
        total: Through the whole patient.
        lung: Through aerated lung.
        cavity: Lung and heart together, down to the diaphragm: what a pleural space can fill.
        heart: Through the heart.
        air: Through airways and gastric gas.
        fat: Through the breasts.
        heart_extent_cm: Right and left border of the heart, as x.
    """

    total: Map
    lung: Map
    cavity: Map
    heart: Map
    air: Map
    fat: Map
    heart_extent_cm: tuple[float, float]


def make_body(
    canvas: Canvas, anatomy: Anatomy, outline: Outline, lifts_cm: dict[Side, float]
) -> Body:
    """Build the maps.

    Args:
        canvas: The detector.
        anatomy: The patient.
        outline: Sizes of heart and mediastinum.
        lifts_cm: How far volume loss raises each half of the diaphragm.
    """
    heart, extent = _heart(canvas, anatomy, outline.cardiothoracic)
    thorax = _thorax(canvas, anatomy)
    cavity = np.maximum(thorax - _below_diaphragm(canvas, anatomy, lifts_cm), 0.0)
    mediastinum = _mediastinum(canvas, anatomy, outline.mediastinal)
    return Body(
        total=_torso(canvas, anatomy),
        lung=np.maximum(cavity - np.maximum(heart, mediastinum), 0.0),
        cavity=cavity,
        heart=heart,
        air=_airways(canvas, anatomy) + _gastric_gas(canvas, anatomy, lifts_cm["left"]),
        fat=_breasts(canvas, anatomy),
        heart_extent_cm=extent,
    )


def mediastinal_borders(anatomy: Anatomy, ratio: float, y_cm: Map) -> tuple[Map, Map]:
    """Return the distance of the right and the left border from the midline at each height."""

    def bump(y_top_cm: float, size_cm: float) -> Map:
        return np.asarray(np.maximum(1.0 - ((y_cm - y_top_cm) / size_cm) ** 2, 0.0) ** 0.7)

    neck = 1.6 * np.clip((-11.0 - y_cm) / 4.0, 0.0, 1.0)
    knob = anatomy.knob_radius_cm
    right = 2.5 + neck + 0.35 * bump(CARINA_CM + 0.3, 1.6) + 0.6 * np.clip(y_cm / 4.0, 0.0, 1.0)
    left = 2.2 + neck + 0.6 * knob * bump(KNOB_CM, knob * 1.3) + 1.0 * bump(-2.4, 2.2)
    at_knob_cm = 2.5 + 2.2 + 0.6 * knob
    scale = ratio * 2.0 * anatomy.half_width_cm / at_knob_cm
    # Only the upper part widens: below the carina the heart makes the outline.
    share = np.clip((0.0 - y_cm) / 3.0, 0.0, 1.0)
    factor = 1.0 + (scale - 1.0) * share
    return right * factor, left * factor


def _torso(canvas: Canvas, anatomy: Anatomy) -> Map:
    x, y = np.abs(canvas.x_cm), canvas.y_cm
    # Neck, then the slope of the shoulders, then the trunk.
    down = np.clip((y - anatomy.shoulder_cm + 3.0) / 7.0, 0.0, 1.0)
    trunk = anatomy.half_width_cm + anatomy.wall_cm
    half_width = 6.0 + (trunk - 6.0) * (3.0 * down**2 - 2.0 * down**3)
    depth = 11.0 + (anatomy.depth_cm - 11.0) * np.clip((y + 17.0) / 10.0, 0.0, 1.0)
    across = np.minimum(x / half_width, 1.0)
    trunk_path = depth * np.sqrt(1.0 - across * across * across)
    # Shoulders and arms: a thick sheet between a sloping upper and a sloping lower border.
    upper = anatomy.shoulder_cm + 0.28 * np.maximum(x - 6.0, 0.0)
    lower = -4.5 + anatomy.arm_slope * (x - trunk)
    from_middle = (2.0 * y - upper - lower) / np.maximum(lower - upper, 0.1)
    sheet = 10.0 * np.sqrt(np.maximum(1.0 - (from_middle**2) ** 2, 0.0))
    return np.asarray(np.maximum(trunk_path, sheet * ((lower > upper) & (x > 5.0))))


def _thorax(canvas: Canvas, anatomy: Anatomy) -> Map:
    y = canvas.y_cm
    lateral, medial = lateral_border(anatomy, y), medial_border(y)
    middle, half = (lateral + medial) / 2.0, np.maximum((lateral - medial) / 2.0, 1e-3)
    across = np.minimum(np.abs((np.abs(canvas.x_cm) - middle) / half), 1.0)
    depth = (anatomy.depth_cm - 4.5) * np.clip((y - APEX_CM + 2.5) / 12.0, 0.0, 1.0) ** 0.8
    path = depth * np.sqrt(1.0 - across * across * across)
    return np.asarray(np.where(y > APEX_CM, path, 0.0))


def _below_diaphragm(canvas: Canvas, anatomy: Anatomy, lifts_cm: dict[Side, float]) -> Map:
    # The beam grazes the dome: a sphere's chord grows with the root of the depth below its top.
    tops = [anatomy.dome_of(side) - lifts_cm[side] for side in ("right", "left")]
    edge = np.where(canvas.x_cm < 0.0, *tops) + dome_drop(anatomy, np.abs(canvas.x_cm))
    below = np.maximum(canvas.y_cm - edge, 0.0)
    return np.asarray(2.0 * np.sqrt(2.0 * _LIVER_RADIUS_CM * below))


def _heart(canvas: Canvas, anatomy: Anatomy, ratio: float) -> tuple[Map, tuple[float, float]]:
    cx, _, a, b = _VENTRICLES
    half_x = float(np.hypot(a * np.cos(anatomy.heart_tilt), b * np.sin(anatomy.heart_tilt)))
    left = cx + half_x
    right = min(_RIGHT_ATRIUM[0] - _RIGHT_ATRIUM[2], cx - half_x)
    scale = ratio * 2.0 * anatomy.half_width_cm / (left - right)
    # A larger heart rests on the diaphragm and grows upward less than sideways.
    tall = scale**0.5
    floor = anatomy.dome_of("left") + 0.2
    path = canvas.zeros()
    for (x, y, a, b), tilt in (
        (_VENTRICLES, anatomy.heart_tilt),
        (_RIGHT_ATRIUM, 0.0),
        (_OUTFLOW, 0.0),
    ):
        center = (x * scale + anatomy.turn_cm, floor + (y - 8.3) * tall)
        # Stretching x alone keeps the width exact: the ellipse is drawn in stretched coordinates.
        area, chord = _stretched(canvas, center, (a, b), tilt, (scale, tall))
        path[area] = np.maximum(path[area], chord)
    return path, (right * scale + anatomy.turn_cm, left * scale + anatomy.turn_cm)


def _stretched(
    canvas: Canvas,
    center: tuple[float, float],
    semi_axes: tuple[float, float],
    tilt: float,
    stretch: tuple[float, float],
) -> tuple[tuple[slice, slice], Map]:
    (cx, cy), (a, b) = center, semi_axes
    cos, sin = np.cos(tilt), np.sin(tilt)
    half_x = float(np.hypot(a * cos, b * sin)) * stretch[0]
    half_y = float(np.hypot(a * sin, b * cos)) * stretch[1]
    area = canvas.region((cx - half_x, cx + half_x), (cy - half_y, cy + half_y))
    x, y = (canvas.x_cm[area] - cx) / stretch[0], (canvas.y_cm[area[0]] - cy) / stretch[1]
    u, v = (x * cos + y * sin) / a, (y * cos - x * sin) / b
    return area, _HEART_DEPTH_CM * np.sqrt(np.maximum(1.0 - u * u - v * v, 0.0))


def _mediastinum(canvas: Canvas, anatomy: Anatomy, ratio: float) -> Map:
    right, left = mediastinal_borders(anatomy, ratio, canvas.y_cm)
    middle, half = (left - right) / 2.0, (left + right) / 2.0
    across = np.minimum(np.abs((canvas.x_cm - middle - 0.5 * anatomy.turn_cm) / half), 1.0)
    return np.asarray(_MEDIASTINUM_DEPTH_CM * np.sqrt(1.0 - (across**2) ** 2))


def _airways(canvas: Canvas, anatomy: Anatomy) -> Map:
    shift = 0.4 * anatomy.turn_cm
    count = canvas.num_samples(16.0)
    down = np.linspace(0.0, 1.0, count)[None, :]
    trachea_y = -20.0 + (CARINA_CM + 20.0) * down
    trachea_x = shift - 0.25 * np.sin(down * 3.0)
    path = 0.8 * canvas.stroke(trachea_x, trachea_y, 0.82, cylinder)
    for tip in ((-3.4, -1.9), (3.9, -2.0)):
        x = shift - 0.03 + (tip[0] - shift) * down
        y = CARINA_CM - 0.3 + (tip[1] - CARINA_CM + 0.3) * down
        path += canvas.stroke(x, y, 0.62 - 0.2 * down, cylinder, weight=0.9 - 0.4 * down)
    return path


def _gastric_gas(canvas: Canvas, anatomy: Anatomy, lift_cm: float) -> Map:
    path = canvas.zeros()
    if anatomy.gas_cm:
        center = (5.6, anatomy.dome_of("left") - lift_cm + 2.2)
        area, chord = canvas.ellipsoid(center, (anatomy.gas_cm, 1.5), 0.25, 2.8)
        path[area] += chord
    return path


def _breasts(canvas: Canvas, anatomy: Anatomy) -> Map:
    path = canvas.zeros()
    size = 4.2 + 0.7 * anatomy.breast_cm
    for side in SIGN.values():
        center = (side * (anatomy.half_width_cm - 4.6), 5.4 + 0.3 * anatomy.breast_cm)
        area, chord = canvas.ellipsoid(center, (size * 1.1, size * 0.85), side * 0.25)
        path[area] += chord / 2.0 * anatomy.breast_cm
    return path

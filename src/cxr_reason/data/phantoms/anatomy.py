"""The patient: every size that the film is drawn from, drawn itself from two streams.

Sizes are those of an adult chest at the detector (magnification included), set by eye so that
films look like films; they are not a survey of people. Nothing here depends on the labels except
the two ratios of the heart's and the mediastinum's outline, which are findings themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxr_reason.data.phantoms.canvas import Canvas, Map
from cxr_reason.data.phantoms.streams import Stream, open_stream

View = Literal["PA", "AP"]
Sex = Literal["F", "M"]
AgeBand = Literal["18-39", "40-64", "65+"]
Side = Literal["left", "right"]

AGE_BANDS: tuple[AgeBand, ...] = ("18-39", "40-64", "65+")

# +1 is toward the patient's left, which is the right of the image.
SIGN: dict[Side, int] = {"left": 1, "right": -1}

APEX_CM = -12.5
KNOB_CM = -6.6  # height of the aortic knob
CARINA_CM = -4.6
HILUM_CM: dict[Side, tuple[float, float]] = {"left": (3.9, -2.2), "right": (-3.7, -1.0)}


@dataclass(frozen=True)
class Anatomy:
    """One patient in one position.

    Attributes:
        view: "PA" or "AP".
        sex: "F" or "M".
        age_band: One of `AGE_BANDS`.
        half_width_cm: Half of the largest inner width of the thorax.
        wall_cm: Muscle, fat and ribs beside the lungs.
        depth_cm: Front to back, in the middle.
        dome_cm: Height of the top of each half of the diaphragm, (right, left).
        lean: See `Canvas.lean`.
        turn_cm: How far the front of the chest is turned to the patient's left.
        heart_tilt: Angle of the heart's long axis in radians.
        rib_gap_cm: From rib to rib.
        rib_drop_cm: How far a ring of ribs comes down from back to front.
        clavicle_rise_cm: How far the clavicles lie above their place on a PA film.
        scapula_shift_cm: How far the shoulder blades lie outside the lungs; negative is over them.
        shoulder_cm: Height of the shoulders.
        arm_slope: Steepness of the lower border of the arms.
        knob_radius_cm: Of the aortic arch.
        breast_cm: Thickness of the breast shadows, 0 for none visible.
        bone_density: Factor on the attenuation of bone.
        vessel_scale: Factor on the caliber of the vessels.
        gas_cm: Half width of the gastric bubble, 0 for none.
    """

    view: View
    sex: Sex
    age_band: AgeBand
    half_width_cm: float
    wall_cm: float
    depth_cm: float
    dome_cm: tuple[float, float]
    lean: float
    turn_cm: float
    heart_tilt: float
    rib_gap_cm: float
    rib_drop_cm: float
    clavicle_rise_cm: float
    scapula_shift_cm: float
    shoulder_cm: float
    arm_slope: float
    knob_radius_cm: float
    breast_cm: float
    bone_density: float
    vessel_scale: float
    gas_cm: float

    def dome_of(self, side: Side) -> float:
        """Return the height of the top of one half of the diaphragm."""
        return self.dome_cm[0] if side == "right" else self.dome_cm[1]


def make_anatomy(seed: int) -> Anatomy:
    """Draw a patient and a position."""
    rng = open_stream(seed, Stream.CASE)
    is_pa, is_female = rng.random(2) < 0.5
    age = int(rng.integers(3))
    rng = open_stream(seed, Stream.ANATOMY)
    bulk = float(np.clip(rng.normal(), -1.6, 2.2))  # thin to obese
    size = rng.normal(0.0, 0.6)
    breath = rng.normal(0.0, 0.7) - (0.0 if is_pa else 1.6)
    right_dome = 9.2 + breath
    return Anatomy(
        view="PA" if is_pa else "AP",
        sex="F" if is_female else "M",
        age_band=AGE_BANDS[age],
        half_width_cm=14.0 + size - (0.9 if is_female else 0.0) - (0.0 if is_pa else 0.2),
        wall_cm=2.6 + 0.8 * max(bulk, -1.0),
        depth_cm=21.5 + 2.2 * bulk - (1.0 if is_female else 0.0),
        dome_cm=(right_dome, right_dome + rng.normal(1.1, 0.5)),
        lean=rng.normal(0.0, 0.02 if is_pa else 0.035),
        turn_cm=rng.normal(0.0, 0.25 if is_pa else 0.5),
        heart_tilt=rng.normal(0.62, 0.10) - 0.05 * bulk,
        rib_gap_cm=rng.normal(2.2, 0.07),
        rib_drop_cm=rng.normal(8.6, 0.9) - (0.0 if is_pa else 1.5),
        clavicle_rise_cm=rng.normal(0.0, 0.5) + (0.0 if is_pa else 1.3),
        scapula_shift_cm=rng.normal(2.6, 0.6) if is_pa else rng.normal(-0.6, 0.8),
        shoulder_cm=rng.normal(-15.2, 0.5) - (0.0 if is_pa else 0.4),
        arm_slope=rng.uniform(1.0, 3.5),
        knob_radius_cm=1.35 + 0.2 * age + rng.normal(0.0, 0.12),
        breast_cm=max(0.0, rng.normal(2.6, 0.7)) if is_female else max(0.0, 0.5 * bulk),
        bone_density=(1.05, 1.0, 0.85)[age] * rng.uniform(0.9, 1.1),
        vessel_scale=rng.uniform(0.88, 1.12),
        gas_cm=rng.uniform(1.6, 3.2) if rng.random() < 0.7 else 0.0,
    )


def make_canvas(seed: int, anatomy: Anatomy, size_px: int) -> Canvas:
    """Choose the field of view: the chest and a margin, not quite centered."""
    rng = open_stream(seed, Stream.GEOMETRY)
    outer_cm = 2.0 * (anatomy.half_width_cm + anatomy.wall_cm)
    field_cm = max(outer_cm + rng.uniform(0.5, 4.0), 33.0) + rng.uniform(0.0, 2.5)
    middle_cm = (APEX_CM + max(anatomy.dome_cm) + 4.5) / 2.0
    return Canvas(
        size_px=size_px,
        cm_per_px=field_cm / size_px,
        left_cm=-field_cm / 2.0 + rng.normal(0.0, 0.4),
        top_cm=middle_cm - field_cm / 2.0 + rng.normal(0.0, 0.5),
        lean=anatomy.lean,
    )


def lateral_border(anatomy: Anatomy, y_cm: Map) -> Map:
    """Return how far from the midline the lung reaches at each height; 4.4 cm at the apex."""
    down = np.clip((y_cm - APEX_CM) / 18.0, 0.0, 1.0)
    return np.asarray(4.4 + (anatomy.half_width_cm - 4.4) * (1.0 - (1.0 - down) ** 2.1) ** 0.6)


def medial_border(y_cm: Map) -> Map:
    """Return how close to the midline the lung comes, behind heart and great vessels."""
    down = np.clip((y_cm - APEX_CM) / 5.0, 0.0, 1.0)
    return np.asarray(4.4 - 2.5 * np.sqrt(1.0 - (1.0 - down) ** 2))


def dome_drop(anatomy: Anatomy, distance_cm: Map) -> Map:
    """Return how far the diaphragm's edge lies below its top, at a distance from the midline."""
    top = 6.2
    beyond = distance_cm - top
    outward = 4.6 / (anatomy.half_width_cm - top) ** 2
    return np.asarray(beyond * beyond * np.where(beyond > 0.0, outward, 0.7 / top**2))

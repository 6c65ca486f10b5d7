"""Ribs, clavicles, shoulder blades and spine, as attenuation beyond that of soft tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_reason.data.phantoms.anatomy import (
    APEX_CM,
    SIGN,
    Anatomy,
    Side,
    lateral_border,
)
from cxr_reason.data.phantoms.canvas import Canvas, Map, cylinder

NUM_RIBS = 10  # the last two pairs lie below the diaphragm
RIB_RADIUS_CM = 0.56
_MARROW_RADIUS = 0.8  # of a rib's marrow, in radii of the rib
_MARROW_DENSITY = 0.2  # bone in the marrow, by volume
_RING_END = 2.55  # radians from the spine to the cartilage, which casts no shadow


@dataclass(frozen=True)
class Ring:
    """One rib as half an ellipse: from the spine back, outward and down to the front.

    Attributes:
        side: Side of the patient.
        top_cm: Height at the spine.
        reach_cm: Largest distance from the midline.
        drop_cm: From the height at the spine to that at the breastbone.
    """

    side: Side
    top_cm: float
    reach_cm: float
    drop_cm: float

    def at(self, angle: Map) -> tuple[Map, Map]:
        """Return x and y in cm; the angle is 0 at the spine and pi / 2 at the side."""
        x = SIGN[self.side] * self.reach_cm * np.sin(angle)
        return x, self.top_cm + self.drop_cm / 2.0 * (1.0 - np.cos(angle))


def rib(anatomy: Anatomy, side: Side, number: int) -> Ring:
    """Return a rib; the first is number 1."""
    top = APEX_CM - 0.6 + anatomy.rib_gap_cm * (number - 1)
    drop = anatomy.rib_drop_cm * (0.55 + 0.45 * min(number / 5.0, 1.0))
    reach = float(lateral_border(anatomy, np.array(top + drop / 2.0))) + 0.25
    return Ring(side, top, reach, drop)


def rib_profile(across: Map) -> Map:
    """Bone across a rib, in radii: a dense shell around marrow."""
    marrow = 2.0 * np.sqrt(np.maximum(_MARROW_RADIUS**2 - across * across, 0.0))
    return cylinder(across) - (1.0 - _MARROW_DENSITY) * marrow


def make_skeleton(canvas: Canvas, anatomy: Anatomy) -> Map:
    """Return the path through bone in cm, as if all of it were cortical."""
    bone = _ribs(canvas, anatomy) + _clavicles(canvas, anatomy) + _scapulae(canvas, anatomy)
    _add_spine(bone, canvas, anatomy)
    _add_humeri(bone, canvas, anatomy)
    return bone * anatomy.bone_density


def ring_angles(canvas: Canvas, ring: Ring, start: float, end: float) -> Map:
    """Return `[1, points]` angles of points at equal distances, close enough to be drawn."""
    angle = np.linspace(start, end, 64)
    x, y = ring.at(angle)
    length = np.append(0.0, np.hypot(np.diff(x), np.diff(y)).cumsum())
    places = np.linspace(0.0, length[-1], canvas.num_samples(float(length[-1])))
    return np.interp(places, length, angle)[None, :]


def _ribs(canvas: Canvas, anatomy: Anatomy) -> Map:
    rings = [rib(anatomy, side, n) for side in SIGN for n in range(1, NUM_RIBS + 1)]
    # The angles of the longest serve for all.
    angle = ring_angles(canvas, rings[-1], 0.12, _RING_END)
    places = [ring.at(angle) for ring in rings]
    x = np.concatenate([place[0] for place in places])
    y = np.concatenate([place[1] for place in places])
    # The front ends are flatter and fade into cartilage.
    fade = 1.0 - 0.85 * np.clip((angle - 2.0) / (_RING_END - 2.0), 0.0, 1.0)
    fade = fade * np.clip((angle - 0.1) / 0.2, 0.0, 1.0)
    radius = RIB_RADIUS_CM * (1.0 + 0.15 * np.clip(angle - 1.6, 0.0, 1.0))
    return canvas.stroke(x, y, radius, rib_profile, weight=fade)


def _clavicles(canvas: Canvas, anatomy: Anatomy) -> Map:
    along = np.linspace(0.0, 1.0, canvas.num_samples(15.0))[None, :]
    x, y = [], []
    for sign in SIGN.values():
        medial = 2.1 + sign * 0.8 * anatomy.turn_cm
        x.append(sign * (medial + (anatomy.half_width_cm + 1.0 - medial) * along))
        wave = 0.55 * np.sin(2.0 * np.pi * along)
        y.append(-9.4 - anatomy.clavicle_rise_cm - 2.4 * along + wave)
    radius = 0.68 - 0.15 * np.sin(np.pi * along)
    return canvas.stroke(np.concatenate(x), np.concatenate(y), radius, rib_profile)


def _scapulae(canvas: Canvas, anatomy: Anatomy) -> Map:
    """Draw each blade: a thin triangle with dense borders, the spine of the blade, the socket."""
    inner = anatomy.half_width_cm - 2.2 + anatomy.scapula_shift_cm
    corners = {
        "upper": (inner + 0.3, -11.6),
        "lower": (inner + 0.9, 1.0),
        "socket": (inner + 6.3, -9.0),
        "spine": (inner + 0.2, -8.6),
        "acromion": (inner + 7.6, -12.4),
    }
    edges = (
        ("upper", "lower", 0.22),
        ("lower", "socket", 0.42),
        ("upper", "socket", 0.25),
        ("spine", "acromion", 0.45),
    )
    along = np.linspace(0.0, 1.0, canvas.num_samples(13.0))[None, :]
    x, y, radius = [], [], []
    for sign in SIGN.values():
        for start, end, size in edges:
            (x0, y0), (x1, y1) = corners[start], corners[end]
            bend = 0.35 * np.sin(np.pi * along)
            x.append(sign * (x0 + (x1 - x0) * along - bend))
            y.append(y0 + (y1 - y0) * along)
            radius.append(np.full_like(along, size))
    path = canvas.stroke(np.concatenate(x), np.concatenate(y), np.concatenate(radius), rib_profile)
    for sign in SIGN.values():
        area = canvas.region((sign * inner, sign * (inner + 6.3)), (-11.6, 1.0))
        distance, y_cm = sign * canvas.x_cm[area] - inner, canvas.y_cm[area[0]]
        width = np.interp(y_cm, (-11.6, -9.0, 1.0), (0.5, 6.2, 0.9))
        inside = (distance > 0.5) & (distance < width)
        path[area] += 0.12 * inside
    return path


def _add_spine(bone: Map, canvas: Canvas, anatomy: Anatomy) -> None:
    """Add vertebral bodies with disks between, pedicles and spinous processes."""
    area = canvas.region((-3.0, 3.0), (canvas.top_cm, canvas.top_cm + 60.0))
    x, y = canvas.x_cm[area] + 0.15 * anatomy.turn_cm, canvas.y_cm
    gap = anatomy.rib_gap_cm * (1.0 + 0.012 * y)
    phase = (y - APEX_CM) / gap
    phase = phase - np.floor(phase) - 0.5  # -0.5..0.5 within one level
    half_width = 1.35 + 0.02 * (y + 12.0)
    across = np.minimum(np.abs(x / half_width), 1.0)
    body = 0.75 * (1.0 - across**3)
    is_disk = np.clip((np.abs(phase) - 0.36) / 0.06, 0.0, 1.0)
    path = body * (1.0 - 0.4 * is_disk)
    pedicle = ((np.abs(x) - 0.95) / 0.32) ** 2 + ((phase + 0.12) / 0.2) ** 2
    process = (x / 0.2) ** 2 + ((phase - 0.1) / 0.3) ** 2
    path += 0.2 * (pedicle < 1.0) * (pedicle > 0.3) + 0.2 * (process < 1.0)
    bone[area] += path


def _add_humeri(bone: Map, canvas: Canvas, anatomy: Anatomy) -> None:
    for sign in SIGN.values():
        place = anatomy.half_width_cm + 5.6 + max(anatomy.scapula_shift_cm, 0.0) * 0.6
        area, chord = canvas.ellipsoid((sign * place, -10.2), (2.3, 2.4), depth_cm=1.3)
        bone[area] += chord
        along = np.linspace(0.0, 1.0, canvas.num_samples(14.0))[None, :]
        x = sign * (place + 0.8 + 4.0 * along / anatomy.arm_slope)
        bone += canvas.stroke(x, -9.0 + 14.0 * along, 1.15, rib_profile, weight=0.8)

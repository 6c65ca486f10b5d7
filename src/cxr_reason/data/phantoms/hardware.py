"""Functions that draw a broken rib and support devices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cxr_reason.data.phantoms.anatomy import CARINA_CM, SIGN, Side
from cxr_reason.data.phantoms.canvas import Map, cylinder, tube_wall
from cxr_reason.data.phantoms.scene import Painted, Scene, bezier
from cxr_reason.data.phantoms.skeleton import RIB_RADIUS_CM, rib, rib_profile, ring_angles
from cxr_reason.data.phantoms.streams import Stream, open_stream

_NEARBY_CM = 2.4  # stretch of rib that a fracture displaces
_GAP_CM = 0.22


def fracture(scene: Scene) -> Painted:
    """A rib with a gap and a step: the outer fragment is displaced and returns to its course."""
    rng = open_stream(scene.seed, Stream.FRACTURE)
    canvas, anatomy = scene.canvas, scene.anatomy
    side: Side = "left" if rng.random() < 0.5 else "right"
    ring = rib(anatomy, side, int(rng.integers(3, 9)))
    broken_at = rng.uniform(0.75, 1.45)
    half = _NEARBY_CM / ring.reach_cm
    angle = ring_angles(canvas, ring, broken_at - half, broken_at + half)
    x, y = ring.at(angle)
    beyond_cm = np.hypot(np.gradient(x[0]), np.gradient(y[0])).cumsum()[None, :]
    beyond_cm = beyond_cm - beyond_cm[0, np.argmin(np.abs(angle[0] - broken_at))]
    step_cm = rng.uniform(0.55, 0.85) * (1.0 if rng.random() < 0.5 else -1.0)
    shift = step_cm * np.where(beyond_cm > 0.0, np.clip(1.0 - beyond_cm / _NEARBY_CM, 0.0, 1.0), 0)
    gap = np.clip((np.abs(beyond_cm) - _GAP_CM / 2.0) / 0.08, 0.0, 1.0)
    whole = canvas.stroke(x, y, RIB_RADIUS_CM, rib_profile)
    # A step across the rib, which runs mostly sideways here.
    broken = canvas.stroke(x - 0.5 * shift * SIGN[side], y + shift, RIB_RADIUS_CM, rib_profile, gap)
    per_cm = (scene.attenuation.bone - scene.attenuation.soft) * anatomy.bone_density
    return Painted(per_cm * (broken - whole), "rib fracture", side)


def support_devices(scene: Scene) -> list[Painted]:
    """One or two devices, each with its own box."""
    rng = open_stream(scene.seed, Stream.DEVICES)
    chosen = rng.permutation(len(_DEVICES))[: 2 if rng.random() < 0.35 else 1]
    return [_DEVICES[i](scene, rng) for i in sorted(chosen)]


def _line(
    scene: Scene,
    points_cm: list[tuple[float, float]],
    radius_cm: float,
    depth: float,
    profile: Callable[[Map], Map] = cylinder,
) -> Map:
    """Draw a tube whose attenuation along its longest path is `depth` nepers."""
    length = float(np.abs(np.diff(np.array(points_cm), axis=0)).sum())
    x, y = bezier(points_cm, scene.canvas.num_samples(length))
    peak = float(profile(np.linspace(-0.95, 0.95, 21)).max()) * radius_cm
    return scene.canvas.stroke(x, y, radius_cm, profile, depth / peak)


def _endotracheal_tube(scene: Scene, rng: np.random.Generator) -> Painted:
    shift = 0.4 * scene.anatomy.turn_cm
    tip = (shift + rng.normal(0.0, 0.1), CARINA_CM - rng.uniform(1.5, 5.0))
    course = [(shift + rng.normal(0.0, 0.5), -21.0), (shift - 0.3, -15.0), tip]
    tube = _line(scene, course, 0.5, 0.16, tube_wall) + _line(scene, course, 0.09, 0.45)
    return Painted(tube, "endotracheal tube")


def _central_line(scene: Scene, rng: np.random.Generator) -> Painted:
    side: Side = "right" if rng.random() < 0.7 else "left"
    sign = SIGN[side]
    tip = (-2.1 + rng.normal(0.0, 0.2), rng.uniform(-4.0, 0.5))
    if rng.random() < 0.5:  # by way of the jugular vein
        course = [(sign * 4.6, -21.0), (sign * 3.6, -13.0), (-2.2, -9.0), tip]
    else:  # by way of the subclavian vein
        course = [(sign * 11.0, -8.5), (sign * 7.0, -12.6), (-1.6, -11.5), tip]
    return Painted(_line(scene, course, 0.13, 0.38), "central venous catheter", side)


def _pacemaker(scene: Scene, rng: np.random.Generator) -> Painted:
    side: Side = "left" if rng.random() < 0.8 else "right"
    sign = SIGN[side]
    x, y = sign * rng.uniform(8.5, 10.5), rng.uniform(-9.5, -7.5)
    u = np.abs((scene.canvas.x_cm - x) / rng.uniform(2.0, 2.5))
    v = np.abs((scene.canvas.y_cm - y) / rng.uniform(1.8, 2.2))
    radius = (u**3 + v**3) ** (1.0 / 3.0)
    case = 0.9 * np.clip((1.0 - radius) / 0.06, 0.0, 1.0)
    case += 0.5 * ((u < 0.55) & (v < 0.35))  # battery
    floor = scene.anatomy.dome_of("left")
    vein = (-2.0, -9.0)
    start = (x - sign * 1.0, y - 1.5)
    case += _line(scene, [start, (sign * 6.0, -13.5), vein, (-2.4, 1.0)], 0.11, 0.7)
    ventricle = [(-2.4, 1.0), (-2.6, floor - 1.0), (1.5, floor - 0.5), (5.2, floor - 1.6)]
    case += _line(scene, ventricle, 0.11, 0.7)
    return Painted(case, "pacemaker", side)


def _gastric_tube(scene: Scene, rng: np.random.Generator) -> Painted:
    floor = scene.anatomy.dome_of("left")
    waist = (0.3 + rng.normal(0.0, 0.2), floor - 2.0)
    upper = [(rng.normal(0.2, 0.3), -21.0), (0.5, -8.0), (0.4, -2.0), waist]
    lower = [waist, (0.4, floor + 2.0), (2.5, floor + 3.2), (rng.uniform(4.0, 6.0), floor + 2.6)]
    tube = scene.canvas.zeros()
    for part in (upper, lower):
        tube += _line(scene, part, 0.24, 0.2, tube_wall) + _line(scene, part, 0.08, 0.3)
    return Painted(tube, "nasogastric tube")


_DEVICES = (_endotracheal_tube, _central_line, _pacemaker, _gastric_tube)

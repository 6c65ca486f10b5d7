"""Functions that draw dense lung: consolidation, pneumonia, haze, lesion, atelectasis, edema.

How each looks follows the Fleischner Society's glossary of terms for thoracic imaging (Hansell et
al., Radiology 2008): consolidation hides vessels and shows air bronchograms, ground glass does not
hide them, a nodule is a rounded opacity of up to 3 cm, a mass a larger one.
"""

from __future__ import annotations

import numpy as np

from cxr_reason.data.phantoms.anatomy import HILUM_CM, SIGN, lateral_border
from cxr_reason.data.phantoms.canvas import Map, cylinder, ribbon, smooth_noise
from cxr_reason.data.phantoms.scene import Painted, Scene
from cxr_reason.data.phantoms.streams import Stream, open_stream
from cxr_reason.data.phantoms.vessels import draw_tree, grow, lung_tree

_NODULE_MAX_RADIUS_CM = 1.5
LOBAR_SHARE = 0.35  # of atelectases that are the collapse of a lobe


def consolidation(scene: Scene) -> Painted:
    """Airspace filled with fluid: dense, vessels lost in it, bronchi dark inside."""
    rng = open_stream(scene.seed, Stream.AIRSPACE)
    center, mask = _consolidated(scene)
    texture = 1.0 + 0.1 * smooth_noise(rng, scene.canvas.size_px, 30)
    filled_cm = np.minimum(scene.body.lung, rng.uniform(5.5, 8.5)) * mask * texture * 0.8
    change = scene.attenuation.airless * filled_cm - 0.85 * mask * scene.vessels
    change -= scene.attenuation.soft * _air_bronchograms(scene, rng, center, mask)
    return Painted(change, "consolidation", scene.places.consolidation[0])


def pneumonia(scene: Scene) -> Painted:
    """Small airspace nodules strewn around a consolidation: the sign of pneumonia here."""
    rng = open_stream(scene.seed, Stream.PNEUMONIA)
    (x, y), mask = _consolidated(scene)
    count = 60
    angle, distance = rng.uniform(0.0, 2.0 * np.pi, count), rng.uniform(2.6, 5.2, count)
    xs, ys = x + distance * np.cos(angle), y + distance * np.sin(angle)
    lung = scene.canvas.look_up(scene.body.lung, xs, ys)
    inside = scene.canvas.look_up(mask, xs, ys)
    side = scene.places.consolidation[0]
    fits = (lung > 5.0) & (inside < 0.3) & (xs * SIGN[side] > 2.5)
    change = scene.canvas.zeros()
    radii = rng.uniform(0.32, 0.5, count)
    for i in np.flatnonzero(fits)[: int(rng.integers(9, 15))]:
        area, chord = scene.canvas.ellipsoid((xs[i], ys[i]), (radii[i], radii[i]), 0.0, 1.2)
        change[area] += scene.attenuation.airless * chord
    return Painted(change, "airspace nodules", side, with_change=consolidation(scene).change)


def haze(scene: Scene) -> Painted:
    """Ground glass: a soft patch through which vessels are still seen."""
    rng = open_stream(scene.seed, Stream.OPACITY)
    center = scene.point_in(rng, scene.places.opacity)
    semi_axes = (rng.uniform(2.6, 4.0), rng.uniform(2.4, 3.6))
    mask = scene.blob(rng, center, semi_axes, softness=0.8, roughness=0.12)
    depth = np.minimum(scene.body.lung, 12.0) * rng.uniform(0.17, 0.28)
    change = scene.attenuation.airless * depth * mask
    return Painted(change, "ground-glass opacity", scene.places.opacity[0])


def lesion(scene: Scene) -> Painted:
    """A nodule or mass, smooth or with spicules."""
    rng = open_stream(scene.seed, Stream.LESION)
    center = scene.point_in(rng, scene.places.lesion)
    radius = rng.uniform(1.6, 2.6) if rng.random() < 0.3 else rng.uniform(0.6, 1.4)
    size_px = scene.canvas.size_px
    wander = 0.1 * smooth_noise(rng, size_px, max(8, round(30 / radius)))
    squeeze = rng.uniform(0.85, 1.15)
    distance = np.hypot(scene.canvas.x_cm - center[0], (scene.canvas.y_cm - center[1]) * squeeze)
    near = distance < 1.5 * radius
    chord = 2.0 * radius * np.sqrt(np.maximum(1.0 - (distance / radius + wander) ** 2, 0.0)) * near
    change = scene.attenuation.airless * chord
    if rng.random() < 0.4:
        angle = rng.uniform(0.0, 2.0 * np.pi, 9)[:, None]
        along = np.linspace(0.85, 1.7, scene.canvas.num_samples(radius))[None, :] * radius
        x, y = center[0] + along * np.cos(angle), center[1] + along * np.sin(angle)
        fade = 1.9 - along / radius
        change += scene.attenuation.airless * scene.canvas.stroke(x, y, 0.09, cylinder, 2.0 * fade)
    kind = "nodule" if radius <= _NODULE_MAX_RADIUS_CM else "mass"
    return Painted(change, kind, scene.places.lesion[0])


def atelectasis_lift(seed: int) -> float:
    """Return how far a lobe's collapse raises the diaphragm in cm; 0 for a band."""
    rng = open_stream(seed, Stream.ATELECTASIS)
    return float(rng.uniform(0.8, 1.8)) if rng.random() < LOBAR_SHARE else 0.0


def atelectasis(scene: Scene) -> Painted:
    """A band of airless lung, or a collapsed lobe: a wedge with a sharp border at the hilum."""
    rng = open_stream(scene.seed, Stream.ATELECTASIS)
    side = scene.places.atelectasis[0]
    if rng.random() < LOBAR_SHARE:
        rng.random()  # the lift
        mask = _collapsed_lobe(scene, rng)
        change = scene.attenuation.airless * 0.7 * np.minimum(scene.body.lung, 8.0) * mask
        return Painted(change - 0.8 * mask * scene.vessels, "lobar collapse", side)
    x, y = scene.point_in(rng, scene.places.atelectasis)
    change = scene.canvas.zeros()
    length = rng.uniform(4.5, 7.0)
    angle = rng.uniform(-0.4, 0.4)
    for k in range(int(rng.integers(1, 3))):
        along = np.linspace(-0.5, 0.5, scene.canvas.num_samples(length))[None, :] * length
        xs = x + along * np.cos(angle) * (1.0 - 0.25 * k)
        ys = y + along * np.sin(angle) + 1.3 * k + 0.03 * along**2
        radius = rng.uniform(0.28, 0.45)
        inside = np.clip(scene.canvas.look_up(scene.body.lung, xs, ys) / 4.0, 0.0, 1.0)
        ends = np.clip((0.5 - np.abs(along / length)) * 6.0, 0.0, 1.0)
        # The plate is seen on edge: a path of 4 cm whatever its thickness.
        weight = 4.0 / radius * inside * ends
        change += scene.attenuation.airless * scene.canvas.stroke(xs, ys, radius, ribbon, weight)
    return Painted(change, "band atelectasis", side)


def edema(scene: Scene) -> Painted:
    """Congestion: haze around the hila, large upper vessels, septal lines at the bases."""
    rng = open_stream(scene.seed, Stream.EDEMA)
    canvas, body = scene.canvas, scene.body
    weight = canvas.zeros()
    for side in SIGN:
        hilum_x, hilum_y = HILUM_CM[side]
        x, y = canvas.x_cm - 1.3 * hilum_x, canvas.y_cm - hilum_y - 1.5
        weight += np.exp(-((x / rng.uniform(3.2, 4.2)) ** 2) - (y / rng.uniform(4.4, 5.6)) ** 2)
    patches = np.clip(1.0 + 0.3 * smooth_noise(rng, canvas.size_px, 18), 0.3, 1.7)
    haze_cm = np.minimum(body.lung, 12.0) * weight * patches * rng.uniform(0.28, 0.48)
    change = scene.attenuation.airless * haze_cm
    # The same tree, drawn with larger upper branches: what is added is the difference.
    swollen = lung_tree(scene.seed, scene.anatomy, upper_caliber=1.5)
    change += scene.attenuation.airless * draw_tree(canvas, swollen, body.lung, 5.0)
    change -= scene.tree_shadow
    return Painted(change + _septal_lines(scene, rng), "pulmonary edema", is_split=True)


def _septal_lines(scene: Scene, rng: np.random.Generator) -> Map:
    """Draw Kerley B lines: short, horizontal, at the lateral border of the lower zones."""
    along = np.linspace(0.0, 1.0, scene.canvas.num_samples(2.0))[None, :]
    x, y = [], []
    for side, sign in SIGN.items():
        heights = scene.anatomy.dome_of(side) - 0.6 - 0.75 * np.arange(8) + rng.normal(0, 0.12, 8)
        outer = lateral_border(scene.anatomy, heights)[:, None] - 0.15
        length = rng.uniform(1.1, 2.0, 8)[:, None]
        x.append(sign * (outer - length * along))
        y.append(heights[:, None] + rng.normal(0.0, 0.08, 8)[:, None] * along)
    lines = scene.canvas.stroke(np.concatenate(x), np.concatenate(y), 0.07, cylinder)
    # A septum is a sheet of about 0.5 cm along the beam, not a wire.
    return scene.attenuation.airless * 4.0 * lines


def _consolidated(scene: Scene) -> tuple[tuple[float, float], Map]:
    """Return middle and extent, the same for the consolidation and for the pneumonia around it."""
    rng = open_stream(scene.seed, Stream.CONSOLIDATION)
    sharp, level = rng.random(2)
    side, zone = scene.places.consolidation
    center = scene.point_in(rng, (side, zone))
    semi_axes = (rng.uniform(2.4, 3.6), rng.uniform(2.0, 3.2))
    mask = scene.blob(rng, center, semi_axes, softness=0.45, roughness=0.16)
    if zone == 0 and sharp < 0.6:
        # Bounded by a fissure from below.
        fissure_y = center[1] + (0.2 + 0.4 * level) * semi_axes[1]
        mask = mask * np.clip((fissure_y - scene.canvas.y_cm) / 0.25 + 0.5, 0.0, 1.0)
    return center, mask * (scene.body.lung > 0.5) * scene.is_side(side)


def _air_bronchograms(
    scene: Scene, rng: np.random.Generator, center: tuple[float, float], mask: Map
) -> Map:
    """Return the path through air in bronchi that cross a consolidation, in cm."""
    side = scene.places.consolidation[0]
    hilum_x, hilum_y = HILUM_CM[side]
    toward = float(np.arctan2(center[1] - hilum_y, center[0] - hilum_x))
    spread = np.array([-0.5, 0.0, 0.5])
    start_x = np.full(3, center[0] - 2.2 * np.cos(toward)) - 0.8 * spread * np.sin(toward)
    start_y = np.full(3, center[1] - 2.2 * np.sin(toward)) + 0.8 * spread * np.cos(toward)
    tree = grow(rng, (start_x, start_y), toward + spread, np.full(3, 0.2), 1.9, 3)
    # Airways in front of and behind one another: half as much air again.
    return 1.5 * np.minimum(draw_tree(scene.canvas, tree, 4.0 * mask, 4.0), 0.6)


def _collapsed_lobe(scene: Scene, rng: np.random.Generator) -> Map:
    side, zone = scene.places.atelectasis
    distance, y = scene.canvas.x_cm * SIGN[side], scene.canvas.y_cm
    limits = scene.zone_limits_cm(side)
    reach = rng.uniform(0.85, 1.15)
    if zone == 0:  # from the hilum up to the apex, against the mediastinum
        border = 3.6 + reach * 4.2 * np.clip((limits[1] - y) / 7.0, 0.0, 1.0) ** 0.7
        extent = (border - distance) / 0.3
        below = (limits[1] + 1.0 - y) / 0.3
    elif zone == 1:  # a wedge from the hilum outward
        middle = (limits[1] + limits[2]) / 2.0 + 0.12 * distance
        extent = (2.4 * reach * (1.0 - (distance - 3.0) / 8.0) - np.abs(y - middle)) / 0.3
        below = np.ones_like(y)
    else:  # behind the heart, down to the diaphragm
        border = 3.4 + reach * 4.6 * np.clip((y - limits[2] + 1.5) / 8.0, 0.0, 1.2)
        extent = (border - distance) / 0.3
        below = (y - limits[2] + 1.5) / 0.3
    mask = np.clip(extent, 0.0, 1.0) * np.clip(below, 0.0, 1.0)
    return np.asarray(mask * scene.is_side(side))

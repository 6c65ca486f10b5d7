"""Functions that draw pleural findings: effusion, pneumothorax, thickening and plaque."""

from __future__ import annotations

import numpy as np

from cxr_reason.data.phantoms.anatomy import APEX_CM, SIGN, lateral_border, medial_border
from cxr_reason.data.phantoms.canvas import Map, cylinder, smooth_noise
from cxr_reason.data.phantoms.scene import Painted, Scene
from cxr_reason.data.phantoms.streams import Stream, open_stream


def effusion(scene: Scene) -> Painted:
    """Free fluid: the angle is blunt, the diaphragm hidden, the level climbs along the wall."""
    rng = open_stream(scene.seed, Stream.EFFUSION)
    side = scene.places.effusion
    distance, y = scene.canvas.x_cm * SIGN[side], scene.canvas.y_cm
    height = rng.uniform(1.2, 6.5)
    level = scene.anatomy.dome_of(side) + 1.8 - height
    from_wall = np.maximum(scene.anatomy.half_width_cm - distance, 0.0)
    surface = level - rng.uniform(2.4, 4.0) * np.exp(-from_wall / rng.uniform(1.8, 2.6))
    # Toward its upper border the layer between lung and wall gets thinner.
    share = np.clip((y - surface) / rng.uniform(1.2, 2.4), 0.0, 1.0) ** 0.7
    share = share * scene.is_side(side)
    change = share * (scene.attenuation.airless * scene.body.lung - scene.vessels)
    return Painted(change, "pleural effusion", side)


def pneumothorax(scene: Scene) -> Painted:
    """Air around a retracted lung: a thin visceral line, no vessels beyond it."""
    rng = open_stream(scene.seed, Stream.PNEUMOTHORAX)
    side = scene.places.pneumothorax
    canvas = scene.canvas
    drop, gap = rng.uniform(1.6, 3.6), rng.uniform(1.1, 2.6)
    length = rng.uniform(11.0, 18.0)

    def edges(y_cm: Map) -> tuple[Map, Map]:
        """Return inner and outer border of the retracted lung."""
        down = np.clip((y_cm - APEX_CM - drop) / (length - drop), 0.0, 1.0)
        # The lung comes down by `drop` at its apex and by nothing at the end of the gap.
        shifted = np.maximum(y_cm - drop * (1.0 - down), APEX_CM)
        outer = lateral_border(scene.anatomy, shifted) - gap * (1.0 - down**2)
        inner = medial_border(shifted)
        return np.minimum(inner, outer), outer

    inner, outer = edges(canvas.y_cm)
    distance = canvas.x_cm * SIGN[side]
    is_above = canvas.y_cm < APEX_CM + drop
    is_within = canvas.y_cm < APEX_CM + length
    free = is_within & scene.is_side(side) & (is_above | (distance > outer) | (distance < inner))
    lost = 0.75 * scene.attenuation.lung * scene.body.lung + scene.vessels
    heights = (
        APEX_CM + drop + (length - drop) * np.linspace(0.0, 1.0, canvas.num_samples(34.0)) ** 2
    )
    line_x = edges(heights)[1][None, :]
    fade = np.clip((1.0 - np.linspace(0.0, 1.0, len(heights))) * 5.0, 0.0, 1.0)[None, :]
    line = canvas.stroke(SIGN[side] * line_x, heights[None, :], 0.08, cylinder, 6.0 * fade)
    change = scene.attenuation.airless * line - lost * free
    return Painted(change, "pneumothorax", side)


def pleural_other(scene: Scene) -> Painted:
    """Thickening along the wall, or a calcified plaque seen from the front."""
    rng = open_stream(scene.seed, Stream.PLEURA)
    side = scene.places.effusion  # above the fluid, if there is any
    canvas = scene.canvas
    limits = scene.zone_limits_cm(side)
    y = rng.uniform(limits[0] + 4.5, limits[2] - 1.5)
    outer = float(lateral_border(scene.anatomy, np.array(y)))
    if rng.random() < 0.5:
        center = (SIGN[side] * (outer - rng.uniform(2.2, 3.6)), float(y))
        semi_axes = (rng.uniform(1.1, 1.9), rng.uniform(0.8, 1.4))
        mask = scene.blob(rng, center, semi_axes, softness=0.2, roughness=0.3)
        grain = 1.0 + 0.3 * smooth_noise(rng, canvas.size_px, 80)
        bone_cm = 0.35 * np.clip(grain, 0.3, 1.7)
        change = (scene.attenuation.bone - scene.attenuation.soft) * bone_cm * mask
        return Painted(change, "calcified pleural plaque", side)
    half_height = rng.uniform(2.2, 3.8)
    along = np.clip(1.0 - ((canvas.y_cm - y) / half_height) ** 2, 0.0, 1.0) ** 0.5
    thickness = rng.uniform(0.7, 1.3) * along * (1.0 + 0.2 * smooth_noise(rng, canvas.size_px, 24))
    wall = lateral_border(scene.anatomy, canvas.y_cm)
    from_wall = wall - canvas.x_cm * SIGN[side]
    mask = np.clip((thickness - from_wall) / 0.15, 0.0, 1.0) * (from_wall > 0.0)
    change = scene.attenuation.airless * np.minimum(scene.body.lung, 6.0) * mask
    return Painted(change, "pleural thickening", side)

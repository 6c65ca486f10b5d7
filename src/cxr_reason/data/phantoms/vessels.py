"""Trees that branch from the hila: vessels of the lung, and bronchi inside a consolidation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_reason.data.phantoms.anatomy import HILUM_CM, SIGN, Anatomy
from cxr_reason.data.phantoms.canvas import Canvas, Map
from cxr_reason.data.phantoms.streams import Stream, open_stream

_LEVELS = 6
_TRUNKS = 7  # branches that leave each hilum


@dataclass(frozen=True)
class Tree:
    """Straight segments, each array float64 `[segments]`, in cm.

    Attributes:
        x: Start.
        y: Start.
        end_x: End.
        end_y: End.
        radius: Half of the caliber.
    """

    x: Map
    y: Map
    end_x: Map
    end_y: Map
    radius: Map


def grow(
    rng: np.random.Generator,
    start: tuple[Map, Map],
    direction: Map,
    radius_cm: Map,
    length_cm: float,
    levels: int,
) -> Tree:
    """Grow a tree: each branch splits in two at its end, thinner and shorter.

    Args:
        rng: For lengths and angles.
        start: x and y of the trunks, each `[trunks]`.
        direction: Of the trunks, radians from x toward y, `[trunks]`.
        radius_cm: Of the trunks, `[trunks]`.
        length_cm: Of the trunks.
        levels: Generations, the trunks included.
    """
    x, y = start
    parts: list[tuple[Map, Map, Map, Map, Map]] = []
    for level in range(levels):
        length = length_cm * 0.86**level * rng.uniform(0.7, 1.3, len(x))
        end_x, end_y = x + length * np.cos(direction), y + length * np.sin(direction)
        parts.append((x, y, end_x, end_y, radius_cm))
        spread = rng.uniform(0.15, 0.6, (2, len(x)))
        direction = np.concatenate([direction - spread[0], direction + spread[1]])
        # Murray's law: the cubes of the children's radii add up to the cube of the parent's.
        share = rng.uniform(0.35, 0.65, len(x))
        radius_cm = np.concatenate([radius_cm * np.cbrt(share), radius_cm * np.cbrt(1.0 - share)])
        x, y = np.tile(end_x, 2), np.tile(end_y, 2)
    return Tree(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def draw_tree(canvas: Canvas, tree: Tree, lung_cm: Map, full_at_cm: float) -> Map:
    """Return path lengths in cm, fading where there is little lung.

    Args:
        canvas: The detector.
        tree: Segments.
        lung_cm: Path through lung, `[H, W]`.
        full_at_cm: Lung from which on nothing fades.
    """
    weight = np.minimum(lung_cm / full_at_cm, 1.0)
    return canvas.segments(tree.x, tree.y, tree.end_x, tree.end_y, tree.radius, weight)


def lung_tree(seed: int, anatomy: Anatomy, upper_caliber: float = 1.0) -> Tree:
    """Return the vessels of both lungs.

    Args:
        seed: Of the film.
        anatomy: The patient.
        upper_caliber: Factor on the vessels that run upward; above 1 in congestion.
    """
    starts_x, starts_y, directions, radii = [], [], [], []
    rng = open_stream(seed, Stream.VESSELS)
    for side, sign in SIGN.items():
        fan = np.linspace(-1.35, 1.35, _TRUNKS) + rng.normal(0.0, 0.08, _TRUNKS)
        hilum_x, hilum_y = HILUM_CM[side]
        starts_x.append(hilum_x + 0.5 * anatomy.turn_cm + rng.normal(0.0, 0.2, _TRUNKS))
        starts_y.append(hilum_y + 1.2 * fan)
        # In an upright patient the vessels of the bases carry more blood.
        radius = 0.5 * anatomy.vessel_scale * (1.0 + 0.25 * np.sin(fan))
        radii.append(radius * np.where(fan < 0.0, upper_caliber, 1.0))
        directions.append(fan if sign > 0 else np.pi - fan)
    start = np.concatenate(starts_x), np.concatenate(starts_y)
    return grow(rng, start, np.concatenate(directions), np.concatenate(radii), 3.2, _LEVELS)


def draw_hila(canvas: Canvas, anatomy: Anatomy) -> Map:
    """Return the path in cm through the great vessels where they enter the lungs."""
    path = canvas.zeros()
    for side, sign in SIGN.items():
        hilum_x, hilum_y = HILUM_CM[side]
        center = (hilum_x + 0.5 * anatomy.turn_cm - 0.2 * sign, hilum_y + 0.5)
        size = 1.1 * anatomy.vessel_scale
        area, chord = canvas.ellipsoid(center, (size, 1.9 * size), 0.25 * sign, 1.5 * size)
        path[area] += chord
    return path

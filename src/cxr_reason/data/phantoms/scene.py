"""Input and output of a painter, the function that draws a finding."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cxr_reason.data.phantoms.anatomy import (
    APEX_CM,
    SIGN,
    Anatomy,
    Side,
    lateral_border,
    medial_border,
)
from cxr_reason.data.phantoms.body import Body
from cxr_reason.data.phantoms.canvas import Canvas, Map, smooth_noise
from cxr_reason.data.phantoms.materials import Attenuation
from cxr_reason.data.phantoms.streams import Stream, open_stream

Cell = tuple[Side, int]  # a lung and a third of its height: 0 upper, 1 mid, 2 lower


@dataclass(frozen=True)
class Places:
    """Where each finding goes if it is drawn. No two of them hide each other.

    Attributes:
        effusion: Side; its lower zone is kept free.
        pneumothorax: The other side; its upper zone is kept free.
        consolidation: One of the four cells that are left.
        lesion: Another.
        opacity: Another.
        atelectasis: The last.
    """

    effusion: Side
    pneumothorax: Side
    consolidation: Cell
    lesion: Cell
    opacity: Cell
    atelectasis: Cell


def choose_places(seed: int) -> Places:
    """Draw the places, the same ones whatever findings the film has."""
    rng = open_stream(seed, Stream.PLACEMENT)
    effusion: Side = "left" if rng.random() < 0.5 else "right"
    other: Side = "right" if effusion == "left" else "left"
    cells: list[Cell] = [(effusion, 0), (effusion, 1), (other, 1), (other, 2)]
    order = [cells[i] for i in rng.permutation(4)]
    return Places(effusion, other, *order)


@dataclass(frozen=True)
class Scene:
    """A healthy chest on a detector.

    Attributes:
        seed: Of the film.
        canvas: The detector.
        anatomy: The patient.
        body: Path lengths.
        attenuation: Coefficients in 1/cm.
        vessels: What vessels and hila add, in nepers `[H, W]`.
        tree_shadow: What the vessels alone add.
        places: Where findings go.
    """

    seed: int
    canvas: Canvas
    anatomy: Anatomy
    body: Body
    attenuation: Attenuation
    vessels: Map
    tree_shadow: Map
    places: Places

    def is_side(self, side: Side) -> NDArray[np.bool_]:
        """Return bool `[H, W]`: the half of the film on one side of the midline."""
        return np.asarray(self.canvas.x_cm * SIGN[side] > 0.0)

    def zone_limits_cm(self, side: Side) -> Map:
        """Return four heights: the apex, two thirds of the way, and the top of the diaphragm."""
        return np.linspace(APEX_CM, self.anatomy.dome_of(side), 4)

    def point_in(self, rng: np.random.Generator, cell: Cell) -> tuple[float, float]:
        """Draw a point of a cell, away from its borders."""
        side, zone = cell
        limits = self.zone_limits_cm(side)
        down = rng.uniform(0.3, 0.7)
        y = float(limits[zone] + down * (limits[zone + 1] - limits[zone]))
        height = np.array(y)
        inner = float(medial_border(height)) + (4.0 if zone == 2 and side == "left" else 2.4)
        outer = float(lateral_border(self.anatomy, height)) - 1.6
        return SIGN[side] * float(rng.uniform(0.25, 0.9) * (outer - inner) + inner), y

    def blob(
        self,
        rng: np.random.Generator,
        center_cm: tuple[float, float],
        semi_axes_cm: tuple[float, float],
        softness: float,
        roughness: float,
    ) -> Map:
        """Return an irregular patch, 0..1 `[H, W]`.

        Args:
            rng: For its tilt and its border.
            center_cm: x and y.
            semi_axes_cm: Half width and half height.
            softness: Width of the border, as a share of the radius.
            roughness: How irregular the border is, likewise.
        """
        angle = rng.uniform(-0.5, 0.5)
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = self.canvas.x_cm - center_cm[0], self.canvas.y_cm - center_cm[1]
        u = (x * cos + y * sin) / semi_axes_cm[0]
        v = (y * cos - x * sin) / semi_axes_cm[1]
        grains = max(8, round(0.7 * self.canvas.size_px * self.canvas.cm_per_px))
        wander = roughness * smooth_noise(rng, self.canvas.size_px, grains)
        radius = np.hypot(u, v)
        near = radius < 1.0 + 2.0 * roughness + softness
        return np.asarray(np.clip((1.0 - radius - wander) / softness + 0.5, 0.0, 1.0) * near)


@dataclass(frozen=True)
class Painted:
    """One finding as drawn.

    Attributes:
        change: What it adds to the line integral, in nepers `[H, W]`; negative where it takes away.
        kind: What it is, in words.
        side: None where the box decides.
        with_change: Change of another finding that belongs to this one and widens its box.
        is_split: It has one box on each side.
    """

    change: Map
    kind: str
    side: Side | None = None
    with_change: Map | None = field(default=None)
    is_split: bool = False


def bezier(points_cm: list[tuple[float, float]], count: int) -> tuple[Map, Map]:
    """Return x and y, each `[1, count]`, of the Bézier curve of some control points."""
    t = np.linspace(0.0, 1.0, count)
    points = np.repeat(np.array(points_cm)[:, :, None], count, axis=2)
    while len(points) > 1:
        points = points[:-1] * (1.0 - t) + points[1:] * t
    return points[0, 0][None, :], points[0, 1][None, :]

"""The detector grid, and the two ways to put something on it: by formula and by stroke.

Coordinates are centimeters in the patient's frontal plane as the detector sees it (magnification
included): x grows to the patient's left, which is the right of the image, y grows downward. The
midline is x = 0. All maps are float64 `[H, W]`: with it, the last rounding to detector units gives
the same value whatever processor computed the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]

# Distance between samples of a stroke in pixels: below one, so that bilinear weights leave no gaps.
_SAMPLE_STEP_PX = 0.9
# Vessels are so many and so faint that the ripple of a wider step is lost in noise.
_SEGMENT_STEP_PX = 1.15
# Smooth fields (scatter, equalization) are computed on about this many cells a side: near 1 cm each
# and too few for a linear algebra library to start threads.
_SMALL_CELLS = 40


@dataclass(frozen=True)
class Canvas:
    """A square detector.

    Attributes:
        size_px: Rows, and columns.
        cm_per_px: Pixel spacing.
        left_cm: x of the image's left edge, at y = 0.
        top_cm: y of the image's upper edge.
        lean: Shift of x for each centimeter of y: a patient who leans to a side.
    """

    size_px: int
    cm_per_px: float
    left_cm: float
    top_cm: float
    lean: float

    @cached_property
    def y_cm(self) -> Map:
        """`[H, 1]`."""
        rows = np.arange(self.size_px, dtype=np.float64)[:, None]
        return self.top_cm + (rows + 0.5) * self.cm_per_px

    @cached_property
    def x_cm(self) -> Map:
        """`[H, W]`."""
        columns = np.arange(self.size_px, dtype=np.float64)[None, :]
        return self.left_cm + (columns + 0.5) * self.cm_per_px - self.lean * self.y_cm

    def zeros(self) -> Map:
        """Return an empty map."""
        return np.zeros((self.size_px, self.size_px))

    def to_px(self, x_cm: Map, y_cm: Map) -> tuple[Map, Map]:
        """Return column and row, where the middle of the first pixel is 0."""
        columns = (x_cm + self.lean * y_cm - self.left_cm) / self.cm_per_px - 0.5
        return columns, (y_cm - self.top_cm) / self.cm_per_px - 0.5

    def region(self, x_cm: tuple[float, float], y_cm: tuple[float, float]) -> tuple[slice, slice]:
        """Return rows and columns that hold a rectangle of the patient's plane."""
        corners = np.array([(x, y) for x in x_cm for y in y_cm])
        columns, rows = self.to_px(corners[:, 0], corners[:, 1])
        limits = [(int(np.floor(v.min())), int(np.ceil(v.max())) + 1) for v in (rows, columns)]
        (top, bottom), (left, right) = np.clip(limits, 0, self.size_px).tolist()
        return slice(top, bottom), slice(left, right)

    def look_up(self, values: Map, x_cm: Map, y_cm: Map) -> Map:
        """Return a map's values at the pixels nearest to the points."""
        columns, rows = self.to_px(x_cm, y_cm)
        return np.asarray(values[self._nearest(rows), self._nearest(columns)])

    def num_samples(self, length_cm: float) -> int:
        """Return how many points a curve needs to be drawn without gaps."""
        return max(3, int(np.ceil(length_cm / (_SAMPLE_STEP_PX * self.cm_per_px))) + 1)

    def ellipsoid(
        self,
        center_cm: tuple[float, float],
        semi_axes_cm: tuple[float, float],
        angle: float = 0.0,
        depth_cm: float = 2.0,
    ) -> tuple[tuple[slice, slice], Map]:
        """Return path lengths through an ellipsoid.

        Args:
            center_cm: x and y.
            semi_axes_cm: Along its own first and second axis.
            angle: Of the first axis, in radians from x toward y.
            depth_cm: Longest path.

        Returns:
            Rows and columns it lies in, and the path lengths there in cm.
        """
        (cx, cy), (a, b) = center_cm, semi_axes_cm
        cos, sin = np.cos(angle), np.sin(angle)
        half_x = float(np.hypot(a * cos, b * sin))
        half_y = float(np.hypot(a * sin, b * cos))
        area = self.region((cx - half_x, cx + half_x), (cy - half_y, cy + half_y))
        x, y = self.x_cm[area] - cx, self.y_cm[area[0]] - cy
        u, v = (x * cos + y * sin) / a, (y * cos - x * sin) / b
        return area, depth_cm * np.sqrt(np.maximum(1.0 - u * u - v * v, 0.0))

    def stroke(
        self,
        x_cm: Map,
        y_cm: Map,
        radius_cm: Map | float,
        profile: Callable[[Map], Map],
        weight: Map | float = 1.0,
    ) -> Map:
        """Draw tubes along curves.

        Args:
            x_cm: float64 `[curves, points]`, spaced as `num_samples` says.
            y_cm: Likewise.
            radius_cm: Of the tubes, one number or broadcast to `[curves, points]`.
            profile: Position across the tube, -1..1, to path length in radii.
            weight: Factor on the path length, one number or broadcast to `[curves, points]`.

        Returns:
            Path lengths in cm.
        """
        columns, rows = self.to_px(x_cm, y_cm)
        step_x, step_y = np.gradient(columns, axis=-1), np.gradient(rows, axis=-1)
        step = np.hypot(step_x, step_y) + 1e-12
        radius = np.broadcast_to(radius_cm, columns.shape)
        radius_px = radius / self.cm_per_px
        num_across = max(1, int(np.ceil(2 * radius_px.max() / _SAMPLE_STEP_PX)))
        across = (np.arange(num_across) + 0.5) / num_across * 2.0 - 1.0
        # [curves, points, across]
        offset = radius_px[..., None] * across
        sample_columns = columns[..., None] - (step_y / step)[..., None] * offset
        sample_rows = rows[..., None] + (step_x / step)[..., None] * offset
        area_px = step * 2.0 * radius_px / num_across
        mass = (area_px * radius * weight)[..., None] * profile(across)
        return self._splat(sample_columns, sample_rows, mass)

    def segments(
        self,
        x_cm: Map,
        y_cm: Map,
        end_x_cm: Map,
        end_y_cm: Map,
        radius_cm: Map,
        weight: Map | None = None,
    ) -> Map:
        """Draw straight solid tubes, each with as many samples as it needs.

        Args:
            x_cm: Starts, float64 `[segments]`.
            y_cm: Likewise.
            end_x_cm: Ends, likewise.
            end_y_cm: Likewise.
            radius_cm: Likewise.
            weight: Factor on the path length by pixel, `[H, W]`, taken at the tubes' axes.

        Returns:
            Path lengths in cm.
        """
        columns, rows = self.to_px(x_cm, y_cm)
        end_columns, end_rows = self.to_px(end_x_cm, end_y_cm)
        run, rise = end_columns - columns, end_rows - rows
        length_px = np.hypot(run, rise) + 1e-12
        radius_px = radius_cm / self.cm_per_px
        num_along = np.ceil(length_px / _SEGMENT_STEP_PX).astype(np.intp)
        num_across = np.ceil(2.0 * radius_px / _SEGMENT_STEP_PX).astype(np.intp)
        count = num_along * num_across
        # [samples], segment after segment
        of = np.repeat(np.arange(len(count)), count)
        number = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
        along = (number // num_across[of] + 0.5) / num_along[of]
        across = (number % num_across[of] + 0.5) / num_across[of] * 2.0 - 1.0
        axis_columns = columns[of] + along * run[of]
        axis_rows = rows[of] + along * rise[of]
        area_px = length_px / num_along * 2.0 * radius_px / num_across
        mass = (area_px * radius_cm)[of] * cylinder(across)
        if weight is not None:
            mass *= weight[self._nearest(axis_rows), self._nearest(axis_columns)]
        offset = across * (radius_px / length_px)[of]
        return self._splat(axis_columns - offset * rise[of], axis_rows + offset * run[of], mass)

    def _nearest(self, at_px: Map) -> NDArray[np.intp]:
        return np.clip(np.rint(at_px), 0, self.size_px - 1).astype(np.intp)

    def _splat(self, columns: Map, rows: Map, mass: Map) -> Map:
        """Add each sample's mass to the four pixels around it; what falls off the film is lost."""
        # One pixel of padding on every side takes what falls off.
        last = self.size_px + 0.999
        columns = np.clip(columns.ravel() + 1.0, 0.0, last)
        rows = np.clip(rows.ravel() + 1.0, 0.0, last)
        left, top = columns.astype(np.intp), rows.astype(np.intp)
        right_part, lower_part = columns - left, rows - top
        lower = mass.ravel() * lower_part
        upper = mass.ravel() - lower
        lower_right, upper_right = lower * right_part, upper * right_part
        # Only the rows that the stroke crosses.
        first = int(top.min())
        width, height = self.size_px + 2, int(top.max()) - first + 2
        corner = (top - first) * width + left
        total = np.bincount(corner, upper - upper_right, width * height)
        total += np.bincount(corner + 1, upper_right, width * height)
        total += np.bincount(corner + width, lower - lower_right, width * height)
        total += np.bincount(corner + width + 1, lower_right, width * height)
        film = np.zeros((width, width))
        film[first : first + height] = total.reshape(height, width)[: width - first]
        return film[1:-1, 1:-1]


def cylinder(across: Map) -> Map:
    """Profile of a solid tube: the chord."""
    return 2.0 * np.sqrt(1.0 - across * across)


def tube_wall(across: Map) -> Map:
    """Profile of a catheter: a wall of a quarter of the radius."""
    return cylinder(across) - 2.0 * np.sqrt(np.maximum(0.75**2 - across * across, 0.0))


def ribbon(across: Map) -> Map:
    """Profile of a band with soft edges."""
    return np.asarray((1.0 - across * across) ** 2)


def keep_memory() -> None:
    """Ask the allocator to keep what a film frees for the next one.

    glibc hands the end of its heap back to the system above a threshold that grows with the largest
    block ever freed, up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD). Without this a film of 320 pixels
    spends almost half of its time on page faults. The block itself is never touched, and other
    allocators are not changed by it.
    """
    block = np.empty(31 * 2**20, dtype=np.uint8)
    del block


def small_step_px(size_px: int) -> int:
    """Return how many pixels make a cell of a small map."""
    return max(1, size_px // _SMALL_CELLS)


def shrink(values: Map) -> Map:
    """Average a map `[H, H]` over cells: a smaller one for smooth fields."""
    starts = np.arange(0, len(values), small_step_px(len(values)))
    counts = np.diff(np.append(starts, len(values)))
    sums = np.add.reduceat(np.add.reduceat(values, starts, axis=0), starts, axis=1)
    return np.asarray(sums / np.multiply.outer(counts, counts))


def enlarge(small: Map, size_px: int) -> Map:
    """Interpolate a small map linearly to `[size_px, size_px]`."""
    last = len(small) - 1
    at = np.clip((np.arange(size_px) + 0.5) * (last + 1) / size_px - 0.5, 0.0, last)
    low = np.minimum(at.astype(np.intp), last - 1)
    part = at - low
    rows = small[low] * (1.0 - part)[:, None] + small[low + 1] * part[:, None]
    return rows[:, low] * (1.0 - part) + rows[:, low + 1] * part


def blur(values: Map, sigma_px: float) -> Map:
    """Convolve a (small) map `[H, H]` with a Gaussian; its edge values are repeated beyond it."""
    distance = np.arange(len(values))[:, None] - np.arange(len(values))
    kernel = np.exp(-0.5 * (distance / sigma_px) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    return np.asarray(kernel @ values @ kernel.T)


def smooth_noise(rng: np.random.Generator, size_px: int, cells: int) -> Map:
    """Return noise `[size_px, size_px]` of standard deviation near 1 with `cells` grains a side."""
    # Linear interpolation averages neighbors, which lowers the deviation to 2/3.
    return enlarge(rng.standard_normal((cells, cells)), size_px) * 1.5

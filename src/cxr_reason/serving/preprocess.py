"""Steps 1 and 2: the bytes of a film → gray patches, their grid, and what is known of the film."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cxr_reason.contract import FILM, GRID, IMAGE, PATCHES, PREPROCESS_MODEL
from cxr_reason.engine.artifact import read_manifest
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.kernels.preprocess import PixelBudget, fit_grid, preprocess
from cxr_reason.serving.settings import ServingSettings
from cxr_reason.serving.tensors import Value


class Preprocessor:
    """The model `preprocess`, without Triton.

    Args:
        budget: Bounds on the area of the resized film.
    """

    spec = PREPROCESS_MODEL

    def __init__(self, budget: PixelBudget) -> None:
        self._budget = budget

    @classmethod
    def from_environment(cls) -> Preprocessor:
        """Take the pixel budget of the engine that the environment names."""
        manifest = read_manifest(ServingSettings.from_environment().engine_dir)
        return cls(PixelBudget(manifest.min_pixels, manifest.max_pixels))

    def __call__(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Decode and preprocess one film.

        Args:
            inputs: `image`: the bytes of a DICOM, PNG or JPEG file, or a data: URL of one.

        Returns:
            `patches` float32 `[grid_h * grid_w, 196]`, `grid` int32 `[2]`, `film` JSON.

        Raises:
            InputError: The film cannot be used; its subclasses say why.
        """
        image = inputs[IMAGE.name]
        assert isinstance(image, bytes)
        radiograph = decode_radiograph(image)
        height_px, width_px = radiograph.pixels.shape
        grid = fit_grid(height_px, width_px, self._budget)
        return {
            PATCHES.name: preprocess(radiograph.pixels, radiograph.display_table, grid),
            GRID.name: np.array(grid, dtype=np.int32),
            FILM.name: radiograph.info.to_json().encode(),
        }

    def close(self) -> None:
        """Nothing to free."""

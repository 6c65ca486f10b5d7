"""Step 3: patches → visual tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cxr_reason.contract import GRID, PATCHES, VISION_MODEL, VISUAL_TOKENS
from cxr_reason.engine.backend import VISION
from cxr_reason.engine.base import Engine
from cxr_reason.engine.registry import load_engine
from cxr_reason.reader.request import Value
from cxr_reason.serving.settings import ServingSettings


class VisionEncoder:
    """The model `vision`, without Triton.

    Args:
        engine: Loaded with its part "vision"; closed with this object.
    """

    spec = VISION_MODEL

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def from_environment(cls) -> VisionEncoder:
        """Load the vision part of the engine that the environment names."""
        settings = ServingSettings.from_environment()
        return cls(load_engine(settings.engine_dir, settings.engine_config, parts={VISION}))

    def __call__(
        self, inputs: Mapping[str, Value], parameters: Mapping[str, Any]
    ) -> dict[str, Value]:
        """Encode one film.

        Args:
            inputs: `patches` float32 `[grid_h * grid_w, 196]` and `grid` int32 `[2]`.
            parameters: None has a meaning here.

        Returns:
            `visual_tokens` float32 `[grid_h * grid_w / 4, hidden]`.

        Raises:
            BadRequestError: Shapes that do not match, or a grid over the engine's pixel budget.
        """
        patches, grid = inputs[PATCHES.name], inputs[GRID.name]
        assert isinstance(patches, np.ndarray)
        assert isinstance(grid, np.ndarray)
        visual = self._engine.encode(patches, (int(grid[0]), int(grid[1])))
        return {VISUAL_TOKENS.name: visual.tokens}

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

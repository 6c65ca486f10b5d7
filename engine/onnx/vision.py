"""Runs `vision.onnx`: patches of one film → visual tokens."""

from __future__ import annotations

from pathlib import Path

from cxr_reason.engine.artifact import Manifest
from cxr_reason.engine.base import Array, VisualInput
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.onnx.session import open_session
from cxr_reason.engine.vision_input import check_patches, make_vision_feeds
from cxr_reason.errors import GenerationError

VISION_MODEL = "vision.onnx"


class OnnxVision:
    """Vision tower and projector. Calls from several threads are safe."""

    def __init__(self, folder: Path, manifest: Manifest, config: EngineConfig) -> None:
        self._manifest = manifest
        self._session = open_session(folder / VISION_MODEL, config)

    def encode(self, patches: Array, grid: tuple[int, int]) -> VisualInput:
        """See `Engine.encode`."""
        check_patches(patches, grid, max_pixels=self._manifest.max_pixels)
        feeds = make_vision_feeds(patches, grid, self._manifest.shape)
        try:
            tokens = self._session.run(None, feeds)[0]
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise GenerationError("vision: ONNX Runtime failed on this film") from error
        return VisualInput(tokens, grid)

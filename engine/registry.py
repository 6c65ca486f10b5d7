"""Names of backends → engines, each imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cxr_reason.engine.artifact import read_manifest
from cxr_reason.engine.base import Engine
from cxr_reason.engine.config import EngineConfig

VISION = "vision"
DECODER = "decoder"


def load_engine(
    folder: Path,
    config: EngineConfig | None = None,
    *,
    parts: Iterable[str] = (VISION, DECODER),
) -> Engine:
    """Load an engine artifact with the backend that its manifest names.

    Args:
        folder: The artifact.
        config: How to run it.
        parts: What to load: "vision" for `encode`, "decoder" for `submit`. A server loads each in
            a process of its own.

    Raises:
        ArtifactError: The folder is not an artifact that this release can run.
        EngineError: The backend's own packages are not installed.
    """
    manifest = read_manifest(folder)
    arguments = (folder, manifest, config or EngineConfig())
    if manifest.backend == "tensorrt-llm":
        from cxr_reason.engine.trtllm.engine import TrtllmEngine

        return TrtllmEngine(*arguments, parts=frozenset(parts))
    # `read_manifest` has refused all others.
    from cxr_reason.engine.onnx.engine import OnnxEngine

    return OnnxEngine(*arguments, parts=frozenset(parts))

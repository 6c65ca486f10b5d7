"""Names of backends → backends, each imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

from cxr_reason.engine.artifact import read_manifest
from cxr_reason.engine.backend import DECODER, VISION, Backend
from cxr_reason.engine.base import Engine
from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import ArtifactError

# Name → the module whose `BACKEND` it is. The first is the default.
_MODULES = {
    "onnx": "cxr_reason.engine.onnx.backend",
    "tensorrt-llm": "cxr_reason.engine.trtllm.backend",
}
BACKEND_NAMES = tuple(_MODULES)


def find_backend(name: str) -> Backend:
    """Return a backend of `BACKEND_NAMES`."""
    backend: Backend = importlib.import_module(_MODULES[name]).BACKEND
    return backend


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
    if manifest.backend not in BACKEND_NAMES:
        raise ArtifactError(
            f"engine: backend {manifest.backend!r}; known: {', '.join(BACKEND_NAMES)}"
        )
    backend = find_backend(manifest.backend)
    return backend.load(folder, manifest, config or EngineConfig(), frozenset(parts))

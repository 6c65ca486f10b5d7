"""ONNX Runtime sessions with this project's settings."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import psutil

from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import ArtifactError


def open_session(model: Path, config: EngineConfig) -> ort.InferenceSession:
    """Load a model on the CPU.

    Raises:
        ArtifactError: ONNX Runtime refuses the file.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only: warnings name nodes, which helps no user
    options.intra_op_num_threads = config.num_threads or psutil.cpu_count(logical=False) or 1
    # Vision and decoder run in two processes: a pool that spins while idle takes the other's cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ArtifactError(
            f"engine: ONNX Runtime {ort.__version__} cannot load {model.name} "
            f"({type(error).__name__}): build the engine again"
        ) from error

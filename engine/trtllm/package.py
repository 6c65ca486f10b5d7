"""The package `tensorrt_llm`: which release is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

from cxr_reason.errors import EngineError

PACKAGE = "tensorrt_llm"
OLDEST_RELEASE = (1, 2)

_HOW_TO_GET = (
    "run in NVIDIA's container nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3 (release 1.2.1, "
    "see docs/deploy-gpu.md), or choose --backend onnx, which needs no GPU"
)


def installed_release() -> tuple[int, int]:
    """Return the major and minor version of the installed TensorRT-LLM.

    Raises:
        EngineError: It is missing, too old, or its version cannot be read.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise EngineError(
            f"backend tensorrt-llm: the package {PACKAGE} is not installed; 1.2.1 or 1.3 is "
            f"needed: {_HOW_TO_GET}"
        )
    version = importlib.metadata.version(PACKAGE)
    match = re.match(r"(\d+)\.(\d+)", version)
    release = (int(match[1]), int(match[2])) if match else (0, 0)
    if release < OLDEST_RELEASE:
        raise EngineError(
            f"backend tensorrt-llm: {PACKAGE} {version} is installed; 1.2.1 or 1.3 is needed: "
            f"{_HOW_TO_GET}"
        )
    return release

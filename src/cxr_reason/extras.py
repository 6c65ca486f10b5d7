"""The extras of the package: what each one brings, and the one error when it is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from cxr_reason.errors import MissingExtraError

_FILM = ("PIL", "imagecodecs", "jinja2", "psutil", "pydicom", "tokenizers")
_ENGINE = (*_FILM, "llguidance", "onnxruntime")
_BUILD = (
    *_ENGINE,
    *("huggingface_hub", "onnx", "onnx_ir", "onnxruntime_genai", "onnxscript", "safetensors"),
    *("torch", "torchvision", "transformers"),
)

# Extra → its distributions, by the names they are imported with.
MODULES: Mapping[str, tuple[str, ...]] = {
    "engine": _ENGINE,
    "server": (*_ENGINE, "pytriton"),
    "build": _BUILD,
    "quantize": ("datasets", "modelopt", "requests"),
    "evaluate": (*_ENGINE, "matplotlib", "sklearn"),
    "gateway": (
        *_FILM,
        *("fastapi", "httptools", "prometheus_client", "pybase64", "pydantic"),
        *("python_multipart", "uvicorn"),
    ),
    "train": (
        *_BUILD,
        *("accelerate", "datasets", "openai", "peft", "pyarrow", "sklearn", "tensorboard"),
        *("trl", "yaml"),
    ),
}


def require(*extras: str, what: str) -> None:
    """Check that extras are installed, before anything of them is imported.

    Args:
        extras: Names in `MODULES`.
        what: What needs them, to begin the message with.

    Raises:
        MissingExtraError: Some of their packages are missing; says how to install them.
    """
    missing = {extra: find_missing(extra) for extra in extras}
    lacking = [extra for extra, modules in missing.items() if modules]
    if lacking:
        names = sorted({name for modules in missing.values() for name in modules})
        raise MissingExtraError(
            f"{what}: not installed: {', '.join(names)}; in a clone of the repository run "
            f"{install_line(*lacking)}"
        )


def find_missing(extra: str) -> tuple[str, ...]:
    """Return the modules of an extra that are not installed."""
    return tuple(name for name in MODULES[extra] if importlib.util.find_spec(name) is None)


def install_line(*extras: str) -> str:
    """Return the command that installs extras. There is no release yet: it is for a clone."""
    return f"pip install --constraint constraints.txt --editable '.[{','.join(extras)}]'"

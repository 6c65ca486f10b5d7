"""Checkpoint → `vision.plan`: the vision tower and the projector as a TensorRT engine."""

from __future__ import annotations

import importlib.util
import math
import os
import tempfile
from pathlib import Path

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.trtllm.vision import VISION_PLAN
from cxr_reason.engine.vision_input import PATCHES, PLAN_INPUTS
from cxr_reason.errors import EngineError
from cxr_reason.kernels.preprocess.geometry import MERGE_SIZE, PATCH_SIZE, PixelBudget

WORKSPACE_BYTES = 4 << 30
OPTIMIZATION_LEVEL = 3

Shape = tuple[int, ...]


def check_tensorrt() -> None:
    """Check that an engine can be built here.

    Raises:
        EngineError: TensorRT, or a GPU that torch can use, is missing.
    """
    if importlib.util.find_spec("tensorrt") is None:
        raise EngineError(
            "backend tensorrt-llm: the package tensorrt (10.14 or 11) is not installed; it comes "
            "with TensorRT-LLM: build in its container, see docs/deploy-gpu.md"
        )
    import torch

    if not torch.cuda.is_available():
        raise EngineError(
            "backend tensorrt-llm: no NVIDIA GPU here; a vision engine is built on the kind of "
            "GPU that will run it"
        )


def build_vision(
    checkpoint: Checkpoint, folder: Path, budget: PixelBudget, *, with_plugins: bool = False
) -> None:
    """Write `vision.plan` to `folder`.

    Args:
        checkpoint: The source.
        folder: Of the artifact.
        budget: The films that the engine must take.
        with_plugins: Run the projector with our kernels. Off until they were compared on a GPU:
            `benchmarks/gpu_acceptance.py --tensorrt-llm` builds both.

    Raises:
        EngineError: TensorRT refused the graph or found no engine for it.
    """
    from cxr_reason.engine.onnx.export_vision import export_vision
    from cxr_reason.engine.onnx.vision import VISION_MODEL
    from cxr_reason.engine.trtllm.mixed_precision import write_bf16

    if with_plugins:
        import cxr_reason.engine.trtllm.plugins  # noqa: F401 (registers them)
    head_dim = int(checkpoint.vision["hidden_size"]) // int(checkpoint.vision["num_heads"])
    shapes = profile_shapes(
        budget, window_size_px=int(checkpoint.vision["window_size"]), head_dim=head_dim
    )
    with tempfile.TemporaryDirectory(dir=folder, prefix="vision-") as scratch:
        export_vision(checkpoint, Path(scratch))
        model = Path(scratch) / "bf16.onnx"
        write_bf16(Path(scratch) / VISION_MODEL, model, with_plugins=with_plugins)
        plan = build_plan(model, shapes)
    (folder / VISION_PLAN).write_bytes(plan)


def profile_shapes(
    budget: PixelBudget, *, window_size_px: int, head_dim: int
) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Return the least, the most common and the largest shape of each input.

    A film within the budget has at most `max_pixels` and at least 2 x 2 patches; a square one at
    the upper end is the most common. A film that is one token high has the most windows.
    """
    largest = budget.max_pixels // (PATCH_SIZE * MERGE_SIZE) ** 2  # tokens
    side = math.isqrt(largest)
    tokens = (1, side * side, largest)
    per_window = window_size_px // (PATCH_SIZE * MERGE_SIZE)
    windows = (1, math.ceil(side / per_window) ** 2, math.ceil(largest / per_window))
    slots = (window_size_px // PATCH_SIZE) ** 2
    patches = tuple(MERGE_SIZE**2 * count for count in tokens)
    shapes = {
        PATCHES: tuple((count, PATCH_SIZE**2) for count in patches),
        "rotary_cos": tuple((count, head_dim) for count in patches),
        "rotary_sin": tuple((count, head_dim) for count in patches),
        "window_slots": tuple((count, slots) for count in windows),
        "window_bias": tuple((count, 1, 1, slots) for count in windows),
        "patch_slots": tuple((count,) for count in patches),
        "merge_order": tuple((count,) for count in tokens),
    }
    assert set(shapes) == {PATCHES, *PLAN_INPUTS}
    return {name: (least, common, most) for name, (least, common, most) in shapes.items()}


def build_plan(model: Path, shapes: dict[str, tuple[Shape, Shape, Shape]]) -> bytes:
    """Build a strongly typed engine: its types are the graph's.

    Args:
        model: The ONNX file.
        shapes: Least, most common and largest shape of each input.

    Returns:
        The serialised engine.

    Raises:
        EngineError: See `build_vision`.
    """
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(
        1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        | 1 << int(trt.NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS)
    )
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise EngineError(f"build: TensorRT {trt.__version__} refuses the vision graph: {reasons}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.builder_optimization_level = OPTIMIZATION_LEVEL
    profile = builder.create_optimization_profile()
    for name, (least, common, most) in shapes.items():
        profile.set_shape(name, least, common, most)
    config.add_optimization_profile(profile)
    cache_file = _timing_cache_file(trt.__version__)
    saved = cache_file.read_bytes() if cache_file.is_file() else b""
    config.set_timing_cache(config.create_timing_cache(saved), ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"build: TensorRT {trt.__version__} found no engine for the vision graph; its log "
            "above says why, most often too little GPU memory"
        )
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    cache_file.write_bytes(config.get_timing_cache().serialize())
    return bytes(plan)


def _timing_cache_file(version: str) -> Path:
    """Measured kernels of this user's builds; a cache of another GPU is ignored by TensorRT."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "cxr-reason" / f"tensorrt-{version}.timing"

"""Checkpoint → `vision.onnx`: vision tower and projector in fp32."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.onnx.vision import VISION_MODEL
from cxr_reason.engine.positions import VisionPlan, plan_vision
from cxr_reason.engine.vision_input import PATCHES, PLAN_INPUTS, VISUAL_TOKENS, plan_feeds
from cxr_reason.engine.vision_tower import build_vision_tower, read_vision_config

OPSET = 20  # the graph needs nothing newer

# Any film with full and partial windows: the graph must not specialise to either.
_EXAMPLE_GRID = (12, 10)


def export_vision(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the vision model and its weights to `folder`.

    Args:
        checkpoint: The source.
        folder: Gets `vision.onnx` and `vision.onnx.data`.
    """
    config = read_vision_config(checkpoint.vision, checkpoint.preprocessor)
    prefix = "visual."
    names = [
        name.removeprefix(prefix) for name in checkpoint.tensor_files if name.startswith(prefix)
    ]
    tower = build_vision_tower(config, lambda name: checkpoint.load_tensor(prefix + name), names)
    plan = plan_vision(
        _EXAMPLE_GRID,
        window_size_px=checkpoint.vision["window_size"],
        head_dim=config.hidden_size // config.num_heads,
    )
    patches, tokens, windows = (
        4 * torch.export.Dim("num_tokens", min=2),
        torch.export.Dim("num_tokens", min=2),
        torch.export.Dim("num_windows", min=1),
    )
    dimensions = (
        {0: patches},
        {0: patches},
        {0: patches},
        {0: windows},
        {0: windows},
        {0: patches},
        {0: tokens},
    )
    with _quiet_exporter():
        program = torch.onnx.export(
            tower,
            _example_inputs(plan),
            input_names=[PATCHES, *PLAN_INPUTS],
            output_names=[VISUAL_TOKENS],
            dynamic_shapes=dimensions,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "the dynamo exporter returns a program"
    program.save(folder / VISION_MODEL, external_data=True)
    # The exporter leaves cycles that hold the weights, and the decoder's build needs the memory.
    del program, tower
    gc.collect()


def _example_inputs(plan: VisionPlan) -> tuple[Tensor, ...]:
    patches = torch.zeros(len(plan.window_order), 196)
    return (patches, *(torch.from_numpy(array) for array in plan_feeds(plan).values()))


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter logs its optimiser's steps at INFO and WARNING; errors still show."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the exporter itself
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

"""The plan of a build: what is made from a checkpoint, and how large it will be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.artifact import ModelShape
from cxr_reason.kernels.preprocess.geometry import PixelBudget

DEFAULT_CONTEXT_LENGTH = 4096  # a film, its prompt, and the longest trace with a follow-up


@dataclass(frozen=True)
class BuildPlan:
    """What is built, of what, and where to.

    Attributes:
        checkpoint: The source.
        backend: Name of the backend.
        precision: Precision of the decoder's weights.
        output: Folder of the artifact.
        budget: Pixel budget of the artifact.
        context_length: Most tokens of prompt and answer together.
        calibration: Prepared data that a quantised decoder is calibrated on, or None.
    """

    checkpoint: Checkpoint
    backend: str
    precision: str
    output: Path
    budget: PixelBudget
    context_length: int
    calibration: Path | None = None


def read_budget(checkpoint: Checkpoint, max_pixels: int | None = None) -> PixelBudget:
    """Return the pixel budget that a checkpoint was trained with.

    It is what its processor pins, but not above 476 x 476: Qwen2.5-VL's stock processor allows 12.8
    megapixels, 34 times the tokens that any reader of chest films was trained on.

    Args:
        checkpoint: With its `preprocessor_config.json`.
        max_pixels: Takes the place of the upper end.

    Raises:
        BadRequestError: The bounds are no budget.
    """
    # transformers 5 writes `size`, earlier releases write the two bounds.
    size = checkpoint.preprocessor.get("size") or {}
    pinned = size.get("longest_edge") or checkpoint.preprocessor.get("max_pixels")
    upper = min(int(pinned or PixelBudget.max_pixels), PixelBudget.max_pixels)
    return PixelBudget(max_pixels=upper if max_pixels is None else max_pixels)


def read_shape(checkpoint: Checkpoint) -> ModelShape:
    """Read the sizes that a runtime needs."""
    text, vision = checkpoint.text, checkpoint.vision
    num_heads = int(text["num_attention_heads"])
    return ModelShape(
        hidden_size=text["hidden_size"],
        num_layers=text["num_hidden_layers"],
        num_kv_heads=text["num_key_value_heads"],
        head_dim=text.get("head_dim") or text["hidden_size"] // num_heads,
        vocab_size=text["vocab_size"],
        vision_hidden_size=vision["hidden_size"],
        vision_num_heads=vision["num_heads"],
        window_size_px=vision["window_size"],
    )


class ParameterCount(NamedTuple):
    """Parameters of a model.

    Attributes:
        vision: Of tower and projector.
        decoder: Of the decoder with its output layer.
        table: Of the table of text embeddings.
    """

    vision: int
    decoder: int
    table: int


def count_parameters(checkpoint: Checkpoint) -> ParameterCount:
    """Count the parameters of a checkpoint by its configuration."""
    text, vision = checkpoint.text, checkpoint.vision
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    vision_count = vision["depth"] * (4 * width**2 + 3 * width * inner) + 196 * width
    vision_count += 16 * width**2 + 4 * width * text["hidden_size"]
    shape = read_shape(checkpoint)
    hidden, kv_width = shape.hidden_size, shape.num_kv_heads * shape.head_dim
    layer = 2 * hidden**2 + 2 * hidden * kv_width + 3 * hidden * text["intermediate_size"]
    table = shape.vocab_size * hidden
    return ParameterCount(vision_count, shape.num_layers * layer + table, table)

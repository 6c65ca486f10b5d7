"""Which block sizes a kernel runs with: measured once for each device, dtype and shape, and kept.

Without a file, the first call with a new `Problem` measures all candidates on the device. After
`load_tuning` nothing is measured any more: what the file lacks runs with the default.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxr_reason.errors import EngineError

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
_SMALLEST_BUCKET = 16
_LARGEST_BUCKET = 2048


@dataclass(frozen=True)
class BlockConfig:
    """How one kernel is cut and compiled.

    Attributes:
        block_t: Tokens of a block.
        block_n: Output columns of a block.
        block_k: Depth of one step of the sum.
        num_warps: Warps of a block.
        num_stages: Steps of the sum in flight.
    """

    block_t: int
    block_n: int
    block_k: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True)
class Problem:
    """What a choice holds for.

    Attributes:
        kernel: "fc1" or "fc2".
        device: Name of the GPU.
        dtype: "bfloat16" or "float16".
        depth: Length of the sum.
        columns: Output columns.
        tokens: Bucket of rows, from `bucket_tokens`.
    """

    kernel: str
    device: str
    dtype: str
    depth: int
    columns: int
    tokens: int


def bucket_tokens(tokens: int) -> int:
    """Round up to a power of two, 16 to 2048: shapes in one bucket share a choice."""
    power = 1 << max(tokens - 1, 0).bit_length()
    return min(max(power, _SMALLEST_BUCKET), _LARGEST_BUCKET)


class _State:
    """Choices of this process, and whether they came from a file."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.choices: dict[Problem, BlockConfig] = {}
        self.defaulted: set[Problem] = set()
        self.is_loaded = False


_state = _State()


def choose_config(
    problem: Problem,
    candidates: Sequence[BlockConfig],
    default: BlockConfig,
    measure: Callable[[BlockConfig], float] | None,
) -> BlockConfig:
    """Return the block sizes for a problem; measure them if nothing is known and no file loaded.

    Args:
        problem: What is about to run.
        candidates: Configurations that fit the shape.
        default: What runs when nothing is known and nothing may be measured.
        measure: Returns a time in ms, infinite where the device cannot run the configuration.
            None where time means nothing (interpreter) or must not be taken (graph capture).
    """
    with _state.lock:
        known = _state.choices.get(problem)
        if known is not None:
            return known
        if _state.is_loaded:
            if problem not in _state.defaulted:
                _state.defaulted.add(problem)
                logger.info("projector: no tuned choice for %s; using %s", problem, default)
            return default
        if measure is None:
            return default
        times_ms = {config: measure(config) for config in candidates}
        best = min(times_ms, key=times_ms.__getitem__)
        if math.isinf(times_ms[best]):
            return default
        logger.info("projector: tuned %s: %s, %.4f ms", problem, best, times_ms[best])
        _state.choices[problem] = best
        return best


def save_tuning(path: Path) -> None:
    """Write this process's choices as JSON, for `load_tuning` on the same kind of device."""
    with _state.lock:
        rows = [
            {**asdict(problem), "config": asdict(config)}
            for problem, config in _state.choices.items()
        ]
    text = json.dumps({"format": FORMAT_VERSION, "choices": rows}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def load_tuning(path: Path) -> None:
    """Take the choices in a file, replacing all others, and measure nothing from now on.

    Raises:
        EngineError: The file is not one that `save_tuning` of this release wrote.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT_VERSION:
            raise ValueError(f"format {content['format']}, this release reads {FORMAT_VERSION}")
        choices = dict(_read_choice(row) for row in content["choices"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"tuning file: {type(error).__name__}: {error}; write a new one with save_tuning"
        ) from error
    with _state.lock:
        _state.choices = choices
        _state.defaulted.clear()
        _state.is_loaded = True


def reset_tuning() -> None:
    """Forget all choices; new problems are measured again."""
    with _state.lock:
        _state.choices = {}
        _state.defaulted.clear()
        _state.is_loaded = False


def _read_choice(row: dict[str, Any]) -> tuple[Problem, BlockConfig]:
    fields = dict(row)
    config = BlockConfig(**fields.pop("config"))
    if not all(isinstance(value, int) and value > 0 for value in asdict(config).values()):
        raise ValueError(f"{config}: sizes must be positive whole numbers")
    return Problem(**fields), config

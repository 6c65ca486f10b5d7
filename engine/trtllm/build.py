"""Checkpoint → what this backend puts into an artifact."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_reason.engine.trtllm.build_decoder import write_decoder
from cxr_reason.engine.trtllm.decoder import DECODER
from cxr_reason.engine.trtllm.films import needs_vision_engine
from cxr_reason.engine.trtllm.package import installed_release

if TYPE_CHECKING:
    from cxr_reason.engine.build import BuildPlan

BF16 = "bf16"
# Bytes a parameter of the decoder takes on disk: weights with their block scales.
DECODER_BYTES = {BF16: 2.0, "fp8": 1.0, "int4-awq": 0.6, "nvfp4": 0.6}


def describe_steps(plan: BuildPlan) -> tuple[tuple[str, str], ...]:
    """Return name and description of each step that `run_steps` reports."""
    steps = [("decoder", f"decoder → {DECODER}/, {plan.precision}")]
    if needs_vision_engine(installed_release()):
        steps.append(("vision", "vision tower and projector → vision.plan, bf16"))
    return tuple(steps)


def check_tools(plan: BuildPlan) -> None:
    """Check that everything is installed that the build needs.

    Raises:
        EngineError: TensorRT-LLM, or for a quantised decoder ModelOpt or its calibration data, or
            for the vision engine TensorRT or a GPU is missing.
    """
    release = installed_release()
    if plan.precision != BF16:
        from cxr_reason.engine.trtllm.quantize import check_calibration

        check_calibration(plan.calibration)
    if needs_vision_engine(release):
        from cxr_reason.engine.trtllm.build_vision import check_tensorrt

        check_tensorrt()


def run_steps(plan: BuildPlan, folder: Path, report: Callable[[str, float], None]) -> None:
    """Write the decoder, and the vision engine where the release uses one, to `folder`.

    Raises:
        EngineError: A step failed.
    """
    report("decoder", 0.0)
    decoder = folder / DECODER
    write_decoder(
        plan.checkpoint, decoder, plan.budget, report=lambda part: report("decoder", part)
    )
    if plan.precision != BF16:
        from cxr_reason.engine.trtllm.quantize import quantize_decoder

        assert plan.calibration is not None, "checked with the plan"
        whole = decoder.rename(folder / f"{DECODER}-bf16")
        quantize_decoder(whole, decoder, plan.precision, plan.calibration)
        shutil.rmtree(whole)
    if needs_vision_engine(installed_release()):
        report("vision", 0.0)
        from cxr_reason.engine.trtllm.build_vision import build_vision

        build_vision(plan.checkpoint, folder, plan.budget)

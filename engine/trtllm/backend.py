"""The TensorRT-LLM backend: NVIDIA servers."""

from __future__ import annotations

import shutil
from pathlib import Path

from cxr_reason.engine.artifact import Manifest
from cxr_reason.engine.backend import Backend, Report
from cxr_reason.engine.base import Engine
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.plan import BuildPlan, count_parameters
from cxr_reason.engine.trtllm.decoder import DECODER
from cxr_reason.engine.trtllm.films import needs_vision_engine
from cxr_reason.engine.trtllm.package import installed_release

_BF16 = "bf16"
# Bytes a parameter of the decoder takes on disk: weights with their block scales.
_DECODER_BYTES = {_BF16: 2.0, "fp8": 1.0, "int4-awq": 0.6, "nvfp4": 0.6}


class TrtllmBackend(Backend):
    """See `Backend`."""

    name = "tensorrt-llm"
    precisions = tuple(_DECODER_BYTES)
    tools = ("tensorrt_llm",)

    def check_tools(self, plan: BuildPlan) -> None:
        """See `Backend`."""
        release = installed_release()
        if plan.precision != _BF16:
            from cxr_reason.engine.trtllm.quantize import check_calibration

            check_calibration(plan.calibration)
        if needs_vision_engine(release):
            from cxr_reason.engine.trtllm.build_vision import check_tensorrt

            check_tensorrt()

    def describe_steps(self, plan: BuildPlan) -> tuple[tuple[str, str], ...]:
        """See `Backend`."""
        steps = [("decoder", f"decoder → {DECODER}/, {plan.precision}")]
        if needs_vision_engine(installed_release()):
            steps.append(("vision", "vision tower and projector → vision.plan, bf16"))
        return tuple(steps)

    def estimate_bytes(self, plan: BuildPlan) -> int:
        """See `Backend`."""
        count = count_parameters(plan.checkpoint)
        # The tower in the decoder's folder and in the vision engine.
        decoder_bytes = _DECODER_BYTES[plan.precision]
        return int(4 * count.vision + decoder_bytes * count.decoder + 2 * count.table)

    def run_steps(self, plan: BuildPlan, folder: Path, report: Report) -> None:
        """See `Backend`; the vision engine is written where the release uses one."""
        from cxr_reason.engine.trtllm.build_decoder import write_decoder

        report("decoder", 0.0)
        decoder = folder / DECODER
        write_decoder(
            plan.checkpoint, decoder, plan.budget, report=lambda part: report("decoder", part)
        )
        if plan.precision != _BF16:
            from cxr_reason.engine.trtllm.quantize import quantize_decoder

            assert plan.calibration is not None, "checked with the plan"
            whole = decoder.rename(folder / f"{DECODER}-bf16")
            quantize_decoder(whole, decoder, plan.precision, plan.calibration)
            shutil.rmtree(whole)
        if needs_vision_engine(installed_release()):
            report("vision", 0.0)
            from cxr_reason.engine.trtllm.build_vision import build_vision

            build_vision(plan.checkpoint, folder, plan.budget)

    def load(
        self, folder: Path, manifest: Manifest, config: EngineConfig, parts: frozenset[str]
    ) -> Engine:
        """See `Backend`."""
        from cxr_reason.engine.trtllm.engine import TrtllmEngine

        return TrtllmEngine(folder, manifest, config, parts=parts)


BACKEND = TrtllmBackend()

"""The ONNX Runtime backend: any machine, no GPU needed."""

from __future__ import annotations

from pathlib import Path

from cxr_reason.engine.artifact import Manifest
from cxr_reason.engine.backend import Backend, Report
from cxr_reason.engine.base import Engine
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.plan import BuildPlan, count_parameters
from cxr_reason.extras import require

# Bytes a parameter of the decoder takes on disk: integers with their block scales.
_DECODER_BYTES = {"fp32": 4.0, "int8": 1.04, "int4": 0.54}


class OnnxBackend(Backend):
    """See `Backend`."""

    name = "onnx"
    precisions = ("int4", "int8", "fp32")
    tools = ("onnxruntime", "onnxruntime-genai")

    def check_tools(self, plan: BuildPlan) -> None:
        """See `Backend`."""
        require("build", what="build")

    def describe_steps(self, plan: BuildPlan) -> tuple[tuple[str, str], ...]:
        """See `Backend`."""
        many_rows = "int8" if _has_integers(plan) else "fp32"
        refine = ("int4", "scales of the int4 weights, searched for the least error")
        prefill = ("prefill", "decoder for prompts → prefill.onnx, int8")
        return (
            ("vision", f"vision tower and projector → vision.onnx, {many_rows}"),
            ("decoder", f"decoder → decoder.onnx, {plan.precision}"),
            *([refine] if plan.precision == "int4" else []),
            *([prefill] if _has_integers(plan) else []),
        )

    def estimate_bytes(self, plan: BuildPlan) -> int:
        """See `Backend`."""
        count = count_parameters(plan.checkpoint)
        vision_bytes, prefill_bytes = (1.1, 1.0) if _has_integers(plan) else (4.0, 0.0)
        decoder_bytes = _DECODER_BYTES[plan.precision] + prefill_bytes
        return int(vision_bytes * count.vision + decoder_bytes * count.decoder + 4 * count.table)

    def run_steps(self, plan: BuildPlan, folder: Path, report: Report) -> None:
        """See `Backend`."""
        from cxr_reason.engine.onnx.export_decoder import export_decoder, export_embeddings
        from cxr_reason.engine.onnx.export_int8 import quantize_vision, write_prefill
        from cxr_reason.engine.onnx.export_vision import export_vision
        from cxr_reason.engine.onnx.int4 import refine_int4

        report("vision", 0.0)
        export_vision(plan.checkpoint, folder)
        if _has_integers(plan):
            quantize_vision(folder)
        report("decoder", 0.0)
        export_decoder(
            plan.checkpoint,
            folder,
            precision=plan.precision,
            report=lambda part: report("decoder", part),
        )
        if plan.precision == "int4":
            report("int4", 0.0)
            refine_int4(plan.checkpoint, folder)
        if _has_integers(plan):
            report("prefill", 0.0)
            write_prefill(plan.checkpoint, folder)
        export_embeddings(plan.checkpoint, folder)

    def load(
        self, folder: Path, manifest: Manifest, config: EngineConfig, parts: frozenset[str]
    ) -> Engine:
        """See `Backend`."""
        require("engine", what="load")
        from cxr_reason.engine.onnx.engine import OnnxEngine

        return OnnxEngine(folder, manifest, config, parts=parts)


def _has_integers(plan: BuildPlan) -> bool:
    """Return whether what sees many rows at once is in int8."""
    return plan.precision != "fp32"


BACKEND = OnnxBackend()

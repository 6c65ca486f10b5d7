"""Names of the vision engine's tensors and file. The graph is that of the `onnx` backend."""

from __future__ import annotations

VISION_PLAN = "vision.plan"
OUTPUT_NAME = "visual_tokens"
# Besides `patches`: fields of `positions.VisionPlan`.
PLAN_INPUTS = (
    "rotary_cos",
    "rotary_sin",
    "window_slots",
    "window_bias",
    "patch_slots",
    "merge_order",
)

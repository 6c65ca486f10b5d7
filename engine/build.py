"""Checkpoint → engine artifact: the plan, its checks, and its steps."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.artifact import (
    BACKEND_PRECISIONS,
    BACKENDS,
    FORMAT_VERSION,
    MANIFEST,
    FileRecord,
    Manifest,
    ModelShape,
    read_manifest,
    record_files,
    write_manifest,
)
from cxr_reason.engine.prompt_encoder import CHAT_TEMPLATE, TOKENIZER
from cxr_reason.engine.trtllm import build as trtllm_build
from cxr_reason.errors import ArtifactError, BadRequestError, EngineError
from cxr_reason.kernels.preprocess.geometry import PixelBudget

DEFAULT_CONTEXT_LENGTH = 4096  # a film, its prompt, and the longest trace with a follow-up

# Distributions of the extra `build`, by the names they are imported with.
_REQUIRED_MODULES = (
    "onnx",
    "onnxruntime_genai",
    "onnxscript",
    "safetensors",
    "torch",
    "transformers",
)
_COMMON_TOOLS = ("cxr-reason", "onnx", "torch", "transformers")
_TOOLS = {
    "tensorrt-llm": (*_COMMON_TOOLS, "tensorrt_llm"),
    "onnx": (*_COMMON_TOOLS, "onnxruntime", "onnxruntime-genai"),
}
# Bytes a parameter of the decoder takes on disk: integers with their block scales.
_DECODER_BYTES = {"fp32": 4.0, "int8": 1.04, "int4": 0.54}

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class BuildPlan:
    """A build that has passed all checks that need no work.

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

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """Name and description of each step."""
        is_trtllm = self.backend == "tensorrt-llm"
        return (
            ("digest", "digest of the checkpoint"),
            *(trtllm_build.describe_steps(self) if is_trtllm else self._onnx_steps),
            ("text", "embeddings, tokenizer, chat template"),
            ("manifest", "manifest with the digest of every file"),
        )

    @property
    def _onnx_steps(self) -> tuple[tuple[str, str], ...]:
        many_rows = "int8" if self.has_integers else "fp32"
        refine = ("int4", "scales of the int4 weights, searched for the least error")
        prefill = ("prefill", "decoder for prompts → prefill.onnx, int8")
        return (
            ("vision", f"vision tower and projector → vision.onnx, {many_rows}"),
            ("decoder", f"decoder → decoder.onnx, {self.precision}"),
            *([refine] if self.precision == "int4" else []),
            *([prefill] if self.has_integers else []),
        )

    @property
    def has_integers(self) -> bool:
        """Whether what sees many rows at once is in int8."""
        return self.precision != "fp32"

    @property
    def size_bytes(self) -> int:
        """Estimated size of the artifact."""
        shape = read_shape(self.checkpoint)
        vision, text = _count_parameters(self.checkpoint)
        embeddings = shape.vocab_size * shape.hidden_size
        if self.backend == "tensorrt-llm":
            bytes_a_parameter = trtllm_build.DECODER_BYTES[self.precision]
            # The tower in the decoder's folder and in the vision engine.
            return int(4 * vision + bytes_a_parameter * text + 2 * embeddings)
        vision_bytes, prefill_bytes = (1.1, 1.0) if self.has_integers else (4.0, 0.0)
        decoder_bytes = _DECODER_BYTES[self.precision] + prefill_bytes
        return int(vision_bytes * vision + decoder_bytes * text + 4 * embeddings)


def plan_build(
    checkpoint: Checkpoint,
    *,
    backend: str,
    precision: str,
    output: Path,
    max_pixels: int | None = None,
    context_length: int | None = None,
    calibration: Path | None = None,
) -> BuildPlan:
    """Check everything that can be checked before the work.

    Args:
        checkpoint: The source.
        backend: One of `artifact.BACKENDS`.
        precision: One of `artifact.BACKEND_PRECISIONS` of the backend.
        output: Folder to make. An artifact there is replaced; another folder is refused.
        max_pixels: Upper end of the pixel budget; None takes the checkpoint's: `read_budget`.
        context_length: Most tokens; None takes 4,096, or the model's limit if that is lower.
        calibration: Folder that `cxr_reason.training.prepare` wrote, for precisions that need one.

    Raises:
        BadRequestError: Unknown backend or precision, or a setting outside its range.
        CheckpointError: Weights missing or truncated, or no chat template.
        EngineError: A package of the extra `build` is missing, the output is not a folder of ours,
            or the disk has too little room.
    """
    if backend not in BACKENDS:
        raise BadRequestError(f"backend: {backend!r}; one of {', '.join(BACKENDS)}")
    precisions = BACKEND_PRECISIONS[backend]
    if precision not in precisions:
        raise BadRequestError(
            f"precision: {precision!r}; the backend {backend} has {', '.join(precisions)}"
        )
    budget = read_budget(checkpoint, max_pixels)
    limit = int(checkpoint.text["max_position_embeddings"])
    length = min(DEFAULT_CONTEXT_LENGTH, limit) if context_length is None else context_length
    if not 1 <= length <= limit:
        raise BadRequestError(f"context length: {length}; this model allows 1 to {limit}")
    plan = BuildPlan(checkpoint, backend, precision, output.resolve(), budget, length, calibration)
    _check_tools(plan)
    # Weights and template are read now, so that nothing missing is found after the work.
    _ = checkpoint.tensor_files, checkpoint.chat_template, checkpoint.stop_token_ids
    _check_output(plan.output)
    _check_disk(plan)
    return plan


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


def is_built(plan: BuildPlan) -> bool:
    """Return whether the output already is what this plan would build."""
    try:
        manifest = read_manifest(plan.output)
    except ArtifactError:
        return False
    return manifest == _write_down(plan, plan.checkpoint.digest(), manifest.files)


def run_build(plan: BuildPlan, report: Report) -> Manifest:
    """Build the artifact. What exists at the output stays until the new one is whole.

    Args:
        plan: From `plan_build`.
        report: Called with a step's name and the part of it that is done, 0 to 1.

    Returns:
        The manifest that was written.

    Raises:
        EngineError: A step failed.
    """
    checkpoint = plan.checkpoint
    partial = plan.output.with_name(plan.output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        report("digest", 0.0)
        digest = checkpoint.digest()
        run_steps = trtllm_build.run_steps if plan.backend == "tensorrt-llm" else _run_onnx_steps
        run_steps(plan, partial, report)
        report("text", 0.0)
        shutil.copyfile(checkpoint.folder / TOKENIZER, partial / TOKENIZER)
        (partial / CHAT_TEMPLATE).write_text(checkpoint.chat_template, encoding="utf-8")
        report("manifest", 0.0)
        paths = [path for path in partial.rglob("*") if path.is_file()]
        files = record_files(partial, [str(path.relative_to(partial)) for path in paths])
        manifest = _write_down(plan, digest, files)
        write_manifest(partial, manifest)
        shutil.rmtree(plan.output, ignore_errors=True)
        partial.replace(plan.output)
    except OSError as error:
        raise EngineError(
            f"build: the disk refused a write ({error.strerror}); free some room and run again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    report("manifest", 1.0)
    return manifest


def _run_onnx_steps(plan: BuildPlan, folder: Path, report: Report) -> None:
    from cxr_reason.engine.onnx.export_decoder import export_decoder, export_embeddings
    from cxr_reason.engine.onnx.export_int8 import quantize_vision, write_prefill
    from cxr_reason.engine.onnx.export_vision import export_vision
    from cxr_reason.engine.onnx.int4 import refine_int4

    report("vision", 0.0)
    export_vision(plan.checkpoint, folder)
    if plan.has_integers:
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
    if plan.has_integers:
        report("prefill", 0.0)
        write_prefill(plan.checkpoint, folder)
    export_embeddings(plan.checkpoint, folder)


def describe(
    checkpoint: Checkpoint,
    *,
    digest: str,
    backend: str,
    precision: str,
    budget: PixelBudget,
    context_length: int,
    files: Mapping[str, FileRecord],
) -> Manifest:
    """Return the manifest of an engine made from `checkpoint` with the tools installed here."""
    tools = _TOOLS.get(backend, _COMMON_TOOLS)
    versions = {name: importlib.metadata.version(name) for name in tools}
    return Manifest(
        format_version=FORMAT_VERSION,
        backend=backend,
        precision=precision,
        checkpoint_digest=digest,
        model_notice=checkpoint.notice,
        shape=read_shape(checkpoint),
        context_length=context_length,
        min_pixels=budget.min_pixels,
        max_pixels=budget.max_pixels,
        image_token_id=checkpoint.config["image_token_id"],
        stop_token_ids=checkpoint.stop_token_ids,
        tool_versions={"python": platform.python_version(), **versions},
        files=dict(files),
    )


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


def _write_down(plan: BuildPlan, digest: str, files: Mapping[str, FileRecord]) -> Manifest:
    return describe(
        plan.checkpoint,
        digest=digest,
        backend=plan.backend,
        precision=plan.precision,
        budget=plan.budget,
        context_length=plan.context_length,
        files=files,
    )


def _count_parameters(checkpoint: Checkpoint) -> tuple[int, int]:
    """Return the parameters of the vision part and of the decoder with its output layer."""
    text, vision = checkpoint.text, checkpoint.vision
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    vision_count = vision["depth"] * (4 * width**2 + 3 * width * inner) + 196 * width
    vision_count += 16 * width**2 + 4 * width * text["hidden_size"]
    shape = read_shape(checkpoint)
    hidden, kv_width = shape.hidden_size, shape.num_kv_heads * shape.head_dim
    layer = 2 * hidden**2 + 2 * hidden * kv_width + 3 * hidden * text["intermediate_size"]
    return vision_count, shape.num_layers * layer + shape.vocab_size * hidden


def _check_tools(plan: BuildPlan) -> None:
    if plan.backend == "tensorrt-llm":
        trtllm_build.check_tools(plan)
        return
    missing = [name for name in _REQUIRED_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError(
            f"build: needs the packages {', '.join(missing)}: pip install 'cxr-reason[build]'"
        )


def _check_output(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise EngineError("output: is a file; name a folder")
    if output.is_dir() and any(output.iterdir()) and not (output / MANIFEST).is_file():
        raise EngineError("output: the folder holds other files; name a new or an empty folder")


def _check_disk(plan: BuildPlan) -> None:
    folder = plan.output
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    # The exporters write a second copy of what they are working on.
    needed = 2 * plan.size_bytes
    if free < needed:
        raise EngineError(
            f"output: {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB needed; "
            "free some room or name a folder on another disk"
        )

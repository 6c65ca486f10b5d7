"""Checkpoint → engine artifact: the plan, its checks, and its steps."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.artifact import (
    CHAT_TEMPLATE,
    FORMAT_VERSION,
    MANIFEST,
    TOKENIZER,
    FileRecord,
    Manifest,
    read_manifest,
    record_files,
    write_manifest,
)
from cxr_reason.engine.backend import Report
from cxr_reason.engine.plan import DEFAULT_CONTEXT_LENGTH, BuildPlan, read_budget, read_shape
from cxr_reason.engine.registry import BACKEND_NAMES, find_backend
from cxr_reason.errors import ArtifactError, BadRequestError, EngineError
from cxr_reason.kernels.preprocess.geometry import PixelBudget

# Distributions whose versions every artifact records.
_COMMON_TOOLS = ("cxr-reason", "onnx", "torch", "transformers")


def list_steps(plan: BuildPlan) -> tuple[tuple[str, str], ...]:
    """Return name and description of each step of a build."""
    return (
        ("digest", "digest of the checkpoint"),
        *find_backend(plan.backend).describe_steps(plan),
        ("text", "embeddings, tokenizer, chat template"),
        ("manifest", "manifest with the digest of every file"),
    )


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
        backend: One of `registry.BACKEND_NAMES`.
        precision: One of the backend's.
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
    if backend not in BACKEND_NAMES:
        raise BadRequestError(f"backend: {backend!r}; one of {', '.join(BACKEND_NAMES)}")
    precisions = find_backend(backend).precisions
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
    find_backend(backend).check_tools(plan)
    # Weights and template are read now, so that nothing missing is found after the work.
    _ = checkpoint.tensor_files, checkpoint.chat_template, checkpoint.stop_token_ids
    _check_output(plan.output)
    _check_disk(plan)
    return plan


def is_built(plan: BuildPlan) -> bool:
    """Return whether the output already is what this plan would build."""
    try:
        manifest = read_manifest(plan.output)
    except ArtifactError:
        return False
    return manifest == _write_down(plan, plan.checkpoint.digest(), manifest.files)


def run_build(plan: BuildPlan, report: Report) -> Manifest:
    """Build the artifact. What exists at the output stays until the new one is complete.

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
        find_backend(plan.backend).run_steps(plan, partial, report)
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


def describe(
    checkpoint: Checkpoint,
    *,
    digest: str,
    backend: str,
    precision: str,
    budget: PixelBudget,
    context_length: int,
    files: Mapping[str, FileRecord],
    tools: tuple[str, ...] = (),
) -> Manifest:
    """Return the manifest of an engine made from `checkpoint` with the tools installed here.

    Args:
        checkpoint: The source.
        digest: Of the checkpoint.
        backend: Name of the backend.
        precision: Precision of the decoder's weights.
        budget: Pixel budget.
        context_length: Most tokens of prompt and answer together.
        files: Of the artifact.
        tools: Distributions whose versions are recorded, besides those of every backend.
    """
    versions = {name: importlib.metadata.version(name) for name in (*_COMMON_TOOLS, *tools)}
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


def _write_down(plan: BuildPlan, digest: str, files: Mapping[str, FileRecord]) -> Manifest:
    return describe(
        plan.checkpoint,
        digest=digest,
        backend=plan.backend,
        precision=plan.precision,
        budget=plan.budget,
        context_length=plan.context_length,
        files=files,
        tools=find_backend(plan.backend).tools,
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
    needed = 2 * find_backend(plan.backend).estimate_bytes(plan)
    if free < needed:
        raise EngineError(
            f"output: {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB needed; "
            "free some room or name a folder on another disk"
        )

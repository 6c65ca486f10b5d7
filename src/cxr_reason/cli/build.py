"""`cxr-reason build` and `build_engine.py`: compile a checkpoint.

python build_engine.py --checkpoint checkpoints/nano --output engines/nano
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cxr_reason.checkpoint import open_checkpoint
from cxr_reason.engine.build import is_built, list_steps, plan_build, run_build
from cxr_reason.engine.plan import BuildPlan
from cxr_reason.engine.registry import BACKEND_NAMES, find_backend

_console = Console(stderr=True)


def _describe_precisions() -> str:
    backends = [find_backend(name) for name in BACKEND_NAMES]
    lists = [f"{one.name}: {', '.join(one.precisions)}" for one in backends]
    defaults = " and ".join(one.precisions[0] for one in backends)
    return f"{'; '.join(lists)} [default: {defaults}]."


def build(
    checkpoint: Annotated[
        str, typer.Option(help="Folder of a checkpoint, or a Hugging Face id OWNER/NAME.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to make. An engine there is replaced.")],
    backend: Annotated[
        str, typer.Option(help=f"One of: {', '.join(BACKEND_NAMES)}.")
    ] = BACKEND_NAMES[0],
    precision: Annotated[
        str | None, typer.Option(help=f"Weights of the decoder. {_describe_precisions()}")
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(help="Largest film after resizing [default: the checkpoint's, at most 476²]."),
    ] = None,
    context_length: Annotated[
        int | None, typer.Option(help="Most tokens of prompt and answer together [default: 4096].")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Prepared films and traces (training/README.md), for fp8, int4-awq and nvfp4."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and stop before building.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Build again although the engine is up to date.")
    ] = False,
) -> None:
    """Compile a checkpoint into an engine.

    Example: cxr-reason build --checkpoint nvidia/NV-Reason-CXR-3B --output engines/nv-reason-cxr-3b
    """
    plan = plan_build(
        open_checkpoint(checkpoint),
        backend=backend,
        precision=precision or _default_precision(backend),
        output=output,
        max_pixels=max_pixels,
        context_length=context_length,
        calibration=calibration,
    )
    if dry_run:
        _print_plan(plan)
        return
    if not force and is_built(plan):
        _console.print(f"Engine is up to date: {output}")
        return
    with Progress(
        TextColumn("{task.description:<44}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=_console,
    ) as progress:
        names = [name for name, _ in list_steps(plan)]
        descriptions = dict(list_steps(plan))
        task = progress.add_task("", total=len(names))

        def report(step: str, part: float) -> None:
            progress.update(
                task, description=descriptions[step], completed=names.index(step) + part
            )

        manifest = run_build(plan, report)
    size = sum(record.size_bytes for record in manifest.files.values())
    _console.print(f"Engine ready: {output} ({size / 1e9:.2f} GB, digest {manifest.digest[:12]})")
    if manifest.model_notice:
        _console.print(f"Notice of the checkpoint: {manifest.model_notice}", style="yellow")


def _default_precision(backend: str) -> str:
    # An unknown backend is refused with the plan.
    return find_backend(backend).precisions[0] if backend in BACKEND_NAMES else ""


def _print_plan(plan: BuildPlan) -> None:
    size_bytes = find_backend(plan.backend).estimate_bytes(plan)
    _console.print(f"backend    {plan.backend}, {plan.precision}")
    _console.print(f"output     {plan.output} (about {size_bytes / 1e9:.2f} GB)")
    _console.print(f"pixels     {plan.budget.min_pixels} to {plan.budget.max_pixels}")
    _console.print(f"context    {plan.context_length} tokens")
    for number, (_, description) in enumerate(list_steps(plan), start=1):
        _console.print(f"step {number}     {description}")

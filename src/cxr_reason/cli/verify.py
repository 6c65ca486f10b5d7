"""`cxr-reason verify`: is an engine folder what its build wrote?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cxr_reason.engine.artifact import read_manifest, verify_digests


def verify(
    engine_dir: Annotated[Path, typer.Argument(help="Engine folder made by `cxr-reason build`.")],
) -> None:
    """Compare every file of an engine with the digest in its manifest (seconds a GB).

    Exits with 1 if a file is missing or altered, or if this release cannot run the engine.

    Example: cxr-reason verify engines/nano
    """
    manifest = read_manifest(engine_dir)
    console = Console(highlight=False)
    with Console(stderr=True).status(f"reading {len(manifest.files)} files"):
        verify_digests(engine_dir, manifest)
    size_gb = sum(record.size_bytes for record in manifest.files.values()) / 1e9
    console.print(f"intact      {len(manifest.files)} files, {size_gb:.2f} GB")
    console.print(f"engine      {manifest.digest}", soft_wrap=True)
    console.print(f"checkpoint  {manifest.checkpoint_digest}", soft_wrap=True)
    console.print(f"backend     {manifest.backend}, {manifest.precision}")
    if manifest.model_notice:
        console.print(f"notice      {manifest.model_notice}", markup=False, style="yellow")

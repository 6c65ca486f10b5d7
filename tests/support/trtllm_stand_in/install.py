"""Puts the stand-in where Python finds it, as a release of choice."""

from __future__ import annotations

import shutil
from pathlib import Path

SOURCE = Path(__file__).parent


def install(folder: Path, release: str) -> Path:
    """Copy the package and its table to `folder`, with metadata that name the release."""
    shutil.copytree(SOURCE / "tensorrt_llm", folder / "tensorrt_llm")
    shutil.copy(SOURCE / "signatures.json", folder)
    metadata = folder / f"tensorrt_llm-{release}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tensorrt_llm\nVersion: {release}\n"
    )
    return folder

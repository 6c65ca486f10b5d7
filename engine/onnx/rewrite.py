"""Saves a rewritten graph, with its weights in a separate file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


def save_model(model: ir.Model, path: Path) -> None:
    """Write a model without its unused nodes and weights; the weights go to `<name>.data`."""
    RemoveUnusedNodesPass()(model)
    ir.save(model, path, external_data=f"{path.name}.data")


def replace_model(model: ir.Model, path: Path) -> None:
    """Write a model over the files that it was loaded from, and whose weights it still reads."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.stem}-") as scratch:
        save_model(model, Path(scratch) / path.name)
        for file in Path(scratch).iterdir():
            file.replace(path.parent / file.name)

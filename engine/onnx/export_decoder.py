"""Checkpoint → `decoder.onnx` with onnxruntime-genai's model builder.

The builder runs in a process of its own: it prints, and what it loads is freed when it ends.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.embeddings import EMBEDDINGS
from cxr_reason.engine.onnx.decoder import DECODER_MODEL, DECODER_WEIGHTS
from cxr_reason.errors import EngineError

_OPTIONS = (
    "exclude_embeds=true",  # visual tokens are embeddings
    "prune_lm_head=true",  # logits of the last token only
    f"filename={DECODER_MODEL}",
)

BLOCK_SIZE = 128  # weights of a row that share a scale


def export_decoder(
    checkpoint: Checkpoint, folder: Path, *, precision: str, report: Callable[[float], None]
) -> None:
    """Write the decoder and its weights to `folder`.

    Args:
        checkpoint: The source.
        folder: Gets `decoder.onnx` and `decoder.onnx.data`.
        precision: "fp32", or "int8" or "int4" (symmetric, accuracy level 4).
        report: Called with the part of the layers that are done, 0 to 1.

    Raises:
        EngineError: The builder failed; the message ends with its last lines.
    """
    num_layers = int(checkpoint.text["num_hidden_layers"])
    integers = [f"block_size={BLOCK_SIZE}", "accuracy_level=4"]
    options = [*_OPTIONS, *(integers if precision != "fp32" else [])]
    with tempfile.TemporaryDirectory(dir=folder, prefix="decoder-") as scratch:
        output = Path(scratch) / "output"
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        command += ["-i", str(checkpoint.folder), "-o", str(output), "-p", precision, "-e", "cpu"]
        command += ["-c", str(Path(scratch) / "cache"), "--extra_options", *options]
        lines: list[str] = []
        # It signs the graph with the commit of whatever clone its package lies in, such as ours:
        # an engine's digest would then change with every commit.
        environment = {**os.environ, "GIT_DIR": os.devnull}
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                if match := re.match(r"Reading layer (\d+)", line):
                    report((int(match[1]) + 1) / (num_layers + 1))
        if process.returncode != 0:
            tail = "\n".join(lines[-5:])
            raise EngineError(f"build: onnxruntime-genai's model builder failed:\n{tail}")
        for name in (DECODER_MODEL, DECODER_WEIGHTS):
            (output / name).replace(folder / name)
    report(1.0)


def export_embeddings(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the text embeddings to `folder` in the checkpoint's own precision."""
    import torch

    table = checkpoint.load_tensor("embed_tokens.weight")
    if table.dtype == torch.bfloat16:
        table = table.view(torch.uint16)
    np.save(folder / EMBEDDINGS, table.numpy())

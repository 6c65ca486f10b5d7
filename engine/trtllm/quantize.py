"""The decoder's weights in FP8, INT4 (AWQ) or NVFP4, with NVIDIA's ModelOpt.

Post-training quantisation, calibrated on films with their traces: what the model will see. Only the
decoder's layers are quantised; vision tower, projector, embeddings and output layer stay bfloat16.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxr_reason.engine.artifact import CHAT_TEMPLATE, TOKENIZER
from cxr_reason.engine.prompt_encoder import PromptEncoder
from cxr_reason.errors import EngineError
from cxr_reason.extras import require
from cxr_reason.prompts import FIND_ABNORMALITIES, Message

if TYPE_CHECKING:
    import torch

# Precision → name of ModelOpt's configuration.
CONFIGURATIONS = {
    "fp8": "FP8_DEFAULT_CFG",
    "int4-awq": "INT4_AWQ_CFG",
    "nvfp4": "NVFP4_DEFAULT_CFG",
}
NUM_FILMS = 256
_EXCLUDED = ("lm_head", "model.visual*", "visual*")
# What the exporter does not write, or knows less of than `build_decoder`.
_KEPT = ("preprocessor_config.json", "generation_config.json", "tokenizer_config.json")


def check_calibration(folder: Path | None) -> None:
    """Check that a decoder can be quantised here.

    Raises:
        MissingExtraError: ModelOpt is missing.
        EngineError: No prepared data are named.
    """
    require("quantize", what="build: a quantised decoder")
    if folder is None or not (folder / "dataset_info.json").is_file():
        raise EngineError(
            "build: a quantised decoder needs --calibration, a folder of prepared films with "
            "traces (training/README.md)"
        )


def quantize_decoder(
    source: Path, target: Path, precision: str, calibration: Path, *, num_films: int = NUM_FILMS
) -> None:
    """Quantise the folder that `build_decoder` wrote.

    Args:
        source: The folder in bfloat16.
        target: Folder to make.
        precision: One of `CONFIGURATIONS`.
        calibration: Prepared films with traces.
        num_films: Films to calibrate on, at most.
    """
    import modelopt.torch.quantization as mtq
    import torch
    from modelopt.torch.export import export_hf_checkpoint
    from transformers import Qwen2_5_VLForConditionalGeneration

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(source, dtype=torch.bfloat16)
    model = model.to(device).eval()
    examples = list(_read_examples(source, calibration, num_films, model.config.image_token_id))

    def run_all(network: Any) -> None:
        with torch.inference_mode():
            for example in examples:
                network(**{name: tensor.to(device) for name, tensor in example.items()})

    # In place, and of the decoder alone: ModelOpt never sees the vision tower.
    config = copy.deepcopy(getattr(mtq, CONFIGURATIONS[precision]))
    mtq.quantize(model.model.language_model, config, lambda _: run_all(model))
    export_hf_checkpoint(model, export_dir=target)
    _complete(source, target)
    for name in (*_KEPT, TOKENIZER, CHAT_TEMPLATE):
        shutil.copyfile(source / name, target / name)


def _complete(source: Path, target: Path) -> None:
    """Keep the configuration of `build_decoder`, and name what is not quantised.

    ModelOpt never saw the vision tower, so it does not list it.
    """
    quantised = _read_json(target / "config.json")["quantization_config"]
    quantised["ignore"] = sorted({*quantised.get("ignore", ()), *_EXCLUDED})
    config = {**_read_json(source / "config.json"), "quantization_config": quantised}
    _write_json(target / "config.json", config)
    fields = _read_json(target / "hf_quant_config.json")
    names = {*fields["quantization"].get("exclude_modules", ()), *_EXCLUDED}
    fields["quantization"]["exclude_modules"] = sorted(names)
    _write_json(target / "hf_quant_config.json", fields)


def _read_json(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return fields


def _write_json(path: Path, fields: dict[str, Any]) -> None:
    path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _read_examples(
    source: Path, calibration: Path, num_films: int, image_token_id: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the model's inputs: film, question, and the trace as it would be generated."""
    import torch
    from datasets import Dataset
    from transformers import Qwen2VLImageProcessor

    processor = Qwen2VLImageProcessor.from_pretrained(source)
    prompts = PromptEncoder(source, image_token_id=image_token_id)
    question = (Message("user", FIND_ABNORMALITIES),)
    rows = Dataset.load_from_disk(calibration)
    for index in np.linspace(0, len(rows) - 1, min(num_films, len(rows))).astype(int):
        row = rows[int(index)]
        film = processor(row["image"].convert("RGB"), return_tensors="pt")
        grid = film["image_grid_thw"]
        ids = prompts.encode(question, num_visual_tokens=int(grid.prod()) // 4)
        trace = prompts.tokenizer.encode(row["trace"], add_special_tokens=False).ids
        tokens = torch.tensor([[*ids.tolist(), *trace]])
        yield {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "mm_token_type_ids": (tokens == image_token_id).int(),
            "pixel_values": film["pixel_values"].to(torch.bfloat16),
            "image_grid_thw": grid,
        }

"""Checkpoint → the Hugging Face folder that TensorRT-LLM loads, in bfloat16.

It is written anew rather than copied: TensorRT-LLM 1.2 reads folders with transformers 4.57, which
does not know the names and settings that transformers 5 saves. So tensors get the names of the
original Qwen2.5-VL release, and the configuration has the settings of both.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.artifact import CHAT_TEMPLATE, TOKENIZER
from cxr_reason.kernels.preprocess.geometry import PixelBudget

if TYPE_CHECKING:
    from torch import Tensor

SHARD_BYTES = 4_000_000_000
DTYPE = "bfloat16"
# Settings of the whole model; all others are the decoder's.
_OUTSIDE_TEXT = (
    "architectures",
    "image_token_id",
    "model_type",
    "video_token_id",
    "vision_config",
    "vision_end_token_id",
    "vision_start_token_id",
    "vision_token_id",
)
_INDEX = "model.safetensors.index.json"


def write_decoder(
    checkpoint: Checkpoint,
    folder: Path,
    budget: PixelBudget,
    *,
    report: Callable[[float], None],
) -> None:
    """Write the folder. It holds the vision tower too: release 1.2 runs it.

    Args:
        checkpoint: The source.
        folder: Made here.
        budget: Pixel budget of the artifact, which the processor must not change.
        report: Called with the part that is done, 0 to 1.
    """
    folder.mkdir(parents=True)
    _write_weights(checkpoint, folder, report)
    _write_json(folder / "config.json", make_config(checkpoint))
    _write_json(folder / "preprocessor_config.json", make_preprocessor(checkpoint, budget))
    _write_json(
        folder / "generation_config.json",
        {"do_sample": False, "eos_token_id": list(checkpoint.stop_token_ids)},
    )
    shutil.copyfile(checkpoint.folder / TOKENIZER, folder / TOKENIZER)
    _write_json(folder / "tokenizer_config.json", make_tokenizer_config(checkpoint))
    (folder / CHAT_TEMPLATE).write_text(checkpoint.chat_template, encoding="utf-8")


def make_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return `config.json` with the settings of transformers 4 and 5 side by side."""
    # Releases before transformers 4.52 saved the decoder's settings beside the model's.
    text = {name: value for name, value in checkpoint.text.items() if name not in _OUTSIDE_TEXT}
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    section = rope.get("mrope_section")
    theta = rope.get("rope_theta") or text.get("rope_theta")
    text |= {
        "model_type": "qwen2_5_vl_text",
        "dtype": DTYPE,
        "torch_dtype": DTYPE,
        "rope_theta": theta,
        "rope_scaling": {"type": "default", "rope_type": "default", "mrope_section": section},
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": theta,
            "mrope_section": section,
        },
    }
    outside = {name: checkpoint.config[name] for name in _OUTSIDE_TEXT if name in checkpoint.config}
    # TensorRT-LLM 1.2 reads it (`Qwen2VLInputProcessorBase._postprocess`); transformers 5 drops it.
    outside.setdefault("vision_token_id", _find_vision_pad(checkpoint))
    return {
        **outside,
        "dtype": DTYPE,
        "torch_dtype": DTYPE,
        "tie_word_embeddings": _has_tied_embeddings(checkpoint),
        "text_config": text,
        "vision_config": {**checkpoint.vision, "dtype": DTYPE, "torch_dtype": DTYPE},
    }


def make_preprocessor(checkpoint: Checkpoint, budget: PixelBudget) -> dict[str, Any]:
    """Return `preprocessor_config.json` with the artifact's pixel budget in both spellings."""
    return {
        **checkpoint.preprocessor,
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": budget.min_pixels,
        "max_pixels": budget.max_pixels,
        "size": {"shortest_edge": budget.min_pixels, "longest_edge": budget.max_pixels},
    }


def make_tokenizer_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return `tokenizer_config.json` for any release: everything else is in `tokenizer.json`."""
    path = checkpoint.folder / "tokenizer_config.json"
    fields = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept = {name: fields[name] for name in ("eos_token", "pad_token") if name in fields}
    return {**kept, "tokenizer_class": "PreTrainedTokenizerFast"}


def _find_vision_pad(checkpoint: Checkpoint) -> int:
    fields = json.loads((checkpoint.folder / TOKENIZER).read_text(encoding="utf-8"))
    ids = {token["content"]: int(token["id"]) for token in fields["added_tokens"]}
    return ids.get("<|vision_pad|>", int(checkpoint.config["image_token_id"]))


def _has_tied_embeddings(checkpoint: Checkpoint) -> bool:
    return "lm_head.weight" not in checkpoint.tensor_files


def _write_weights(checkpoint: Checkpoint, folder: Path, report: Callable[[float], None]) -> None:
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    size_bytes = 0
    num_done = 0
    for number, shard in enumerate(_collect_shards(checkpoint), start=1):
        name = f"model-{number:05}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, name)
        size_bytes += sum(tensor.nbytes for tensor in shard.values())
        num_done += len(shard)
        report(num_done / len(checkpoint.tensor_files))
    _write_json(folder / _INDEX, {"metadata": {"total_size": size_bytes}, "weight_map": places})


def _collect_shards(checkpoint: Checkpoint) -> Iterator[dict[str, Tensor]]:
    """Yield tensors by their original names, in bfloat16, about `SHARD_BYTES` at a time."""
    import torch

    shard: dict[str, Tensor] = {}
    for name in sorted(checkpoint.tensor_files):
        # A copy: safetensors saves no two tensors that share memory.
        tensor = checkpoint.load_tensor(name).to(torch.bfloat16, copy=True).contiguous()
        if shard and sum(t.nbytes for t in shard.values()) + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard = {}
        shard[_original_name(name)] = tensor
    yield shard


def _original_name(name: str) -> str:
    is_outside = name.startswith(("visual.", "lm_head."))
    return name if is_outside else f"model.{name}"


def _write_json(path: Path, fields: dict[str, Any]) -> None:
    path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")

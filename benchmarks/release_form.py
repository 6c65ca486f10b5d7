"""A checkpoint in the form in which Qwen2.5-VL was released, which every peer reads.

transformers 5 nests the decoder's settings and has new names; transformers 4.57 (OpenVINO's
exporter) and mistral.rs know only those of the release. The weights are links to the same files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cxr_reason.checkpoint import Checkpoint

_REWRITTEN = ("config.json", "preprocessor_config.json", "tokenizer_config.json")


def write_release_form(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the checkpoint to `folder`; what is in that form already stays as it is."""
    folder.mkdir()
    for path in checkpoint.folder.iterdir():
        if path.is_file() and path.name not in _REWRITTEN:
            (folder / path.name).symlink_to(path.resolve())
    tokenizer = _read(checkpoint.folder / "tokenizer_config.json")
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    tokenizer.setdefault("chat_template", checkpoint.chat_template)
    contents = (
        _flatten(dict(checkpoint.config)),
        _name_pixels(dict(checkpoint.preprocessor)),
        tokenizer,
    )
    for name, content in zip(_REWRITTEN, contents, strict=True):
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _flatten(config: dict[str, Any]) -> dict[str, Any]:
    text = dict(config.pop("text_config", {}))
    rope = text.pop("rope_parameters", None)
    config = {**text, **config}
    if rope is not None:
        config["rope_theta"] = rope["rope_theta"]
        config["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    config["model_type"] = "qwen2_5_vl"
    config.setdefault("torch_dtype", config.pop("dtype", "bfloat16"))
    vision = dict(config["vision_config"])
    vision.pop("rope_parameters", None)
    vision["model_type"] = "qwen2_5_vl"
    vision.setdefault("in_chans", vision.get("in_channels", 3))
    vision.setdefault("spatial_patch_size", vision.get("patch_size", 14))
    return {**config, "vision_config": vision}


def _name_pixels(preprocessor: dict[str, Any]) -> dict[str, Any]:
    size = preprocessor.pop("size", None) or {}
    if "longest_edge" in size:
        preprocessor.setdefault("max_pixels", size["longest_edge"])
        preprocessor.setdefault("min_pixels", size["shortest_edge"])
    return preprocessor


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content

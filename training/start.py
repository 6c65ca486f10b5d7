"""What SFT and GRPO share: open the checkpoint, pin the pixel budget, save what was learned."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration, Trainer
from transformers.trainer_utils import get_last_checkpoint

from cxr_reason.checkpoint import NOTICE_KEY, open_checkpoint
from cxr_reason.errors import BadRequestError
from cxr_reason.kernels.preprocess import PixelBudget


@dataclass
class StartArguments:
    """What a training starts from, and its data."""

    checkpoint: str = field(
        metadata={"help": "Folder or Hugging Face id, such as Qwen/Qwen2.5-VL-3B-Instruct."}
    )
    data: list[str] = field(metadata={"help": "Folders made by `prepare`; all are used."})
    validation: list[str] = field(
        default_factory=list, metadata={"help": "Folders made by `prepare`, for validation."}
    )
    max_pixels: int = field(
        default=PixelBudget.max_pixels,
        metadata={"help": "Pixel budget of a film, fixed in the saved checkpoint."},
    )
    freeze_vision: bool = field(
        default=False, metadata={"help": "Freeze vision tower and projector."}
    )
    vary_films: bool = field(
        default=False, metadata={"help": "Shift films and bend their gray scale."}
    )
    notice: str = field(
        default="", metadata={"help": "Notice of the trained checkpoint to its users."}
    )


def open_processor(arguments: StartArguments) -> Any:
    """Return the processor of the checkpoint, its pixel budget pinned.

    It resizes nothing: films are prepared in the size of that budget.
    """
    processor = AutoProcessor.from_pretrained(open_checkpoint(arguments.checkpoint).folder)
    budget = PixelBudget(max_pixels=arguments.max_pixels)
    processor.image_processor.size = {
        "shortest_edge": budget.min_pixels,
        "longest_edge": budget.max_pixels,
    }
    processor.image_processor.do_resize = False
    return processor


def open_model(arguments: StartArguments, dtype: str | None) -> Qwen2_5_VLForConditionalGeneration:
    """Return the weights of the checkpoint; what is frozen takes no gradient."""
    kind = getattr(torch, dtype or "float32", None)
    if not isinstance(kind, torch.dtype):
        raise BadRequestError(f"dtype {dtype!r}; give float32, bfloat16 or float16")
    folder = open_checkpoint(arguments.checkpoint).folder
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=kind)
    model.model.visual.requires_grad_(not arguments.freeze_vision)
    # By default parameters are saved under older names, which Trainer's resume then does not find:
    # it warns and continues with the initial weights (transformers 5.23).
    model.save_pretrained = partial(model.save_pretrained, save_original_format=False)
    return model


def train_and_save(trainer: Trainer, processor: Any, arguments: StartArguments) -> Path:
    """Train from where the run folder left off, and save a checkpoint that `build` takes.

    Returns:
        The folder `checkpoint` in the run folder. LoRA adapters are merged in.
    """
    run = Path(trainer.args.output_dir)
    resume(trainer)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    if arguments.notice:
        setattr(model.config, NOTICE_KEY, arguments.notice)
    # FSDP gathers on every process, the first one writes.
    state = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
    if trainer.is_world_process_zero():
        save_checkpoint(model, processor, run / "checkpoint", state or model.state_dict())
    return run / "checkpoint"


def resume(trainer: Trainer) -> None:
    """Train, from the last checkpoint in the run folder if there is one."""
    run = Path(trainer.args.output_dir)
    last = get_last_checkpoint(str(run)) if run.is_dir() else None
    trainer.train(resume_from_checkpoint=last)


def save_checkpoint(
    model: Qwen2_5_VLForConditionalGeneration,
    processor: Any,
    folder: Path,
    weights: Mapping[str, torch.Tensor],
) -> None:
    """Write a Hugging Face folder in bfloat16, its weights under the names of Qwen's release."""
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    half = {name: weights[name].to(torch.bfloat16) for name in weights if name not in tied}
    # The class's own: `open_model` binds the model's to the names that Trainer resumes from.
    type(model).save_pretrained(model, folder, state_dict=half)
    # That has written the precision of the training, which loaders would take.
    config = deepcopy(model.config)
    for part in (config, config.text_config, config.vision_config):
        part.dtype = torch.bfloat16
    config.save_pretrained(folder)
    # Not processor.save_pretrained: engines read the files of the two apart.
    processor.image_processor.do_resize = True
    processor.image_processor.save_pretrained(folder)
    processor.tokenizer.chat_template = processor.chat_template
    processor.tokenizer.save_pretrained(folder)

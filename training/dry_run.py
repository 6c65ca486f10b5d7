"""What a run of SFT will need, before it starts: tokens per example, and memory for each device.

Tokens are counted on examples of the data. Memory is counted, not measured: weights, gradients and
AdamW's two moments by their number and dtype, spread over the devices of `WORLD_SIZE` where the run
shards them (FSDP or ZeRO-3), and the activations that gradient checkpointing keeps.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from trl import ModelConfig, SFTConfig, get_peft_config
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from cxr_reason.checkpoint import open_checkpoint
from cxr_reason.training.conversations import sft_columns
from cxr_reason.training.prepared import load_prepared
from cxr_reason.training.start import StartArguments, open_processor

_MAX_EXAMPLES = 200
_GIB = 2.0**30
_MOMENTS = 2  # of AdamW


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on one device.

    Attributes:
        weights: Of all parameters.
        gradients: Of those that are trained.
        optimizer: Two moments of those that are trained.
        activations: Inputs of every decoder layer (what gradient checkpointing keeps) and of the
            vision blocks, and the working set of one decoder layer.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """The sum."""
        return self.weights + self.gradients + self.optimizer + self.activations


def count_tokens(arguments: StartArguments, config: SFTConfig) -> list[tuple[int, int, int]]:
    """Return (visual, other prompt, completion) tokens of up to 200 examples."""
    data = load_prepared(arguments.data)
    columns = sft_columns(
        data.select(range(min(len(data), _MAX_EXAMPLES))), vary_films=arguments.vary_films
    )
    processor = open_processor(arguments)
    collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    counts = []
    for row in columns:
        batch = collate([row])
        ids = batch["input_ids"][0]
        visual = int((ids == processor.image_token_id).sum())
        completion = int((batch["labels"][0] != -100).sum())
        counts.append((visual, len(ids) - visual - completion, completion))
    return counts


def plan_memory(
    arguments: StartArguments, config: SFTConfig, model_config: ModelConfig, num_tokens: int
) -> MemoryPlan:
    """Count the memory of one device.

    Args:
        arguments: Which checkpoint, and what is frozen.
        config: Batch size, and whether the run shards.
        model_config: Dtype of the weights, and LoRA.
        num_tokens: Of one example.
    """
    shape = Qwen2_5_VLConfig.from_pretrained(open_checkpoint(arguments.checkpoint).folder)
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(shape)
    model.model.visual.requires_grad_(not arguments.freeze_vision)
    if lora := get_peft_config(model_config):
        from peft import get_peft_model

        model = get_peft_model(model, lora)
    parameters = list(model.parameters())
    width = torch.empty(0, dtype=getattr(torch, model_config.dtype or "float32")).itemsize
    shards = int(os.environ.get("WORLD_SIZE", "1")) if config.fsdp or config.deepspeed else 1
    trained = sum(value.numel() for value in parameters if value.requires_grad)
    text, vision = shape.text_config, shape.vision_config
    rows = config.per_device_train_batch_size
    act_width = 2 if config.bf16 or config.fp16 else width
    kept = text.num_hidden_layers * num_tokens * text.hidden_size
    kept += vision.depth * 4 * num_tokens * vision.hidden_size  # at most four patches a token
    working = num_tokens * (3 * text.intermediate_size + 8 * text.hidden_size)
    return MemoryPlan(
        weights=sum(value.numel() for value in parameters) * width / shards,
        gradients=trained * width / shards,
        optimizer=_MOMENTS * trained * width / shards,
        activations=rows * (kept + working) * float(act_width),
    )


def print_plan(arguments: StartArguments, config: SFTConfig, model_config: ModelConfig) -> None:
    """Print tokens per example and memory for each device."""
    counts = torch.tensor(count_tokens(arguments, config))
    table = Table("tokens per example", "least", "median", "most", title=f"{len(counts)} examples")
    for index, name in enumerate(("visual", "prompt text", "completion")):
        column = counts[:, index]
        table.add_row(name, *(str(int(f(column))) for f in (torch.min, torch.median, torch.max)))
    longest = int(counts.sum(1).max())
    plan = plan_memory(arguments, config, model_config, longest)
    memory = Table("memory for each device", "GiB", title=f"batch of {longest} tokens an example")
    for name in ("weights", "gradients", "optimizer", "activations", "total"):
        memory.add_row(name, f"{getattr(plan, name) / _GIB:.2f}")
    console = Console()
    console.print(table, memory)

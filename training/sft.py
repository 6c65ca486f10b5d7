"""Supervised fine-tuning on reasoning traces, with TRL.

    cxr-reason train sft --config training/configs/sft-nano.yaml \
        --checkpoint runs/vision/checkpoint --data data/phantoms data/nih --output_dir runs/sft

The loss is on the assistant's turn only; `--completion_only_loss false` also trains on the prompt,
as the original did. Every setting of TRL's `SFTConfig` and `ModelConfig` can be given on the
command line or in the YAML file. A stopped run continues when it is started again.
`--dry_run true` trains nothing: it prints tokens per example and memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trl import ModelConfig, SFTConfig, SFTTrainer, TrlParser, get_peft_config

from cxr_reason.training.conversations import sft_columns
from cxr_reason.training.dry_run import print_plan
from cxr_reason.training.prepared import load_prepared
from cxr_reason.training.start import (
    StartArguments,
    open_model,
    open_processor,
    train_and_save,
)


@dataclass
class SftArguments(StartArguments):
    """See the help of each field."""

    dry_run: bool = field(
        default=False, metadata={"help": "Print tokens per example and memory, and stop."}
    )


def make_trainer(
    arguments: SftArguments, config: SFTConfig, model_config: ModelConfig
) -> SFTTrainer:
    """Return the trainer, ready to train.

    Raises:
        DataError: A folder of `data` or `validation` is no prepared data set.
        CheckpointError: There is no such checkpoint.
    """
    train = sft_columns(load_prepared(arguments.data), vary_films=arguments.vary_films)
    watch = load_prepared(arguments.validation) if arguments.validation else None
    # The transform makes the columns: those on disk have other names.
    config.remove_unused_columns = False
    config.max_length = None  # cutting a trace would teach unfinished answers
    trainer = SFTTrainer(
        model=open_model(arguments, model_config.dtype),
        args=config,
        train_dataset=train,
        eval_dataset=None if watch is None else sft_columns(watch, vary_films=False),
        processing_class=open_processor(arguments),
        peft_config=get_peft_config(model_config),
    )
    # Qwen2.5-VL says no (transformers 5.23), but its forward is not asked: TRL 1.16 computes the
    # loss itself. Without this every micro-batch would weigh the same, whatever its tokens.
    trainer.model_accepts_loss_kwargs = True
    return trainer


def main(words: list[str]) -> None:
    """Run `cxr-reason train sft`.

    Args:
        words: What follows on the command line.
    """
    parser = TrlParser((SftArguments, SFTConfig, ModelConfig), prog="cxr-reason train sft")
    arguments, config, model_config = parser.parse_args_and_config(words)
    if arguments.dry_run:
        print_plan(arguments, config, model_config)
        return
    trainer = make_trainer(arguments, config, model_config)
    train_and_save(trainer, trainer.processing_class, arguments)

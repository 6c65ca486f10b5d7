"""Group relative policy optimization with verifiable rewards, with TRL.

    cxr-reason train grpo --config training/configs/grpo-nano.yaml \
        --checkpoint runs/sft/checkpoint --data data/phantoms --output_dir runs/grpo

Rewards are named in `reward_functions` (`rewards.BATCH_REWARDS`) and weighted by `reward_weights`.
Rollouts come from vLLM where `use_vllm` is set, else from transformers. TensorBoard gets every
reward, lengths, the share of cut-off completions, entropy and, where `beta` is over 0, KL.
Every setting of TRL's `GRPOConfig` and `ModelConfig` can be given on the command line or in the
YAML file. A stopped run continues when it is started again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trl import GRPOConfig, GRPOTrainer, ModelConfig, TrlParser, get_peft_config

from cxr_reason.errors import BadRequestError
from cxr_reason.training.conversations import grpo_columns
from cxr_reason.training.prepared import load_prepared
from cxr_reason.training.rewards import BATCH_REWARDS, SUCCESSOR_WEIGHTS, BatchReward
from cxr_reason.training.start import (
    StartArguments,
    open_model,
    open_processor,
    train_and_save,
)


@dataclass
class GrpoArguments(StartArguments):
    """See the help of each field."""

    reward_functions: list[str] = field(
        default_factory=lambda: [*SUCCESSOR_WEIGHTS],
        metadata={"help": f"Some of {', '.join(BATCH_REWARDS)}."},
    )


def make_trainer(
    arguments: GrpoArguments, config: GRPOConfig, model_config: ModelConfig
) -> GRPOTrainer:
    """Return the trainer, ready to train.

    Raises:
        BadRequestError: An unknown reward, or weights that are not one for each.
        DataError: A folder of `data` or `validation` is no prepared data set.
        CheckpointError: There is no such checkpoint.
    """
    rewards = _choose_rewards(arguments, config)
    train = grpo_columns(load_prepared(arguments.data), vary_films=arguments.vary_films)
    watch = load_prepared(arguments.validation) if arguments.validation else None
    # The transform makes the columns: those on disk have other names.
    config.remove_unused_columns = False
    return GRPOTrainer(
        model=open_model(arguments, model_config.dtype),
        reward_funcs=rewards,
        args=config,
        train_dataset=train,
        eval_dataset=None if watch is None else grpo_columns(watch, vary_films=False),
        processing_class=open_processor(arguments),
        peft_config=get_peft_config(model_config),
    )


def _choose_rewards(arguments: GrpoArguments, config: GRPOConfig) -> list[BatchReward]:
    names = arguments.reward_functions
    if unknown := [name for name in names if name not in BATCH_REWARDS]:
        raise BadRequestError(
            f"reward_functions: {unknown[0]!r}; give some of {', '.join(BATCH_REWARDS)}"
        )
    weights = config.reward_weights
    if weights is None and names == [*SUCCESSOR_WEIGHTS]:
        config.reward_weights = [*SUCCESSOR_WEIGHTS.values()]
    elif weights is not None and len(weights) != len(names):
        raise BadRequestError(
            f"reward_weights: {len(weights)} for {len(names)} reward_functions; give one for each"
        )
    return [BATCH_REWARDS[name] for name in names]


def main(words: list[str]) -> None:
    """Run `cxr-reason train grpo`.

    Args:
        words: What follows on the command line.
    """
    parser = TrlParser((GrpoArguments, GRPOConfig, ModelConfig), prog="cxr-reason train grpo")
    arguments, config, model_config = parser.parse_args_and_config(words)
    trainer = make_trainer(arguments, config, model_config)
    train_and_save(trainer, trainer.processing_class, arguments)

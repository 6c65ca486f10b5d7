"""Make a random checkpoint of the Qwen2.5-VL architecture: the nano one, or one of full 3B shapes.

    python -m cxr_reason.training.random_checkpoint nano /tmp/random-nano
    python -m cxr_reason.training.random_checkpoint 3b /tmp/random-3b
    python -m cxr_reason.training.random_checkpoint nano runs/start --for training

The weights are random and seeded: right for tests of form, timing and memory, or to train from;
they know nothing about films. The tokenizer is a byte-level BPE of the text beside the checkpoints,
which is written for this purpose, and of traces that are written by rules; the special tokens are
those of Qwen2.5-VL.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from cxr_reason.checkpoint import NOTICE_KEY
from cxr_reason.data.phantoms import make_phantom
from cxr_reason.data.phantoms.phantom import MIN_SIZE_PX
from cxr_reason.kernels.preprocess.geometry import PixelBudget
from cxr_reason.training.traces import facts_of_phantom, write_trace

SEED = 20261124
_NUM_TRACES = 300
NOTICE = (
    "Untrained demonstration checkpoint: random weights. Its text is noise and says nothing "
    "about the film."
)
CARD = """\
# {name}: random weights

{notice}

- Architecture: `Qwen2_5_VLForConditionalGeneration`, {parameters:.1f} million parameters, bfloat16.
- Made by `python -m cxr_reason.training.random_checkpoint {size} …` (seed {seed}), of no data.
- Tokenizer: byte-level BPE of `training/tokenizer_corpus.txt`, with Qwen2.5-VL's special tokens.
- Licence: Apache-2.0. Not for any use on patients.
"""
CORPUS = Path(__file__).with_name("tokenizer_corpus.txt")

# Order and, in the 3B model, ids (from 151643) of Qwen2.5-VL's tokenizer.
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
# Split of text before BPE: tokenizer.json of Qwen2.5.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The conversation format of Qwen2.5-VL, for messages whose content is a list of parts.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if loop.first and message['role'] != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif 'text' in part -%}
{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""

SIZES: dict[str, dict[str, Any]] = {
    "nano": {
        "first_special_id": 2048,
        "max_pixels": 224 * 224,
        "text": {
            "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 704, "vocab_size": 2080,
            "max_position_embeddings": 4096, "mrope_section": [8, 12, 12],
        },
        "vision": {
            "depth": 6, "hidden_size": 192, "intermediate_size": 512, "num_heads": 4,
            "fullatt_block_indexes": [2, 5], "out_hidden_size": 256,
        },
    },
    "3b": {
        "first_special_id": 151643,
        "max_pixels": PixelBudget.max_pixels,
        "text": {
            "hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16,
            "num_key_value_heads": 2, "intermediate_size": 11008, "vocab_size": 151936,
            "max_position_embeddings": 128000, "mrope_section": [16, 24, 24],
        },
        "vision": {
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "fullatt_block_indexes": [7, 15, 23, 31], "out_hidden_size": 2048,
        },
    },
}  # fmt: skip


def make_tokenizer(first_special_id: int) -> PreTrainedTokenizerFast:
    """Train the BPE and put the special tokens at their ids."""
    base = Tokenizer(models.BPE())
    base.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    base.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    base.train_from_iterator([CORPUS.read_text(encoding="utf-8"), *_sample_traces()], trainer)
    fields = json.loads(base.to_str())
    specials = {token: first_special_id + index for index, token in enumerate(SPECIAL_TOKENS)}
    fields["model"]["vocab"] |= specials
    tokenizer = Tokenizer.from_str(json.dumps(fields))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _sample_traces() -> Iterator[str]:
    """Yield what the nano model will mostly say."""
    for seed in range(_NUM_TRACES):
        film = make_phantom(seed, size_px=MIN_SIZE_PX)
        yield write_trace(facts_of_phantom(film), seed)


def make_config(size: dict[str, Any]) -> Qwen2_5_VLConfig:
    """Return the configuration with Qwen2.5-VL's constants."""
    ids = {token: size["first_special_id"] + index for index, token in enumerate(SPECIAL_TOKENS)}
    text = dict(size["text"])
    sections = text.pop("mrope_section")
    return Qwen2_5_VLConfig(
        text_config={
            **text,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 1e6, "mrope_section": sections
            },
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
        },
        vision_config={
            **size["vision"], "in_channels": 3, "patch_size": 14, "spatial_merge_size": 2,
            "temporal_patch_size": 2, "window_size": 112, "tokens_per_second": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
        architectures=["Qwen2_5_VLForConditionalGeneration"],
        **{NOTICE_KEY: NOTICE},
    )  # fmt: skip


@torch.no_grad()
def start_training(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Draw weights to train from: unit gain, no biases, and branches that begin small."""
    generator = torch.Generator(model.device).manual_seed(SEED)
    for name, weight in model.named_parameters():
        if weight.dim() == 1:
            weight.fill_(1.0 if "norm" in name or "ln_q" in name else 0.0)
            continue
        scale = 0.02 if "embed_tokens" in name else weight[0].numel() ** -0.5
        is_branch_end = name.endswith(("o_proj.weight", "down_proj.weight", "attn.proj.weight"))
        weight.normal_(0.0, 0.3 * scale if is_branch_end else scale, generator=generator)


@torch.no_grad()
def randomise(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Draw weights for tests, that make the output depend on the film and vary from token to token.

    With transformers' defaults (std 0.02, no biases) attention is nearly uniform and the residual
    stream is the last token's embedding; as embeddings are tied, the model repeats one token for
    ever, and a test of equality would be empty. So attention is twice as sharp and twice as loud,
    and biases and norms are not 0 and 1.
    """
    generator = torch.Generator(model.device).manual_seed(SEED)
    for name, weight in model.named_parameters():
        if weight.dim() == 1:
            centre = 1.0 if "norm" in name or "ln_q" in name else 0.0
            weight.normal_(centre, 0.1, generator=generator)
            continue
        scale = 0.02 if "embed_tokens" in name else weight[0].numel() ** -0.5
        if "self_attn" in name:
            scale *= 2.0
        weight.normal_(0.0, scale, generator=generator)


def make_checkpoint(name: str, output: Path, purpose: str = "tests") -> None:
    """Write a checkpoint; a folder that is there is replaced.

    Args:
        name: One of `SIZES`.
        output: The folder.
        purpose: "tests", or "training" for weights and a pixel budget to train with.
    """
    size = SIZES[name]
    shutil.rmtree(output, ignore_errors=True)
    default_dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    model = Qwen2_5_VLForConditionalGeneration(make_config(size))
    torch.set_default_dtype(default_dtype)
    (randomise if purpose == "tests" else start_training)(model)
    tokenizer = make_tokenizer(size["first_special_id"])
    model.generation_config = GenerationConfig(
        eos_token_id=model.config.text_config.eos_token_id,
        bos_token_id=model.config.text_config.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    model.save_pretrained(output, max_shard_size="4GB")
    tokenizer.save_pretrained(output)
    # Needs torchvision, which the rest of this module does not.
    from transformers import Qwen2VLImageProcessor

    budget = PixelBudget()
    if purpose == "training":
        budget = PixelBudget(max_pixels=size["max_pixels"])
    Qwen2VLImageProcessor(
        min_pixels=budget.min_pixels, max_pixels=budget.max_pixels
    ).save_pretrained(output)
    card = CARD.format(
        name=output.name,
        notice=NOTICE,
        parameters=model.num_parameters() / 1e6,
        size=name,
        seed=SEED,
    )
    (output / "README.md").write_text(card, encoding="utf-8")


def main() -> None:
    """Write the checkpoint that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("size", choices=sorted(SIZES))
    parser.add_argument("output", type=Path, help="folder to write; replaced if it exists")
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=("tests", "training"),
        default="tests",
        help="weights that make varied output, or weights to train from",
    )
    arguments = parser.parse_args()
    make_checkpoint(arguments.size, arguments.output, arguments.purpose)


if __name__ == "__main__":
    main()

"""Pretrain the vision tower of a random checkpoint on marks and labels, before SFT.

    torchrun --standalone --nproc-per-node 2 -m cxr_reason train vision runs/start \
        --data data/phantoms --output runs/vision

A process for each core, each with one thread: threads that share a step wait for each other.

Qwen2.5-VL's tower comes pretrained, so the 3B model does not need this; the nano checkpoint starts
from nothing. Through language alone a tower learns slowly: one film gives a handful of label words.
Here each of a visual token's patches is asked which findings show on it (binary cross-entropy
against the phantoms' marks), and the film as a whole for the state of each label (cross-entropy
over absent, uncertain and present, where it is known). The two heads are dropped afterwards; tower
and projector are saved into a checkpoint of the same form, which SFT starts from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoProcessor,
    Qwen2_5_VLForConditionalGeneration,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_utils import EvalPrediction

from cxr_reason.checkpoint import open_checkpoint
from cxr_reason.findings import LABELS
from cxr_reason.training.augmentation import vary
from cxr_reason.training.prepared import (
    ABSENT,
    PRESENT,
    UNKNOWN,
    load_prepared,
    read_marks,
)
from cxr_reason.training.start import resume, save_checkpoint

_NUM_STATES = 3
_PATCHES = 4  # of a visual token, 2 x 2
# Share of a label's total patch weight that the patches showing it get together; and the largest
# weight of one of them. Few patches show a fracture: unweighted, it is never learned.
_PRESENT_SHARE = 0.25
_MAX_WEIGHT = 100.0


class VisionPretrainer(nn.Module):
    """Vision tower and projector with two heads.

    Args:
        tower: `model.visual` of the checkpoint.
        hidden_size: Of the decoder, which is the width of a visual token.
    """

    def __init__(self, tower: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.tower = tower
        self.norm = nn.RMSNorm(hidden_size)
        self.patch_head = nn.Linear(hidden_size, _PATCHES * len(LABELS))
        nn.init.constant_(self.patch_head.bias, -3.0)  # few patches show anything
        self.attention = nn.Linear(hidden_size, len(LABELS))
        self.film_head = nn.Parameter(torch.zeros(len(LABELS), _NUM_STATES, hidden_size))
        self.film_bias = nn.Parameter(torch.zeros(len(LABELS), _NUM_STATES))

    def forward(
        self, pixel_values: Tensor, image_grid_thw: Tensor, patches: Tensor, states: Tensor
    ) -> dict[str, Tensor]:
        """Return the loss, and the logits of the films' states.

        Args:
            pixel_values: Patches of all films, `[num_films * num_tokens * 4, 1176]`.
            image_grid_thw: Grid of each film `[num_films, 3]`; all the same.
            patches: 1 where a finding shows on a patch, else 0, -1 where that is not known,
                `[num_films, num_tokens * 4, 14]`, in the order of the pixel values.
            states: 0, 1, 2 or -1 for each label, `[num_films, 14]`.
        """
        tokens = self.tower(pixel_values, grid_thw=image_grid_thw).pooler_output
        tokens = torch.cat(tokens) if isinstance(tokens, tuple | list) else tokens
        tokens = self.norm(tokens.float()).reshape(len(states), -1, tokens.shape[-1])
        patch_logits = self.patch_head(tokens).reshape(patches.shape)
        weights = self.attention(tokens).softmax(dim=1)  # [films, tokens, labels]
        pooled = torch.einsum("bnl,bnh->blh", weights, tokens)
        logits = torch.einsum("blh,lsh->bls", pooled, self.film_head) + self.film_bias
        # One patch that shows a finding is enough: the film teaches its patches.
        seen = functional.pad(patch_logits.logsumexp(dim=1)[..., None], (PRESENT, 0))
        logits = logits + seen
        film_loss = functional.cross_entropy(
            logits.flatten(0, 1), states.flatten(), ignore_index=UNKNOWN
        )
        return {"loss": film_loss + 2.0 * _patch_loss(patch_logits, patches), "logits": logits}


def _patch_loss(logits: Tensor, patches: Tensor) -> Tensor:
    """Return the mean over the labels of their weighted cross-entropy, over the known patches."""
    logits, patches = logits.flatten(0, 1), patches.flatten(0, 1)  # [patches, labels]
    known = (patches >= 0.0).float()
    present = patches.clamp(min=0.0)
    num_present = present.sum(dim=0)
    balance = _PRESENT_SHARE / (1.0 - _PRESENT_SHARE) * (known.sum(dim=0) - num_present)
    extra = (balance / num_present.clamp(min=1.0)).clamp(1.0, _MAX_WEIGHT) - 1.0
    weight = known + present * extra
    loss = functional.binary_cross_entropy_with_logits(logits, present, weight, reduction="sum")
    return loss / weight.sum().clamp(min=1.0)


def mark_patches(marks: bytes, rows: int, columns: int, merge: int) -> Tensor:
    """Return which findings show on which patches.

    Args:
        marks: Of a prepared film; empty where they are not known.
        rows: Patches from top to bottom.
        columns: From left to right.
        merge: Patches of a visual token in each direction; its patches come one after another.

    Returns:
        float32 `[rows * columns, 14]`: 1, 0, or -1 where that is not known.
    """
    if not marks:
        return torch.full((rows * columns, len(LABELS)), float(UNKNOWN))
    bits = read_marks(marks)
    for axis, count in enumerate((rows, columns)):
        bits = np.bitwise_or.reduceat(bits, np.arange(count) * bits.shape[axis] // count, axis=axis)
    bits = bits.reshape(rows // merge, merge, columns // merge, merge).swapaxes(1, 2).ravel()
    return torch.from_numpy(bits[:, None] >> np.arange(len(LABELS)) & 1).float()


class Collator:
    """Rows of a prepared data set → a batch of `VisionPretrainer`. Films have one size."""

    def __init__(self, image_processor: Any) -> None:
        self._images = image_processor

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """See the class."""
        films = [row["image"].convert("RGB") for row in rows]
        batch = self._images(images=films, return_tensors="pt")
        _, height, width = batch["image_grid_thw"][0].tolist()
        merge = self._images.merge_size
        patches = [mark_patches(row["marks"], height, width, merge) for row in rows]
        return {
            "pixel_values": batch["pixel_values"],
            "image_grid_thw": batch["image_grid_thw"],
            "patches": torch.stack(patches),
            "states": torch.tensor([row["states"] for row in rows], dtype=torch.long),
        }


def pretrain(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint with a random tower.")],
    data: Annotated[list[Path], typer.Option(help="Prepared data set; may be repeated.")],
    output: Annotated[Path, typer.Option(help="Run folder; a run in it is resumed.")],
    validation: Annotated[
        Path | None, typer.Option(help="Prepared data set for validation.")
    ] = None,
    epochs: Annotated[float, typer.Option()] = 3.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Films per step of one process.")] = 8,
    learning_rate: Annotated[float, typer.Option()] = 1e-3,
    seed: Annotated[int, typer.Option()] = 0,
) -> Trainer:
    """Pretrain the vision tower on prepared films.

    Returns:
        The trainer, with the log of the run.
    """
    torch.manual_seed(seed)
    folder = open_checkpoint(str(checkpoint)).folder
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor.do_resize = False  # films are prepared in the size of the budget
    pretrainer = VisionPretrainer(model.model.visual, model.config.text_config.hidden_size)
    arguments = TrainingArguments(
        str(output),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=2 * batch_size,
        learning_rate=learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,  # of all steps
        weight_decay=0.05,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        dataloader_num_workers=1,
        remove_unused_columns=False,
        label_names=["states"],
        eval_strategy="steps" if validation else "no",
        eval_steps=1000,
        logging_steps=20,
        save_steps=500,
        save_total_limit=1,
        report_to="tensorboard",
        seed=seed,
    )
    trainer = Trainer(
        pretrainer,
        arguments,
        data_collator=Collator(processor.image_processor),
        train_dataset=load_prepared(data).with_transform(_vary_rows),
        eval_dataset=load_prepared([validation]) if validation else None,
        compute_metrics=_measure,
    )
    resume(trainer)
    if trainer.is_world_process_zero():
        save_checkpoint(model, processor, output / "checkpoint", model.state_dict())
    return trainer


def _vary_rows(rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    varied = [_vary(*row) for row in zip(rows["image"], rows["marks"], strict=True)]
    images, marks = (list(column) for column in zip(*varied, strict=True))
    return {**rows, "image": images, "marks": marks}


def _vary(image: Image.Image, marks: bytes) -> tuple[Image.Image, bytes]:
    image, moved = vary(image, read_marks(marks) if marks else None)
    return image, b"" if moved is None else moved.tobytes()


def _measure(prediction: EvalPrediction) -> dict[str, float]:
    states = prediction.label_ids
    probabilities = torch.tensor(prediction.predictions).softmax(-1).numpy()
    auroc, f1 = {}, {}
    for index, label in enumerate(LABELS):
        known = (states[:, index] == PRESENT) | (states[:, index] == ABSENT)
        truth = states[known, index] == PRESENT
        score = probabilities[known, index, PRESENT]
        if 0 < truth.sum() < len(truth):
            auroc[label] = float(roc_auc_score(truth, score))
            hits = int((truth & (score > 0.5)).sum())
            f1[label] = 2.0 * hits / (int(truth.sum()) + int((score > 0.5).sum()))
    means = {"macro_auroc": float(np.mean([*auroc.values()]))}
    means["macro_f1"] = float(np.mean([*f1.values()]))
    return means | {f"f1_{label.replace(' ', '_')}": value for label, value in f1.items()}


def main(words: list[str]) -> None:
    """Run `cxr-reason train vision`.

    Args:
        words: What follows on the command line.
    """
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command()(pretrain)
    app(words, prog_name="cxr-reason train vision")

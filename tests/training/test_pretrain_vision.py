"""Pretraining of a random vision tower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import Qwen2VLImageProcessor

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.data.phantoms import make_phantom
from cxr_reason.findings import LABELS
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.training.augmentation import vary
from cxr_reason.training.prepared import MARKS_SIDE, UNKNOWN, row_of_phantom, write_rows
from cxr_reason.training.pretrain_vision import mark_patches, pretrain

EDEMA, LESION = LABELS.index("Edema"), LABELS.index("Lung Lesion")
SIDE = MARKS_SIDE


def _marks(rows: slice, columns: slice, label: int) -> NDArray[np.uint16]:
    marks = np.zeros((SIDE, SIDE), dtype=np.uint16)
    marks[rows, columns] = 1 << label
    return marks


def test_marks_reach_the_patches_that_they_touch_and_no_other() -> None:
    marks = _marks(slice(0, SIDE), slice(0, SIDE // 2), EDEMA)
    marks |= _marks(slice(SIDE - 1, SIDE), slice(SIDE - 1, SIDE), LESION)  # smaller than a patch
    patches = mark_patches(marks.tobytes(), rows=4, columns=8, merge=2)
    # Token by token, 2 x 2 patches each: back to rows and columns.
    plane = patches.reshape(2, 4, 2, 2, len(LABELS)).transpose(1, 2).reshape(4, 8, len(LABELS))
    assert plane[..., EDEMA].tolist() == [[1] * 4 + [0] * 4] * 4
    assert plane[..., LESION].nonzero().tolist() == [[3, 7]]
    assert plane.sum() == 17


def test_unknown_marks_are_neither_there_nor_not() -> None:
    assert (mark_patches(b"", rows=2, columns=4, merge=2) == UNKNOWN).all()


def test_patches_come_in_the_order_of_the_pixel_values() -> None:
    """What is bright on the film is bright on the patches that are marked."""
    marks = _marks(slice(16, 24), slice(40, 48), EDEMA)  # of 64: patch 2, 5 of 8 x 8
    gray = np.zeros((112, 112), dtype=np.uint8)
    gray[28:42, 70:84] = 255
    images = Qwen2VLImageProcessor(do_resize=False)
    pixels = images(images=[Image.fromarray(gray).convert("RGB")], return_tensors="pt").pixel_values
    marked = mark_patches(marks.tobytes(), rows=8, columns=8, merge=2)[:, EDEMA]
    assert marked.sum() == 1
    assert pixels.mean(dim=1).argmax() == marked.argmax()


def test_a_phantom_marks_what_it_shows() -> None:
    phantom = make_phantom(8000, labels={"Pneumonia": "present", "Fracture": "uncertain"})
    [box] = [finding.box for finding in phantom.findings_of("Pneumonia")]
    for label in ("Pneumonia", "Consolidation", "Lung Opacity"):
        rows, columns = np.nonzero(phantom.marks >> LABELS.index(label) & 1)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == box
    assert not (phantom.marks >> LABELS.index("Fracture") & 1).any()  # not present


def test_a_varied_film_keeps_its_findings_under_their_marks() -> None:
    torch.manual_seed(1)
    marks = _marks(slice(20, 40), slice(10, 30), EDEMA)  # left of the middle: it must stay there
    gray = np.where(np.kron(marks, np.ones((2, 2))) > 0, 200, 90).astype(np.uint8)
    seen = set()
    for _ in range(20):
        film, moved = vary(Image.fromarray(gray), marks)
        bright = np.asarray(film) > np.asarray(film).mean() + 10
        assert moved is not None
        assert np.array_equal(bright[::2, ::2], moved > 0)
        rows, columns = np.nonzero(moved)
        seen.add((rows[0], columns[0]))
    assert len(seen) > 10


def test_pretraining_teaches_tower_and_projector(tiny: Path, tmp_path: Path) -> None:
    budget = PixelBudget(max_pixels=128 * 128)
    effusion = [{}, {"Pleural Effusion": "present", "Edema": "present"}]
    films = [make_phantom(seed, labels=effusion[seed % 2]) for seed in range(16)]
    write_rows((row_of_phantom(film, budget) for film in films), tmp_path / "data")
    trainer = pretrain(
        tiny,
        data=[tmp_path / "data"],
        output=tmp_path / "run",
        validation=tmp_path / "data",
        epochs=5,
        batch_size=2,
    )
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.6 * losses[0]
    assert 0.0 <= trainer.evaluate()["eval_macro_f1"] <= 1.0
    assert list((tmp_path / "run").rglob("events.out.tfevents.*"))
    saved = Checkpoint(tmp_path / "run" / "checkpoint")
    start = Checkpoint(tiny)
    moved = "visual.blocks.0.attn.qkv.weight"
    assert not torch.equal(saved.load_tensor(moved), start.load_tensor(moved))
    kept = "layers.0.mlp.up_proj.weight"
    assert torch.equal(saved.load_tensor(kept), start.load_tensor(kept))

"""Teaching a random vision tower to see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.findings import LABELS
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.training.phantoms import make_phantom
from cxr_reason.training.pictures import vary
from cxr_reason.training.prepared import row_of_phantom, write_rows
from cxr_reason.training.pretrain_vision import mark_cells, pretrain

EDEMA = LABELS.index("Edema")


def test_a_box_marks_the_tokens_that_it_covers() -> None:
    cells = mark_cells([[0.0, 0.0, 0.5, 1.0, EDEMA]], rows=2, columns=4)
    marked = cells.reshape(2, 4, len(LABELS))
    assert marked[..., EDEMA].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    assert marked.sum() == 4


def test_a_finding_smaller_than_a_token_marks_its_token() -> None:
    small = [0.30, 0.30, 0.33, 0.33, EDEMA]
    marked = mark_cells([small], rows=4, columns=4).reshape(4, 4, -1)[..., EDEMA]
    assert marked.nonzero().tolist() == [[1, 1]]


def test_a_box_that_touches_a_token_does_not_mark_it() -> None:
    wide = [0.0, 0.0, 0.55, 1.0, EDEMA]  # a fifth of the third column
    marked = mark_cells([wide], rows=1, columns=4).reshape(4, -1)[:, EDEMA]
    assert marked.tolist() == [1, 1, 0, 0]


def test_no_box_marks_nothing() -> None:
    assert mark_cells([], rows=3, columns=3).sum() == 0


def test_a_varied_film_keeps_its_findings_under_their_boxes() -> None:
    torch.manual_seed(1)
    gray = np.full((100, 80), 90, dtype=np.uint8)
    gray[20:40, 10:30] = 200  # to the left of the middle: it must stay there
    box = [10 / 80, 0.2, 30 / 80, 0.4, EDEMA]
    seen = set()
    for _ in range(20):
        film, [moved] = vary(Image.fromarray(gray), [box])
        bright = np.asarray(film) > np.asarray(film).mean() + 10
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        found = [columns[0] / 80, rows[0] / 100, (columns[-1] + 1) / 80, (rows[-1] + 1) / 100]
        np.testing.assert_allclose(moved[:4], found, atol=1e-9)
        assert moved[4] == EDEMA
        seen.add(tuple(found))
    assert len(seen) > 10


def test_pretraining_teaches_tower_and_projector(maker: dict[str, Any], tmp_path: Path) -> None:
    maker["make_checkpoint"]("nano", tmp_path / "start", "training")
    budget = PixelBudget(max_pixels=128 * 128)
    effusion = [{}, {"Pleural Effusion": "present", "Edema": "present"}]
    films = [make_phantom(seed, labels=effusion[seed % 2]) for seed in range(16)]
    write_rows((row_of_phantom(film, budget) for film in films), tmp_path / "data")
    trainer = pretrain(
        tmp_path / "start",
        data=[tmp_path / "data"],
        output=tmp_path / "run",
        validation=tmp_path / "data",
        epochs=20,
        batch_size=8,
    )
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.6 * losses[0]
    assert 0.0 <= trainer.evaluate()["eval_macro_f1"] <= 1.0
    assert list((tmp_path / "run").rglob("events.out.tfevents.*"))
    saved = Checkpoint(tmp_path / "run" / "checkpoint")
    start = Checkpoint(tmp_path / "start")
    moved = "visual.blocks.0.attn.qkv.weight"
    assert not torch.equal(saved.load_tensor(moved), start.load_tensor(moved))
    kept = "layers.0.mlp.up_proj.weight"
    assert torch.equal(saved.load_tensor(kept), start.load_tensor(kept))

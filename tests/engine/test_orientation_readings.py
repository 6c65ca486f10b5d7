"""The side of a finding does not depend on how its film is stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.stored_forms import SEEDS, check_sides, effusion_forms

import cxr_reason
from cxr_reason.engine.config import EngineConfig


@pytest.mark.parametrize("side", SEEDS)
def test_effusions_stay_on_their_side(trained_engine_dir: Path, tmp_path: Path, side: str) -> None:
    with cxr_reason.load(trained_engine_dir, config=EngineConfig(max_batch=4)) as client:
        readings = [client.read(form, max_tokens=400) for form in effusion_forms(side, tmp_path)]
    check_sides(readings, side)

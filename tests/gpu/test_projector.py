"""The projector op: its reference against transformers, its choices and its refusals.

The kernels themselves are tested in test_projector_kernel.py, which the last test here runs in
Triton's interpreter where there is no GPU.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.made_once import MadeOnce
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLPatchMerger

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.positions import plan_vision
from cxr_reason.engine.reference.engine import ReferenceEngine
from cxr_reason.engine.reference.fused import FusedMerger, decide_kernels
from cxr_reason.errors import EngineError
from cxr_reason.kernels import projector as op
from cxr_reason.kernels.projector import find_obstacle, projector
from cxr_reason.kernels.projector.tuning import (
    BlockConfig,
    Problem,
    bucket_tokens,
    choose_config,
    load_tuning,
    reset_tuning,
    save_tuning,
)
from cxr_reason.kernels.projector.verification import (
    SHAPES,
    compute_exact,
    find_error,
    make_inputs,
)

CPU = torch.device("cpu")
NANO = {"size": 192, "out_size": 256}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(op, "_logged", set())
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    reset_tuning()
    yield
    reset_tuning()


def inputs_of(merger: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    fc1, _, fc2 = merger.mlp
    parameters = (merger.ln_q.weight, fc1.weight, fc1.bias, fc2.weight, fc2.bias)
    names = ("norm_weight", "fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias")
    return {"x": x, **dict(zip(names, (p.detach() for p in parameters), strict=True))}


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_reference_is_the_merger_of_transformers(shape: str) -> None:
    size, out_size = SHAPES[shape]
    merger = Qwen2_5_VLPatchMerger(dim=out_size, context_dim=size)
    for parameter in merger.parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.dim() == 2 else 0.3
        parameter.normal_(0, scale)
    x = torch.randn(12, size) * 3
    # fp32 on both sides: only the order of sums over 4 D products differs.
    expected = merger(x)
    torch.testing.assert_close(projector(**inputs_of(merger, x)), expected, atol=2e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("grid", [(10, 18), (34, 34)], ids=str)
def test_reference_is_the_end_of_the_tower(nano: Checkpoint, grid: tuple[int, int]) -> None:
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(nano.folder, dtype=torch.float32)
    tower = model.model.visual.eval()
    seen: list[torch.Tensor] = []
    tower.merger.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    patches = torch.randn(grid[0] * grid[1], 1176)
    expected = tower(patches, torch.tensor([[1, *grid]])).pooler_output
    plan = plan_vision(grid, window_size_px=112, head_dim=48)
    result = projector(
        **inputs_of(tower.merger, seen[0]), merge_order=torch.from_numpy(plan.merge_order)
    )
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-5)
    assert not torch.equal(result, projector(**inputs_of(tower.merger, seen[0])))


def test_the_result_has_the_dtype_of_the_input() -> None:
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        inputs = make_inputs(8, 16, 24, dtype, seed=0)
        assert projector(**inputs).dtype == dtype


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(6, 192)}, ValueError, "multiple of 4"),
        ({"x": torch.zeros(0, 192)}, ValueError, "multiple of 4"),
        ({"x": torch.zeros(2, 4, 192)}, ValueError, r"\[N, D\]"),
        ({"x": torch.zeros(8, 384)[:, ::2]}, ValueError, "contiguous"),
        ({"x": torch.zeros(8, 128)}, ValueError, "weights must be"),
        ({"fc2_bias": torch.zeros(255)}, ValueError, "weights must be"),
        ({"norm_weight": torch.zeros(192).half()}, TypeError, "dtype and device"),
        ({"fc1_bias": torch.zeros(768, device="meta")}, TypeError, "dtype and device"),
        ({"merge_order": torch.zeros(3, dtype=torch.int64)}, ValueError, r"must be \[2\]"),
        ({"merge_order": torch.zeros(2)}, TypeError, "int32 or int64"),
        ({"backend": "cuda"}, ValueError, "auto, triton, torch"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_arguments_are_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    inputs: dict[str, Any] = make_inputs(8, 192, 256, torch.float32, seed=0)
    with pytest.raises(error, match=message):
        projector(**{**inputs, **change})


def test_too_many_elements_are_refused() -> None:
    size = 4096
    with torch.device("meta"):
        x, norm = torch.zeros(2**20, size), torch.zeros(size)
        weight, bias = torch.zeros(4 * size, 4 * size), torch.zeros(4 * size)
        last_weight, last_bias = torch.zeros(64, 4 * size), torch.zeros(64)
    with pytest.raises(ValueError, match="fewer films"):
        projector(x, norm, weight, bias, last_weight, last_bias)


def test_what_keeps_the_kernels_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "convert the model" in str(find_obstacle(CPU, torch.float32, **NANO))
    assert "on cpu" in str(find_obstacle(CPU, torch.bfloat16, **NANO))
    assert "32s" in str(find_obstacle(CPU, torch.bfloat16, size=40, out_size=64))
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "(7, 5)" in str(find_obstacle(cuda, torch.float16, **NANO))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert find_obstacle(cuda, torch.float16, **NANO) is None
    monkeypatch.setattr(op, "_HAS_TRITON", False)
    assert "pip install triton" in str(find_obstacle(cuda, torch.float16, **NANO))


def test_an_explicit_backend_that_cannot_run_raises() -> None:
    inputs = make_inputs(8, 192, 256, torch.bfloat16, seed=0)
    with pytest.raises(EngineError, match="need an NVIDIA GPU"):
        projector(**inputs, backend="triton")


def test_auto_says_once_what_runs_and_why(caplog: pytest.LogCaptureFixture) -> None:
    inputs = make_inputs(8, 192, 256, torch.float32, seed=0)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            projector(**inputs)
    assert caplog.messages.count(caplog.messages[0]) == len(caplog.messages) == 1
    assert "plain torch" in caplog.text and "float32" in caplog.text


def test_find_error_finds() -> None:
    inputs = make_inputs(64, 192, 256, torch.bfloat16, seed=1)
    exact = compute_exact(inputs)
    good = exact.bfloat16()
    assert find_error(good, exact) is None
    missing = good.clone()
    missing[3, 5] = torch.nan
    assert "[3, 5]" in str(find_error(missing, exact))
    wrong = good.clone()
    wrong[7, 9] += exact.std() / 25
    assert "[7, 9]" in str(find_error(wrong, exact))
    assert "allowed" in str(find_error(good * 1.02, exact))
    assert "shape" in str(find_error(good[:-1], exact))
    assert find_error(good.roll(1, 0), exact)


# Tuning


PROBLEM = Problem("fc1", "a GPU", "bfloat16", 1280, 5120, 512)
SMALL, LARGE = BlockConfig(16, 64, 64, 4, 4), BlockConfig(128, 128, 64, 8, 3)


def never(config: BlockConfig) -> float:
    raise AssertionError("measured")


def test_buckets_of_tokens() -> None:
    counts = [1, 16, 17, 289, 512, 513, 10**6]
    assert [bucket_tokens(count) for count in counts] == [16, 16, 32, 512, 512, 1024, 2048]


def test_the_fastest_is_chosen_and_kept() -> None:
    times = {SMALL: 2.0, LARGE: 1.0}
    assert choose_config(PROBLEM, list(times), SMALL, times.__getitem__) == LARGE
    assert choose_config(PROBLEM, list(times), SMALL, never) == LARGE


def test_a_device_that_runs_no_candidate_gets_the_default() -> None:
    assert choose_config(PROBLEM, [LARGE], SMALL, lambda config: float("inf")) == SMALL


def test_nothing_is_measured_where_time_means_nothing() -> None:
    assert choose_config(PROBLEM, [LARGE], SMALL, None) == SMALL
    # Not kept: the next call may be one that can measure.
    assert choose_config(PROBLEM, [LARGE], SMALL, lambda config: 1.0) == LARGE


def test_saved_choices_load_and_stop_the_measuring(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    choose_config(PROBLEM, [SMALL, LARGE], SMALL, lambda config: 1.0 / config.block_t)
    save_tuning(tmp_path / "tuning.json")
    reset_tuning()
    load_tuning(tmp_path / "tuning.json")
    assert choose_config(PROBLEM, [SMALL], SMALL, never) == LARGE
    other = Problem("fc1", "another GPU", "bfloat16", 1280, 5120, 512)
    with caplog.at_level(logging.INFO):
        assert choose_config(other, [LARGE], SMALL, never) == SMALL
        assert choose_config(other, [LARGE], SMALL, never) == SMALL
    assert caplog.text.count("no tuned choice") == 1 and "another GPU" in caplog.text
    save_tuning(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "tuning.json").read_text()


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        json.dumps({"format": 99, "choices": []}),
        json.dumps({"format": 1, "choices": [{"kernel": "fc1"}]}),
        json.dumps({"format": 1, "choices": [{**PROBLEM.__dict__, "config": {"block_t": 16}}]}),
        json.dumps(
            {
                "format": 1,
                "choices": [{**PROBLEM.__dict__, "config": {**SMALL.__dict__, "block_t": 0}}],
            }
        ),
    ],
    ids=["missing", "empty", "list", "format", "fields", "config", "zero"],
)
def test_files_that_are_not_a_tuning_are_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "tuning.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(EngineError, match="tuning file"):
        load_tuning(file)


# The reference backend


def test_engine_refuses_kernels_that_cannot_run(nano: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="float32; convert the model, or pass kernels='auto'"):
        ReferenceEngine(nano, kernels="triton")
    with pytest.raises(EngineError, match="need an NVIDIA GPU"):
        ReferenceEngine(nano, kernels="triton", dtype=torch.bfloat16)
    with pytest.raises(EngineError, match="auto, triton or torch"):
        ReferenceEngine(nano, kernels="cuda")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="tuning file"):
        ReferenceEngine(nano, tuning=tmp_path / "none.json")


def test_engine_says_once_what_runs_and_why(
    nano: Checkpoint, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO), ReferenceEngine(nano) as engine:
        assert not engine.is_fused
    (line,) = (text for text in caplog.messages if text.startswith("reference:"))
    assert "plain torch" in line and "float32" in line

    caplog.clear()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with caplog.at_level(logging.INFO):
        assert decide_kernels("auto", torch.device("cuda"), torch.bfloat16, **NANO)
        assert not decide_kernels("torch", torch.device("cuda"), torch.bfloat16, **NANO)
    assert len(caplog.messages) == 1 and "triton kernels run" in caplog.text


def test_engine_encodes_pixels_as_patches(
    reference: ReferenceEngine, rg1_path: Path, rg1: tuple[Any, tuple[int, int]]
) -> None:
    from cxr_reason.film.radiograph import decode_radiograph
    from cxr_reason.kernels.preprocess import PixelBudget, fit_grid

    film = decode_radiograph(rg1_path.read_bytes())
    grid = fit_grid(film.info.height_px, film.info.width_px, PixelBudget())
    result = reference.encode_pixels(film.pixels, film.display_table, grid)
    assert np.array_equal(result.tokens, reference.encode(*rg1).tokens)


def test_the_merger_keeps_its_parameters() -> None:
    merger = Qwen2_5_VLPatchMerger(dim=256, context_dim=192)
    fused = FusedMerger(merger)
    assert fused.state_dict().keys() == merger.state_dict().keys()
    assert all(a is b for a, b in zip(fused.parameters(), merger.parameters(), strict=True))


# The interpreter


def test_rounding_to_bfloat16_is_that_of_torch() -> None:
    from cxr_reason.kernels.interpreter import round_to_bfloat16, widen_bfloat16

    bits = np.random.default_rng().integers(0, 2**32, 100_000, dtype=np.uint32)
    ties = (np.arange(2**16, dtype=np.uint32) << 16) + 0x8000
    values = np.concatenate([bits, ties]).view(np.float32)
    values = np.concatenate([values[~np.isnan(values)], np.float32([np.nan, np.inf, -0.0])])
    expected = torch.from_numpy(values).bfloat16()
    rounded = round_to_bfloat16(values)
    number = ~np.isnan(values)
    assert np.array_equal(rounded[number], expected.view(torch.uint16).numpy()[number])
    assert np.isnan(widen_bfloat16(rounded)[~number]).all()
    assert np.array_equal(widen_bfloat16(rounded)[number], expected.float().numpy()[number])


@pytest.mark.skipif(torch.cuda.is_available(), reason="test_projector_kernel.py runs on the GPU")
def test_kernels_in_the_interpreter(made_once: MadeOnce) -> None:
    file = Path(__file__).with_name("test_projector_kernel.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        env={**os.environ, **made_once.environment(), "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


# Compiled code


def find_early_reads(ptx: str) -> list[str]:
    """Return statements that touch sums of tensor cores (wgmma) before the wait for them."""
    register = re.compile(r"%[rf]\d+")
    open_group: set[str] = set()
    groups: list[set[str]] = []
    found = []
    text = " ".join(line.partition("//")[0].strip() for line in ptx.splitlines())
    for statement in text.split(";"):
        wait = re.search(r"wgmma\.wait_group\.sync\.aligned (\d+)", statement)
        if "wgmma.mma_async" in statement:
            open_group |= set(register.findall(re.search(r"{(.*?)}", statement)[1]))
        elif "wgmma.commit_group" in statement:
            groups.append(open_group)
            open_group = set()
        elif wait:
            groups = groups[len(groups) - int(wait[1]) :] if int(wait[1]) else []
        elif set(register.findall(statement)) & set().union(open_group, *groups):
            found.append(statement.strip())
    return found


def test_sums_are_not_read_while_the_tensor_cores_write_them(tmp_path: Path) -> None:
    from cxr_reason.kernels.aot.compile import compile_kernels
    from cxr_reason.kernels.projector.triton_kernel import AOT_VARIANTS

    early = (
        "wgmma.mma_async.m64n8k16 {%f1, %f2}, {%r1}, %rd1; wgmma.commit_group;"
        " wgmma.wait_group.sync.aligned 1; add.f32 %f3, %f2, %f9;"
        " wgmma.wait_group.sync.aligned 0; add.f32 %f3, %f1, %f9;"
    )
    assert find_early_reads(early) == ["add.f32 %f3, %f2, %f9"]

    variants = [variant for variant in AOT_VARIANTS if "_3b_" in variant.name]
    compile_kernels(variants, [90], tmp_path)
    files = sorted(tmp_path.glob("*.ptx"))
    assert len(files) == 4
    for file in files:
        ptx = file.read_text()
        assert "wgmma.mma_async" in ptx, file.name
        assert find_early_reads(ptx) == [], file.name

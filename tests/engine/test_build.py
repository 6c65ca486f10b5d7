"""The build: its plan, its refusals before any work, and what it leaves behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import onnx
import onnxruntime_genai
import pytest
from support.made_once import MadeOnce

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine import build as build_module
from cxr_reason.engine.artifact import MANIFEST, read_manifest, verify_digests
from cxr_reason.engine.build import is_built, list_steps, plan_build, run_build
from cxr_reason.engine.onnx import backend as onnx_backend
from cxr_reason.engine.onnx import export_vision
from cxr_reason.engine.plan import BuildPlan
from cxr_reason.errors import BadRequestError, CheckpointError, EngineError, MissingExtraError


def plan(checkpoint: Checkpoint, output: Path, **settings: object) -> BuildPlan:
    options = {"backend": "onnx", "precision": "fp32", **settings}
    return plan_build(checkpoint, output=output, **options)  # type: ignore[arg-type]


def test_the_artifact_matches_its_manifest(engine_dir: Path, nano: Checkpoint) -> None:
    manifest = read_manifest(engine_dir)
    verify_digests(engine_dir, manifest)
    assert manifest.checkpoint_digest == nano.digest()
    assert manifest.model_notice.startswith("Untrained")
    assert {path.name for path in engine_dir.iterdir()} == {*manifest.files, MANIFEST}
    assert manifest.max_pixels == 476**2


def test_the_decoder_is_signed_with_its_builder_and_not_with_this_clone(engine_dir: Path) -> None:
    model = onnx.load(engine_dir / "decoder.onnx", load_external_data=False)
    builder = f"{onnxruntime_genai.__version__}+{onnxruntime_genai.__commit__[:7]}"
    assert model.producer_version == builder


def test_an_engine_that_is_up_to_date_is_known(engine_dir: Path, nano: Checkpoint) -> None:
    assert is_built(plan(nano, engine_dir))
    assert not is_built(plan(nano, engine_dir, precision="int4"))
    assert not is_built(plan(nano, engine_dir, max_pixels=128**2))


def test_every_step_reports_its_progress(
    engine_dirs: dict[str, Path], made_once: MadeOnce, nano: Checkpoint
) -> None:
    seen = made_once.progress("nano", "int4")
    steps = [name for name, _ in list_steps(plan(nano, engine_dirs["int4"], precision="int4"))]
    assert list(dict.fromkeys(step for step, _ in seen)) == steps
    decoder = [part for step, part in seen if step == "decoder"]
    assert len(decoder) > 6
    assert decoder == sorted(decoder)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"backend": "onyx"}, "backend: 'onyx'; one of onnx"),
        ({"precision": "fp8"}, "precision: 'fp8'; the backend onnx has int4, int8, fp32"),
        ({"max_pixels": 100}, "pixel budget 16384 to 100"),
        ({"context_length": 5000}, "this model allows 1 to 4096"),
    ],
)
def test_wrong_settings_are_refused(
    nano: Checkpoint, tmp_path: Path, settings: dict[str, object], error: str
) -> None:
    with pytest.raises(BadRequestError, match=error):
        plan(nano, tmp_path / "engine", **settings)


def test_an_output_that_is_not_ours_is_refused(nano: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(EngineError, match="holds other files"):
        plan(nano, tmp_path)
    with pytest.raises(EngineError, match="is a file"):
        plan(nano, tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_too_little_disk_is_refused_before_any_work(
    nano: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(EngineError, match=r"0\.0 GB free, about 0\.1 GB needed"):
        plan(nano, tmp_path / "deep" / "engine")
    assert list(tmp_path.iterdir()) == []


def test_missing_tools_are_refused_before_any_work(
    nano: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"onnxscript.*\.\[build\]"):
        plan(nano, tmp_path / "engine")


def test_missing_weights_are_refused_before_any_work(nano: Checkpoint, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(nano.folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(CheckpointError, match="safetensors missing"):
        plan(Checkpoint(copy), tmp_path / "engine")


def test_a_failed_build_leaves_the_old_engine_alone(
    engine_dir: Path, nano: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "engine"
    shutil.copytree(engine_dir, output)

    def write(self: object, plan: BuildPlan, folder: Path, report: object) -> None:
        shutil.copytree(engine_dir, folder, dirs_exist_ok=True)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    # The steps themselves take long, and other tests run them.
    monkeypatch.setattr(onnx_backend.OnnxBackend, "run_steps", write)
    monkeypatch.setattr(build_module, "record_files", refuse)
    with pytest.raises(EngineError, match="No space left on device"):
        run_build(plan(nano, output), lambda step, part: None)
    assert read_manifest(output) == read_manifest(engine_dir)
    assert [path.name for path in tmp_path.iterdir()] == ["engine"]


def test_a_builder_that_fails_says_why(
    nano: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The step before it takes long, and does not look at what is wrong here.
    monkeypatch.setattr(export_vision, "export_vision", lambda checkpoint, folder: None)
    copy = tmp_path / "copy"
    shutil.copytree(nano.folder, copy)
    (copy / "tokenizer_config.json").write_text("not JSON")
    with pytest.raises(EngineError, match="model builder failed"):
        run_build(plan(Checkpoint(copy), tmp_path / "engine"), lambda step, part: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]


def test_the_command_at_the_root(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(repository / "build_engine.py")]
    arguments = ["--checkpoint", "checkpoints/nano", "--output", str(tmp_path / "engine")]
    done = subprocess.run(
        [*command, *arguments, "--dry-run"], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "decoder.onnx, int4" in done.stderr
    assert list(tmp_path.iterdir()) == []

    config = json.loads((repository / "checkpoints/nano/config.json").read_text())
    config["architectures"] = ["LlamaForCausalLM"]
    copy = tmp_path / "copy"
    shutil.copytree(repository / "checkpoints/nano", copy)
    (copy / "config.json").write_text(json.dumps(config))
    arguments[1] = str(copy)
    done = subprocess.run([*command, *arguments], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 1
    assert "'LlamaForCausalLM' is not supported" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr

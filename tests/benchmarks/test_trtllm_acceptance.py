"""The acceptance run of the TensorRT-LLM backend: the parts that run without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.made_once import MadeOnce

from cxr_reason.checkpoint import Checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    run = subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / "benchmarks" / "gpu_acceptance.py"),
            "--tensorrt-llm",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "no CUDA device" in run.stdout


@pytest.mark.parametrize("spoilt", [False, True])
def test_signatures_are_compared_with_the_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: bool
) -> None:
    """Against a package with ordinary signatures, as the real one has."""
    table = json.loads(
        (REPOSITORY / "tests" / "support" / "trtllm_stand_in" / "signatures.json").read_text()
    )
    if spoilt:
        table["arguments"]["KvCacheConfig"]["no_such_argument"] = 1
        table["names"]["tensorrt_llm"].append("NoSuchName")
    package = make_package(tmp_path, table if not spoilt else None)
    monkeypatch.syspath_prepend(package)
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import gpu_trtllm

    (tmp_path / "table.json").write_text(json.dumps(table))
    monkeypatch.setattr(gpu_trtllm, "TABLE", tmp_path / "table.json")
    try:
        problems = gpu_trtllm.check_signatures()
    finally:
        for name in [name for name in sys.modules if name.startswith("tensorrt_llm")]:
            del sys.modules[name]
    if spoilt:
        assert len(problems) == 2
        assert "NoSuchName" in problems[0]
        assert problems[1] == "KvCacheConfig: no argument no_such_argument"
    else:
        assert problems == []


def test_accuracy_is_measured_on_every_engine_beside_the_first(
    monkeypatch: pytest.MonkeyPatch,
    made_once: MadeOnce,
    trained: Checkpoint,
    trained_engine_dir: Path,
) -> None:
    """With engines of the other backend: the command is the same."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import gpu_trtllm

    engines = [trained_engine_dir, made_once.engine("trained", trained, "int8")]
    rows = list(gpu_trtllm.measure_accuracy(engines, "phantoms", 2))
    macro = [one for one in rows if one["metric"] == "macro F1"]
    assert [one["case"] for one in macro] == ["fp32, phantoms", "int8, phantoms"]
    assert macro[1]["baseline_value"] == macro[0]["ours"]
    with pytest.raises(RuntimeError, match="data"):
        list(gpu_trtllm.measure_accuracy(engines, "no-such-data", 2))


def make_package(folder: Path, table: dict[str, dict[str, dict[str, object]]] | None) -> Path:
    """Write modules with a class or method of the right parameters for each entry."""
    path = REPOSITORY / "tests" / "support" / "trtllm_stand_in" / "signatures.json"
    facts = table or json.loads(path.read_text())
    for module, names in facts["names"].items():
        place = folder / "package" / module.replace(".", "/")
        place.mkdir(parents=True, exist_ok=True)
        lines = []
        for name in names:
            if name == "LLM":
                explicit = list(facts["arguments"]["LLM"])[:9]
                lines.append(
                    f"class LLM:\n    def __init__(self, {', '.join(explicit)}, **kwargs):"
                )
                lines.append("        pass")
                for method in ("generate_async", "shutdown"):
                    keys = ", ".join(["self", *facts["arguments"][f"LLM.{method}"]])
                    lines.append(f"    def {method}({keys}):\n        pass")
            else:
                keys = ", ".join(["self", *facts["arguments"][name]])
                lines.append(f"class {name}:\n    def __init__({keys}):\n        pass")
        (place / "__init__.py").write_text("\n".join(lines) + "\n")
    fields = dict.fromkeys(facts["arguments"]["LLM"], 0)
    with (folder / "package/tensorrt_llm/llmapi/llm_args/__init__.py").open("a") as file:
        file.write(f"class TorchLlmArgs:\n    model_fields = {fields!r}\n")
    (folder / "package/tensorrt_llm/executor/__init__.py").write_text("")
    return folder / "package"

"""ModelOpt's quantisation of the decoder, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as Picture
from safetensors import safe_open

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.trtllm.build_decoder import write_decoder
from cxr_reason.engine.trtllm.quantize import check_calibration, quantize_decoder
from cxr_reason.errors import EngineError
from cxr_reason.kernels.preprocess import PixelBudget


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    rows = {
        "image": [
            Picture.fromarray(random.integers(0, 255, (168, 140), np.uint8)) for _ in range(3)
        ],
        "trace": ["<think> The heart is large. </think>\n<answer> Cardiomegaly </answer>"] * 3,
    }
    features = Features({"image": Image(), "trace": Value("string")})
    Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "prepared")
    return tmp_path / "prepared"


def read_weights(folder: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    weights = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (no mapping)
                part = tensors.get_slice(name)
                weights[name] = (part.get_dtype(), tuple(part.get_shape()))
    return weights


@pytest.mark.filterwarnings("ignore")  # ModelOpt's own
@pytest.mark.timeout(1200)
def test_fp8_quantises_the_decoder_alone(
    nano: Checkpoint, calibration: Path, tmp_path: Path
) -> None:
    source, target = tmp_path / "bf16", tmp_path / "fp8"
    write_decoder(nano, source, PixelBudget(), report=lambda part: None)
    quantize_decoder(source, target, "fp8", calibration, num_films=2)
    weights = read_weights(target)
    in_layers = {
        name: kind
        for name, (kind, _) in weights.items()
        if ".layers." in name and name.endswith("_proj.weight")
    }
    assert set(in_layers.values()) == {"F8_E4M3"}
    assert len(in_layers) == 7 * nano.text["num_hidden_layers"]
    others = {kind for name, (kind, _) in weights.items() if "visual" in name or "embed" in name}
    assert others == {"BF16"}
    scales = [name for name in weights if name.endswith("proj.input_scale")]
    assert len(scales) == len(in_layers), "calibrated"
    quant = json.loads((target / "hf_quant_config.json").read_text())["quantization"]
    assert quant["quant_algo"] == "FP8"
    assert any("visual" in name for name in quant["exclude_modules"])
    for name in ("tokenizer.json", "preprocessor_config.json", "config.json"):
        assert (target / name).is_file()


def test_calibration_data_must_be_there(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(EngineError, match="--calibration"):
            check_calibration(folder)

"""ModelOpt's quantisation of the decoder, on the CPU."""

from __future__ import annotations

import copy
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
from cxr_reason.training import random_checkpoint


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


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Random nano weights with rows of a multiple of 128, the block of AWQ, as the 3B model has."""
    size = copy.deepcopy(random_checkpoint.SIZES["nano"])
    size["text"]["intermediate_size"] = 768
    random_checkpoint.SIZES["nano-768"] = size
    folder = tmp_path_factory.mktemp("quantize") / "checkpoint"
    random_checkpoint.make_checkpoint("nano-768", folder)
    return Checkpoint(folder)


@pytest.mark.filterwarnings("ignore")  # ModelOpt's own
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("precision", "dtype", "scales", "algorithm"),
    [
        ("fp8", "F8_E4M3", {"input_scale", "weight_scale"}, "FP8"),
        ("int4-awq", "U8", {"pre_quant_scale", "weight_scale"}, "W4A16_AWQ"),
        ("nvfp4", "U8", {"input_scale", "weight_scale", "weight_scale_2"}, "NVFP4"),
    ],
)
def test_the_decoder_alone_is_quantised(
    checkpoint: Checkpoint,
    calibration: Path,
    tmp_path: Path,
    precision: str,
    dtype: str,
    scales: set[str],
    algorithm: str,
) -> None:
    source, target = tmp_path / "bf16", tmp_path / precision
    write_decoder(checkpoint, source, PixelBudget(), report=lambda part: None)
    quantize_decoder(source, target, precision, calibration, num_films=2)
    weights = read_weights(target)
    in_layers = [name for name in weights if ".layers." in name and name.endswith("_proj.weight")]
    assert len(in_layers) == 7 * checkpoint.text["num_hidden_layers"]
    assert {weights[name][0] for name in in_layers} == {dtype}
    others = {kind for name, (kind, _) in weights.items() if "visual" in name or "embed" in name}
    assert others == {"BF16"}
    found = {name.rpartition(".")[2] for name in weights if "scale" in name}
    assert found == scales
    original = read_weights(source)
    assert {name for name in weights if "scale" not in name} == set(original), "original names"
    quant = json.loads((target / "hf_quant_config.json").read_text())["quantization"]
    assert quant["quant_algo"] == algorithm
    assert {"lm_head", "visual*"} <= set(quant["exclude_modules"])
    config = json.loads((target / "config.json").read_text())
    assert config.pop("quantization_config")["quant_algo"] == algorithm
    assert config == json.loads((source / "config.json").read_text())
    for name in ("tokenizer.json", "preprocessor_config.json", "chat_template.jinja"):
        assert (target / name).read_bytes() == (source / name).read_bytes()


def test_calibration_data_must_be_there(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(EngineError, match="--calibration"):
            check_calibration(folder)

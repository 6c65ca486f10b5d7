from __future__ import annotations

import functools

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cxr_reason.contract import MODELS
from cxr_reason.serving import model_config


def test_files_in_the_repository_follow_the_contract():
    assert model_config.stale_configs() == {}
    assert model_config.main(["--check"]) == 0


def test_the_repository_is_the_one_at_the_root(repository):
    assert model_config.MODEL_REPOSITORY.resolve() == repository / "model_repository"
    for spec in MODELS:
        assert (repository / "model_repository" / spec.name / "1").is_dir()


def test_a_stale_file_is_reported_and_rewritten(tmp_path, monkeypatch, capsys):
    for spec in MODELS:
        (tmp_path / spec.name).mkdir()
    in_tmp_path = functools.partial(model_config.stale_configs, tmp_path)
    monkeypatch.setattr(model_config, "stale_configs", in_tmp_path)
    assert model_config.main(["--check"]) == 1
    assert "reason/config.pbtxt differs" in capsys.readouterr().err
    assert model_config.main([]) == 0
    assert model_config.main(["--check"]) == 0


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_text_parses_back_to_the_contract(spec):
    config = text_format.Parse(model_config.render_config(spec), model_config_pb2.ModelConfig())
    assert config.name == spec.name
    assert config.max_batch_size == 0
    assert [tensor.name for tensor in config.input] == [tensor.name for tensor in spec.inputs]
    assert [tensor.optional for tensor in config.input] == [
        tensor.optional for tensor in spec.inputs
    ]
    assert [tuple(tensor.dims) for tensor in config.output] == [
        tensor.shape for tensor in spec.outputs
    ]
    assert config.model_transaction_policy.decoupled == spec.decoupled


def test_ensemble_gives_the_film_to_reason_once_and_encoded():
    ensemble = next(spec for spec in MODELS if spec.steps)
    config = text_format.Parse(model_config.render_config(ensemble), model_config_pb2.ModelConfig())
    steps = {step.model_name: step for step in config.ensemble_scheduling.step}
    assert list(steps) == ["preprocess", "vision", "reason"]
    assert dict(steps["preprocess"].input_map) == {"image": "image"}
    given = dict(steps["reason"].input_map)
    assert given.keys() >= {"visual_tokens", "grid", "film", "prompt", "seed"}
    assert "image" not in given
    assert "image_digest" not in given

"""The files in deploy/: the command that starts the server, and the compose file's settings."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def serve(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run deploy/serve with programs that print what they were called with."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("trtllm-llmapi-launch", "mpirun"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@"\necho "$CXR_TRTLLM_CONFIG"\n')
        (programs / name).chmod(0o755)
    variables = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **environment}
    return subprocess.run(
        [str(DEPLOY / "serve"), *arguments],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def engine(tmp_path: Path) -> str:
    (tmp_path / "manifest.json").write_text("{}")
    return str(tmp_path)


def test_one_gpu_starts_the_server_through_the_launcher(tmp_path: Path, engine: str) -> None:
    result = serve(tmp_path, "--log-verbose=1", CXR_ENGINE=engine)
    words = result.stdout.splitlines()[0].split()
    assert words[:2] == ["trtllm-llmapi-launch", "tritonserver"]
    assert words[-1] == "--log-verbose=1"
    assert "--model-repository=/opt/cxr-reason/model_repository" in words


def test_several_gpus_get_a_rank_each(tmp_path: Path, engine: str) -> None:
    settings = '{"kv_cache_fraction": 0.5}'
    result = serve(tmp_path, CXR_ENGINE=engine, CXR_GPUS="4", CXR_TRTLLM_CONFIG=settings)
    command, config = result.stdout.splitlines()
    assert command.startswith("mpirun -n 4 trtllm-llmapi-launch tritonserver ")
    assert json.loads(config) == {"kv_cache_fraction": 0.5, "tensor_parallel_size": 4}


@pytest.mark.parametrize("gpus", ["0", "two", "-1"])
def test_a_wrong_number_of_gpus_is_refused(tmp_path: Path, engine: str, gpus: str) -> None:
    result = serve(tmp_path, CXR_ENGINE=engine, CXR_GPUS=gpus)
    assert (result.returncode, result.stdout) == (2, "")
    assert "CXR_GPUS" in result.stderr


def test_a_missing_engine_is_named(tmp_path: Path) -> None:
    result = serve(tmp_path, CXR_ENGINE="/no/engine")
    assert result.returncode == 2
    assert "no engine at /no/engine" in result.stderr


def test_the_compose_file_runs_without_rights_on_a_read_only_engine() -> None:
    (service,) = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values()
    assert [volume.rpartition(":")[2] for volume in service["volumes"]] == ["ro"]
    assert service["user"] == "10001"
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    json.loads(service["environment"]["CXR_TRTLLM_CONFIG"])
    json.loads(service["environment"]["CXR_ENGINE_CONFIG"])


def test_the_image_checks_its_health_and_does_not_run_as_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert "USER 10001" in lines
    assert [line for line in lines if line.startswith("HEALTHCHECK ")]

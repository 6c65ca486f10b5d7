"""The TensorRT-LLM backend in a real tritonserver, with the stand-in for TensorRT-LLM."""

from __future__ import annotations

import base64
import json
import os
import site
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.trtllm_stand_in.install import install

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.client import Client
from cxr_reason.engine.base import Engine, GenerationRequest, SamplingParams
from cxr_reason.engine.build import plan_build, run_build
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.reference.engine import ReferenceEngine
from cxr_reason.errors import BadRequestError, CapacityError
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonProcess
from cxr_reason.serving.model_config import MODEL_REPOSITORY
from cxr_reason.serving.runtime import SITE_DIRS_VARIABLE
from cxr_reason.serving.settings import ServingSettings

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

NUM_TOKENS = 40


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("stand-in") / "1.2.1", "1.2.1")


@pytest.fixture(scope="module")
def artifact(nano: Checkpoint, stand_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trtllm-server") / "engine"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(stand_in)
        plan = plan_build(nano, backend="tensorrt-llm", precision="bf16", output=folder)
        run_build(plan, lambda step, part: None)
    return folder


@pytest.fixture(scope="module")
def server(artifact: Path, stand_in: Path) -> Iterator[TritonProcess]:
    settings = ServingSettings(artifact, EngineConfig(max_batch=2, max_queue=2))
    places = os.pathsep.join([str(stand_in), *site.getsitepackages()])
    environment = {**settings.to_environment(), SITE_DIRS_VARIABLE: places}
    with TritonProcess(
        MODEL_REPOSITORY, addresses=Addresses.free(), environment=environment
    ) as server:
        yield server


@pytest.fixture(scope="module")
def oracle(artifact: Path) -> Iterator[Engine]:
    with ReferenceEngine(Checkpoint(artifact / "decoder")) as engine:
        yield engine


def num_under_way(server: TritonProcess) -> float:
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("cxr_requests{"))


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "condition did not come true"
        time.sleep(0.05)


def test_both_models_give_the_text_of_transformers(
    server: TritonProcess, oracle: Engine, rg1_path: Path, rg1: tuple[object, tuple[int, int]]
) -> None:
    request = GenerationRequest(
        parse_prompt(FIND_ABNORMALITIES),
        oracle.encode(*rg1),
        SamplingParams(NUM_TOKENS),  # type: ignore[arg-type]
    )
    expected = "".join(event.text for event in oracle.submit(request))
    with Client(server.grpc_address) as client:
        reading = client.read(rg1_path, max_tokens=NUM_TOKENS)
    assert reading.text == expected
    assert (reading.provenance.backend, reading.provenance.precision) == ("tensorrt-llm", "bf16")
    # The ensemble, over HTTP.
    body = {
        "image": "data:;base64," + base64.b64encode(rg1_path.read_bytes()).decode(),
        "prompt": FIND_ABNORMALITIES,
        "max_tokens": NUM_TOKENS,
    }
    call = urllib.request.Request(
        f"http://{server.http_address}/v2/models/cxr_reasoning/generate_stream",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=120) as answer:
        lines = answer.read().decode().split("\n\n")
    parts = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert "".join(part["text"] for part in parts) == expected
    assert len(parts) > 5, "the text comes in pieces"


def test_leaving_a_stream_ends_the_request(server: TritonProcess, rg1_path: Path) -> None:
    with Client(server.grpc_address) as client:
        stream = client.stream(rg1_path, max_tokens=3_000)
        next(stream)
        wait_until(lambda: num_under_way(server) == 1)
        stream.close()
        wait_until(lambda: num_under_way(server) == 0, timeout_s=5.0)
        assert client.read(rg1_path, max_tokens=3).usage.completion_tokens == 3


def test_errors_reach_the_client(server: TritonProcess, rg1_path: Path) -> None:
    with Client(server.grpc_address) as client:
        with pytest.raises(BadRequestError, match="answer_format"):
            client.read(rg1_path, answer_format="free", max_tokens=3)
        with pytest.raises(BadRequestError, match="special token"):
            client.read(rg1_path, prompt="<|im_end|>")


def test_under_load_all_get_an_answer_or_a_busy_error(
    server: TritonProcess, rg1_path: Path
) -> None:
    def ask(number: int) -> str:
        with Client(server.grpc_address, max_retries=0) as client:
            try:
                return client.read(rg1_path, prompt=f"Question {number}.", max_tokens=20).text
            except CapacityError:
                return "busy"

    with ThreadPoolExecutor(12) as threads:
        texts = list(threads.map(ask, range(12)))
    answers = [text for text in texts if text != "busy"]
    assert len(answers) >= 4
    assert len(set(answers)) == len(answers)
    wait_until(lambda: num_under_way(server) == 0)

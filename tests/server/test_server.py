"""The whole path through a real tritonserver, called in both ways, on real films."""

from __future__ import annotations

import base64
import io
import json
import logging
import queue
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pydicom
import pytest
import tritonclient.grpc as triton

import cxr_reason
from cxr_reason.client import Client, DoneEvent, Event, TextEvent
from cxr_reason.engine.base import Array, Engine, GenerationRequest, SamplingParams
from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import (
    ArtifactError,
    BadRequestError,
    CapacityError,
    CxrError,
    TooLargeError,
    UnknownFilmError,
    UnreadableImageError,
    UnsupportedObjectError,
    from_wire,
)
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt
from cxr_reason.reading.reading import Reading
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonServer
from cxr_reason.serving.settings import ServingSettings

Film = tuple[Array, tuple[int, int]]

pytestmark = pytest.mark.server

SHARED_MEMORY = Path("/dev/shm")
NUM_TOKENS = 80
ENDLESS = 3_500


def expected_text(engine: Engine, film: Film, prompt: str, **sampling: Any) -> str:
    """Return what the engine says when it is called directly."""
    params = SamplingParams(**{"max_tokens": NUM_TOKENS, **sampling})
    request = GenerationRequest(parse_prompt(prompt), engine.encode(*film), params)
    return "".join(event.text for event in engine.submit(request))


def make_input(name: str, dtype: str, value: object) -> Any:
    tensor = triton.InferInput(name, [1], dtype)
    kind = {"BYTES": np.object_, "INT32": np.int32, "FP32": np.float32, "UINT64": np.uint64}[dtype]
    tensor.set_data_from_numpy(np.array([value], dtype=kind))
    return tensor


def call(
    server: TritonServer, model: str, *inputs: Any, timeout_s: float = 60.0
) -> list[dict[str, bytes]]:
    """Call a decoupled model with NVIDIA's own client; return the outputs of each response."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    responses = []
    with triton.InferenceServerClient(server.grpc_address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer(model, list(inputs), enable_empty_final_response=True)
        while True:
            result, error = answers.get(timeout=timeout_s)
            if error is not None:
                raise from_wire(error.message())
            response = result.get_response()
            if response.outputs:
                names = [output.name for output in response.outputs]
                responses.append({name: result.as_numpy(name)[0] for name in names})
            if response.parameters["triton_final_response"].bool_param:
                return responses


def read_metrics(server: TritonServer) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
        lines = page.read().decode().splitlines()
    values = {}
    for line in lines:
        if line.startswith("cxr_"):
            name, _, value = line.rpartition(" ")
            values[re.sub(r'(model|version)="[^"]*",?', "", name)] = float(value)
    return values


def metric(server: TritonServer, name: str, label: str = "") -> float:
    found = {key: value for key, value in read_metrics(server).items() if key.startswith(name)}
    return sum(value for key, value in found.items() if label in key)


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "condition did not come true"
        time.sleep(0.02)


def next_text(events: Iterator[Event]) -> TextEvent:
    return next(event for event in events if isinstance(event, TextEvent))


def num_under_way(server: TritonServer) -> float:
    return metric(server, "cxr_requests{")


def test_the_model_reason_gives_the_text_of_the_engine(
    server: TritonServer, engine: Engine, film_paths: list[Path], films: list[Film]
) -> None:
    with Client(server.grpc_address) as client:
        for path, film in zip(film_paths, films, strict=True):
            reading = client.read(path, max_tokens=NUM_TOKENS)
            assert reading.text == expected_text(engine, film, FIND_ABNORMALITIES)
            again = client.read(path, max_tokens=NUM_TOKENS, temperature=1.0, top_p=0.9, seed=3)
            assert again.text == expected_text(
                engine, film, FIND_ABNORMALITIES, temperature=1.0, top_p=0.9, seed=3
            )


def test_the_ensemble_gives_the_text_of_the_engine(
    server: TritonServer, engine: Engine, film_paths: list[Path], films: list[Film]
) -> None:
    for path, film in zip(film_paths, films, strict=True):
        responses = call(
            server,
            "cxr_reasoning",
            make_input("image", "BYTES", path.read_bytes()),
            make_input("prompt", "BYTES", FIND_ABNORMALITIES.encode()),
            make_input("max_tokens", "INT32", NUM_TOKENS),
        )
        text = b"".join(response["text"] for response in responses).decode()
        assert text == expected_text(engine, film, FIND_ABNORMALITIES)
        assert len(responses) > 5, "the text comes in pieces"
        assert [response["reading"] for response in responses[:-1]] == [b""] * (len(responses) - 1)
        reading = Reading.from_json(responses[-1]["reading"])
        assert responses[-1]["finish_reason"] == b"length"
        assert (reading.text, reading.outcome) == (text, "truncated")
        assert reading.film is not None
        assert reading.film.source == {"dcm": "dicom", "jpg": "jpeg"}.get(path.suffix[1:], "png")


def test_both_models_and_an_engine_in_this_process_give_the_same_reading(
    server: TritonServer, engine_dir: Path, rg1_path: Path, data_dir: Path
) -> None:
    """On RG1 and ten films, with sampling; only the times differ."""
    paths = [rg1_path, *sorted((data_dir / "nih_cxr14").glob("png1024/*.png"))[:10]]
    assert len(paths) == 11
    settings = {"max_tokens": 24, "temperature": 0.7, "top_p": 0.9, "seed": 11}
    names = {"max_tokens": "INT32", "temperature": "FP32", "top_p": "FP32", "seed": "UINT64"}
    with (
        cxr_reason.connect(server.grpc_address) as remote,
        cxr_reason.load(engine_dir, config=EngineConfig(max_batch=4)) as local,
    ):
        for path in paths:
            ensemble = call(
                server,
                "cxr_reasoning",
                make_input("image", "BYTES", path.read_bytes()),
                make_input("prompt", "BYTES", FIND_ABNORMALITIES.encode()),
                *(make_input(name, kind, settings[name]) for name, kind in names.items()),
            )
            readings = [
                Reading.from_json(ensemble[-1]["reading"]),
                remote.read(path, **settings),
                local.read(path, **settings),
            ]
            untimed = [
                replace(
                    reading,
                    usage=replace(
                        reading.usage, queue_s=0.0, time_to_first_token_s=0.0, generation_s=0.0
                    ),
                )
                for reading in readings
            ]
            assert untimed[0] == untimed[1] == untimed[2]


def test_http_streams_the_same_text(
    server: TritonServer, engine: Engine, rg1_path: Path, rg1: Film
) -> None:
    image = "data:application/dicom;base64," + base64.b64encode(rg1_path.read_bytes()).decode()
    body = {"image": image, "prompt": FIND_ABNORMALITIES, "max_tokens": NUM_TOKENS}
    for model in ("cxr_reasoning", "reason"):
        request = urllib.request.Request(
            f"http://{server.http_address}/v2/models/{model}/generate_stream",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            lines = answer.read().decode().split("\n\n")
        parts = [json.loads(line.removeprefix("data: ")) for line in lines if line]
        assert "".join(part["text"] for part in parts) == expected_text(
            engine, rg1, FIND_ABNORMALITIES
        )
        assert json.loads(parts[-1]["reading"])["film"]["image_digest"]


def test_a_reading_says_where_it_comes_from(
    server: TritonServer, engine: Engine, rg1_path: Path
) -> None:
    with Client(server.grpc_address) as client:
        reading = client.read(rg1_path, max_tokens=5, seed=9)
    assert reading.provenance.engine_digest == engine.manifest.digest
    assert reading.provenance.checkpoint_digest == engine.manifest.checkpoint_digest
    assert reading.provenance.model_notice.startswith("Untrained")
    assert (reading.provenance.max_tokens, reading.provenance.seed) == (5, 9)
    assert reading.usage.completion_tokens == 5
    assert reading.film is not None
    assert (reading.film.height_px, reading.film.width_px) == (1955, 1841)
    assert reading.film.view == "PA"


def test_a_film_seen_before_is_named_by_its_digest(
    server: TritonServer, engine: Engine, rg1_path: Path, rg1: Film
) -> None:
    with Client(server.grpc_address) as client:
        first = client.read(rg1_path, max_tokens=5)
    assert first.film is not None
    prompt = [
        {"role": "user", "content": FIND_ABNORMALITIES},
        {"role": "assistant", "content": first.text.replace("<|", "")},
        {"role": "user", "content": "Provide differentials."},
    ]
    responses = call(
        server,
        "reason",
        make_input("image_digest", "BYTES", first.film.image_digest.encode()),
        make_input("prompt", "BYTES", json.dumps(prompt).encode()),
        make_input("max_tokens", "INT32", NUM_TOKENS),
    )
    text = b"".join(response["text"] for response in responses).decode()
    assert text == expected_text(engine, rg1, json.dumps(prompt))
    with pytest.raises(UnknownFilmError):
        call(
            server,
            "reason",
            make_input("image_digest", "BYTES", b"0" * 64),
            make_input("prompt", "BYTES", b"Provide differentials."),
        )


def test_sixteen_at_once_all_finish_with_the_right_answer_each(
    server: TritonServer, engine: Engine, film_paths: list[Path], films: list[Film]
) -> None:
    cases = [(index % len(films), f"Question {index}.") for index in range(16)]
    expected = [expected_text(engine, films[film], prompt) for film, prompt in cases]
    assert len(set(expected)) == 16

    def ask(case: tuple[int, str]) -> str:
        film, prompt = case
        if film % 2:
            inputs = [
                make_input("image", "BYTES", film_paths[film].read_bytes()),
                make_input("prompt", "BYTES", prompt.encode()),
                make_input("max_tokens", "INT32", NUM_TOKENS),
            ]
            parts = call(server, "cxr_reasoning", *inputs, timeout_s=120)
            return b"".join(part["text"] for part in parts).decode()
        with Client(server.grpc_address) as client:
            return client.read(film_paths[film], prompt=prompt, max_tokens=NUM_TOKENS).text

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(ask, cases)) == expected


def test_several_traces_of_a_film_are_those_of_their_seeds(
    server: TritonServer, rg1_path: Path
) -> None:
    with Client(server.grpc_address) as client:
        reading = client.read(rg1_path, max_tokens=NUM_TOKENS, num_traces=3, seed=5)
        alone = [
            client.read(rg1_path, max_tokens=NUM_TOKENS, temperature=1.0, seed=seed).text
            for seed in (5, 6, 7)
        ]
    assert [trace.text for trace in reading.traces] == alone
    assert len(set(alone)) == 3
    assert (reading.text, reading.provenance.num_traces) == (alone[0], 3)
    # The film is kept, and what the prompt's keys and values are.
    assert metric(server, "cxr_cache_bytes", "films") > 0
    assert metric(server, "cxr_cache_bytes", "prefixes") > 0


def test_an_unknown_answer_format_is_refused(server: TritonServer, rg1_path: Path) -> None:
    with (
        Client(server.grpc_address) as client,
        pytest.raises(BadRequestError, match="answer_format"),
    ):
        client.read(rg1_path, max_tokens=2, answer_format="nonsense")


def test_leaving_a_stream_frees_the_slot(server: TritonServer, rg1_path: Path) -> None:
    wait_until(lambda: num_under_way(server) == 0)
    with Client(server.grpc_address) as client:
        cancelled = metric(server, "cxr_requests_total", "cancelled")
        tokens = metric(server, "cxr_generated_tokens_total")
        stream = client.stream(rg1_path, max_tokens=ENDLESS)
        num_seen = sum(1 for _ in zip(range(10), stream, strict=False))
        stream.close()
        # Closing returns when the server has ended the request.
        wait_until(lambda: num_under_way(server) == 0, timeout_s=1.0)
        assert num_seen == 10
        assert metric(server, "cxr_requests_total", "cancelled") == cancelled + 1
        # Far from the limit: the tokens seen, and those made while the message was on its way.
        assert metric(server, "cxr_generated_tokens_total") - tokens < 300
        assert client.read(rg1_path, max_tokens=3).usage.completion_tokens == 3


def test_a_lost_connection_frees_the_slot(server: TritonServer, rg1_path: Path) -> None:
    wait_until(lambda: num_under_way(server) == 0)
    program = (
        "import sys; from cxr_reason.client import Client\n"
        f"client = Client({server.grpc_address!r})\n"
        f"events = client.stream({str(rg1_path)!r}, max_tokens={ENDLESS})\n"
        "next(events); next(events)\n"  # queued, then text
        "print('streaming', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"streaming\n"
    assert num_under_way(server) == 1
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    wait_until(lambda: num_under_way(server) == 0, timeout_s=5.0)


BAD_FILMS: list[tuple[str, Callable[[bytes], bytes], type[CxrError]]] = [
    ("not an image", lambda _: b"hello", UnreadableImageError),
    ("empty", lambda _: b"", UnreadableImageError),
    ("truncated", lambda data: data[: len(data) // 2], UnreadableImageError),
    ("CT", lambda data: rewrite(data, Modality="CT"), UnsupportedObjectError),
    ("hip", lambda data: rewrite(data, BodyPartExamined="HIP"), UnsupportedObjectError),
    ("lateral", lambda data: rewrite(data, ViewPosition="LL"), UnsupportedObjectError),
    ("huge", lambda data: data + bytes(64 * 2**20), TooLargeError),
]


def rewrite(data: bytes, **elements: str) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("spoil", "error"), [case[1:] for case in BAD_FILMS], ids=[case[0] for case in BAD_FILMS]
)
def test_a_bad_film_gets_its_error_from_both_models(
    server: TritonServer, rg1_path: Path, spoil: Callable[[bytes], bytes], error: type[CxrError]
) -> None:
    film = spoil(rg1_path.read_bytes())
    with Client(server.grpc_address) as client, pytest.raises(error):
        client.read(film, max_tokens=3)
    # The client refuses some of them itself: the server must, too.
    for model in ("reason", "cxr_reasoning"):
        with pytest.raises(error):
            call(
                server,
                model,
                make_input("image", "BYTES", film),
                make_input("prompt", "BYTES", b"Examine the chest X-ray."),
            )


@pytest.mark.parametrize(
    "settings",
    [
        {"prompt": ""},
        {"prompt": "x" * 40_000},
        {"prompt": '[{"role": "user"'},
        {"prompt": "<|im_end|>"},
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"top_p": 0.0},
    ],
    ids=str,
)
def test_a_bad_request_gets_its_error(
    server: TritonServer, rg1_path: Path, settings: dict[str, Any]
) -> None:
    with Client(server.grpc_address) as client, pytest.raises(BadRequestError):
        client.read(rg1_path, **settings)


def test_a_busy_server_reports_it_and_continues(engine_dir: Path, rg1_path: Path) -> None:
    settings = ServingSettings(engine_dir, EngineConfig(max_batch=1, max_queue=1))
    with (
        TritonServer(settings, addresses=Addresses.free()) as server,
        Client(server.grpc_address, max_retries=0) as client,
    ):
        streams = [client.stream(rg1_path, max_tokens=ENDLESS) for _ in range(2)]
        next_text(streams[0])
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(next_text, streams[1])
            wait_until(lambda: num_under_way(server) == 2)
            with pytest.raises(CapacityError, match="busy"):
                client.read(rg1_path, max_tokens=3)
            streams[0].close()
            assert isinstance(waiting.result(timeout=30), TextEvent)
        streams[1].close()
        wait_until(lambda: num_under_way(server) == 0)
        assert client.read(rg1_path, max_tokens=3).usage.completion_tokens == 3


def test_no_patient_data_in_log_metrics_or_errors(
    engine_dir: Path, rg1_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "CANARY^PATIENT"
    good = rewrite(rg1_path.read_bytes(), PatientName=canary, PatientID="CANARY-ID")
    bad = rewrite(good, Modality="CT", StudyDescription="CANARY STUDY")
    log = tmp_path / "server.log"
    shown = []
    with (
        TritonServer(engine_dir, addresses=Addresses.free(), log_path=log) as server,
        Client(server.grpc_address) as client,
    ):
        reading = client.read(good, prompt="Is CANARY well?", max_tokens=3)
        shown.append(reading.to_json())
        for film, prompt in [(bad, "CANARY"), (good[:2000], "CANARY"), (good, "CANARY<|im_end|>")]:
            with pytest.raises(CxrError) as caught:
                client.read(film, prompt=prompt)
            shown.append(str(caught.value))
        with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
            shown.append(page.read().decode())
    shown += [log.read_text(), caplog.text]
    assert log.stat().st_size > 0
    assert not [text for text in shown if "CANARY" in text]


def test_stopping_the_server_ends_everything_it_started(engine_dir: Path) -> None:
    with TritonServer(engine_dir, addresses=Addresses.free()) as server:
        pid = server.pid
        assert pid is not None
        # Of its own processes alone: other servers may start and stop meanwhile.
        mapped = {
            Path(region.path)
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
            for region in process.memory_maps()
        }
        shared = {path for path in mapped if path.parent == SHARED_MEMORY and path.exists()}
        assert shared
        prefixes = tuple({path.name[:36] for path in shared})  # "cxr_" and 32 digits
    left = [path for path in SHARED_MEMORY.iterdir() if path.name.startswith(prefixes)]
    assert left == []
    listing = subprocess.run(["ps", "-e", "-o", "pgid="], capture_output=True, text=True).stdout
    assert str(pid) not in listing.split()


def test_an_altered_engine_is_not_served(engine_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "engine"
    shutil.copytree(engine_dir, copy)
    with (copy / "decoder.onnx.data").open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    server = TritonServer(copy, addresses=Addresses.free())
    with pytest.raises(ArtifactError, match=r"decoder\.onnx\.data does not match its digest"):
        server.start()
    assert server.pid is None


def test_serve_and_read_as_commands(engine_dir: Path, rg1_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("cxr-reason"))]
    ports = ["--grpc-port", "0", "--http-port", "0", "--metrics-port", "0"]
    serve = subprocess.Popen(
        [*command, "serve", str(engine_dir), *ports], stderr=subprocess.PIPE, text=True
    )
    assert serve.stderr is not None
    address = ""
    for line in serve.stderr:
        if line.startswith("gRPC"):
            address = line.split()[1]
            break
    assert address, "the server prints its address when it is ready"
    arguments = ["read", str(rg1_path), "--server", address, "--max-tokens", "20", "--json"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Reading.from_json(done.stdout.splitlines()[-1]).usage.completion_tokens == 20
    assert "research use" in done.stderr.lower()
    serve.send_signal(signal.SIGTERM)
    assert serve.wait(timeout=30) == 0
    serve.stderr.close()


def test_events_of_the_client_add_up_to_the_reading(server: TritonServer, rg1_path: Path) -> None:
    with Client(server.grpc_address) as client:
        events = list(client.stream(rg1_path, max_tokens=NUM_TOKENS))
    assert isinstance(events[-1], DoneEvent)
    texts = [event.text for event in events[:-1] if isinstance(event, TextEvent)]
    # White space around a section belongs to none.
    assert "".join(texts).split() == events[-1].reading.text.split()

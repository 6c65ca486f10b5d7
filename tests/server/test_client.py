from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter

import pytest
from support import fake_server

from cxr_reason.client import Client, DoneEvent, FindingEvent, QueuedEvent, TextEvent
from cxr_reason.errors import (
    BadRequestError,
    CapacityError,
    CxrError,
    GenerationError,
    RequestTimeoutError,
    ServerUnavailableError,
    TooLargeError,
    UnreadableImageError,
)
from cxr_reason.film.source import PNG_START
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonProcess

write_repository, read_metric = fake_server.write_repository, fake_server.read_metric

CANARY = "Jane Canary 1970-01-01"
GENERATING = 'cxr_requests{stage="generating"}'


@pytest.fixture(scope="module")
def log_path(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "server.log"


@pytest.fixture(scope="module")
def server(tmp_path_factory, log_path):
    repository = write_repository(tmp_path_factory.mktemp("server"))
    with TritonProcess(repository, addresses=Addresses.free(), log_path=log_path) as server:
        yield server


@pytest.fixture(params=["grpc", "http"])
def client(request, server):
    address = {"grpc": server.grpc_address, "http": f"http://{server.http_address}"}
    with Client(address[request.param], timeout_s=30.0, max_retries=0) as client:
        yield client


def next_text(events):
    return next(event for event in events if isinstance(event, TextEvent))


def wait_until_idle(server, within_s):
    deadline = time.monotonic() + within_s
    while read_metric(server, GENERATING) or read_metric(server, 'cxr_requests{stage="waiting"}'):
        assert time.monotonic() < deadline, "the slot is still taken"
        time.sleep(0.01)


def post(server, model, inputs):
    url = f"http://{server.http_address}/v2/models/{model}/generate_stream"
    with urllib.request.urlopen(url, json.dumps(inputs).encode(), timeout=30) as response:
        lines = response.read().decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


@pytest.mark.server
def test_stream_gives_sections_without_tags_and_then_the_reading(client, rg1_path):
    queued, *middle, done = client.stream(rg1_path)
    assert isinstance(queued, QueuedEvent)
    texts = [event for event in middle if isinstance(event, TextEvent)]
    assert len(texts) > 4, "text comes as it is generated"
    by_section = {}
    for event in texts:
        by_section[event.section] = by_section.get(event.section, "") + event.text
    assert by_section == {"reasoning": "The heart is large.", "answer": "Cardiomegaly"}
    (found,) = [event.finding for event in middle if isinstance(event, FindingEvent)]
    assert (found.label, found.status) == ("Cardiomegaly", "present")
    assert isinstance(done, DoneEvent)
    answered = [finding.label for finding in done.reading.findings if finding.in_answer]
    assert answered == ["Cardiomegaly"]
    assert done.reading.film.source == "dicom"
    assert done.reading.film.bits_stored == 15


@pytest.mark.server
def test_read_takes_bytes_and_settings(client, rg1_path):
    reading = client.read(
        rg1_path.read_bytes(), max_tokens=3, temperature=0.7, top_p=0.9, seed=2**64 - 1
    )
    assert reading.outcome == "truncated"
    assert reading.text == "<think> The heart "
    settings = reading.provenance
    assert (settings.max_tokens, settings.temperature, settings.top_p, settings.seed) == (
        3,
        0.7,
        0.9,
        2**64 - 1,
    )


@pytest.mark.server
def test_both_models_and_http_give_the_same_text(client, server, rg1_path):
    reading = client.read(rg1_path, prompt="count 4")
    follow_up = {"prompt": "count 4", "image_digest": reading.film.image_digest}
    direct = post(server, "reason", follow_up)
    assert "".join(answer["text"] for answer in direct) == reading.text
    assert json.loads(direct[-1]["reading"])["film"]["image_digest"] == reading.film.image_digest
    assert [answer["finish_reason"] for answer in direct] == ["", "", "", "stop"]


@pytest.mark.server
def test_ensemble_over_http_takes_a_data_url(server):
    from base64 import b64encode
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.linear_gradient("L").resize((300, 200)).save(file, "png")
    url = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    answers = post(server, "cxr_reasoning", {"prompt": "count 2", "image": url, "seed": 5})
    reading = json.loads(answers[-1]["reading"])
    assert reading["film"]["source"] == "png"
    assert reading["provenance"]["seed"] == 5
    assert reading["usage"]["visual_tokens"] > 0


@pytest.mark.server
def test_errors_keep_their_type(client, tmp_path, rg1_path):
    for image, settings, error in (
        (b"no image", {}, UnreadableImageError),
        (rg1_path, {"prompt": " "}, BadRequestError),
        (rg1_path, {"temperature": 9.0}, BadRequestError),
        (rg1_path, {"max_tokens": 2**40}, BadRequestError),
        (rg1_path, {"seed": -1}, BadRequestError),
        (tmp_path / "missing.dcm", {}, UnreadableImageError),
    ):
        with pytest.raises(error):
            client.read(image, **settings)


@pytest.mark.server
def test_errors_of_the_ensemble_and_of_http_keep_their_code(server):
    for model in ("reason", "cxr_reasoning"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(server, model, {"prompt": "x", "image": "no image"})
        with caught.value as response:
            assert response.status == 400
            assert b"[cxr:unreadable_image image] image:" in response.read()
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(server, "reason", {"seed": 1})
    with caught.value as response:
        assert b"prompt: missing" in response.read()


@pytest.mark.server
def test_content_of_an_internal_error_stays_inside(client, rg1_path, log_path):
    with pytest.raises(GenerationError, match="internal error") as caught:
        client.read(rg1_path, prompt=f"fail {CANARY}")
    assert CANARY not in caught.value.message
    log = log_path.read_text(errors="replace")
    assert "RuntimeError" in log
    assert "Canary" not in log


@pytest.mark.server
def test_films_pass_up_to_the_limit(client):
    with pytest.raises(UnreadableImageError):
        client.read(PNG_START.ljust(64 * 2**20))
    with pytest.raises(TooLargeError, match="over the limit"):
        client.read(PNG_START.ljust(64 * 2**20 + 1))


@pytest.mark.server
def test_a_timeout_is_an_error_and_frees_the_slot(client, server, rg1_path):
    started = time.monotonic()
    with pytest.raises(RequestTimeoutError, match=r"in 0\.5 s"):
        client.read(rg1_path, prompt="count 1000", timeout_s=0.5)
    assert time.monotonic() - started < 5.0
    wait_until_idle(server, within_s=2.0)


@pytest.mark.server
def test_closing_the_stream_frees_the_slot(client, server, rg1_path):
    events = client.stream(rg1_path, prompt="count 1000")
    next_text(events)
    assert read_metric(server, GENERATING) == 1
    events.close()
    wait_until_idle(server, within_s=2.0)


@pytest.mark.server
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT])
def test_a_client_that_dies_frees_the_slot(server, rg1_path, death):
    code = (
        "import sys; from cxr_reason.client import Client, TextEvent\n"
        "for event in Client(sys.argv[1]).stream(sys.argv[2], prompt='count 1000'):\n"
        "    if isinstance(event, TextEvent):\n"
        "        print('generating', flush=True)"
    )
    command = [sys.executable, "-c", code, server.grpc_address, str(rg1_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout.readline() == b"generating\n"
            os.kill(process.pid, death)
            wait_until_idle(server, within_s=1.0)
            process.wait(timeout=30.0)
        finally:
            process.kill()


@pytest.mark.server
def test_one_request_too_many_gets_an_error_and_the_others_finish(client, server, rg1_path):
    client.read(rg1_path, prompt="count 1")
    outcomes = []

    def call(number):
        try:
            text = client.read(rg1_path, prompt=f"count {number}").text
            outcomes.append(text == "".join(f"w{index} " for index in range(number)))
        except CapacityError:
            outcomes.append("busy")

    threads = [threading.Thread(target=call, args=(100 + number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(outcomes) == {True: 6, "busy": 3}
    assert read_metric(server, 'cxr_requests_total{outcome="busy"}') >= 3


@pytest.mark.server
def test_server_survives_callers_that_come_and_go(client, server, rg1_path):
    outcomes = Counter()

    def call(seed):
        for round_ in range(10):
            number = (7 * seed + round_) % 9
            try:
                events = client.stream(rg1_path, prompt=f"count {1 + number}")
                for _ in range(number % 4):
                    next(events, None)
                events.close()
                outcomes["left"] += 1
            except CxrError as error:
                outcomes[type(error).__name__] += 1

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(outcomes) <= {"left", "CapacityError"}
    wait_until_idle(server, within_s=1.0)
    assert client.read(rg1_path).outcome == "complete"


@pytest.mark.server
def test_metrics_count_tokens_and_times(client, server, rg1_path):
    before = read_metric(server, "cxr_generated_tokens_total")
    client.read(rg1_path, prompt="count 5")
    assert read_metric(server, "cxr_generated_tokens_total") == before + 5
    for name in ("cxr_queue_seconds", "cxr_time_to_first_token_seconds", "cxr_tokens_per_second"):
        assert read_metric(server, f"{name}_count") > 0
    assert read_metric(server, "cxr_time_to_first_token_seconds_sum") > 0


@pytest.mark.server
@pytest.mark.parametrize("service", ["grpc", "http"])
def test_a_server_that_dies_has_its_own_error(tmp_path, rg1_path, service):
    with TritonProcess(write_repository(tmp_path), addresses=Addresses.free()) as server:
        address = {"grpc": server.grpc_address, "http": f"http://{server.http_address}"}[service]
        with Client(address) as client:
            assert client.is_ready()
            events = client.stream(rg1_path, prompt="count 1000")
            next_text(events)
            os.kill(server.pid, signal.SIGKILL)
            with pytest.raises(ServerUnavailableError, match=address):
                list(events)
            assert not client.is_ready(timeout_s=1.0)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_server_that_cannot_be_reached(rg1_path, scheme):
    with Client(scheme + Addresses.free().resolve().grpc, max_retries=1) as client:
        assert not client.is_ready(timeout_s=1.0)
        with pytest.raises(ServerUnavailableError, match="cxr-reason serve"):
            client.read(rg1_path)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_server_that_never_answers_is_given_up(rg1_path, monkeypatch, scheme):
    for module in ("client", "grpc_transport", "http_transport"):
        monkeypatch.setattr(f"cxr_reason.client.{module}.GRACE_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with (
            Client(f"{scheme}127.0.0.1:{silent.getsockname()[1]}") as client,
            pytest.raises(RequestTimeoutError),
        ):
            client.read(rg1_path, timeout_s=0.3)


def test_import_is_lean():
    code = (
        "import sys, cxr_reason.client\n"
        "heavy = {'torch', 'onnxruntime', 'pydicom', 'PIL', 'transformers'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import ArtifactError, BadRequestError, MissingExtraError, ServerError
from cxr_reason.serving import runtime
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonProcess, TritonServer
from cxr_reason.serving.settings import ServingSettings

CONFIG = """
name: "echo"
backend: "python"
input { name: "x" data_type: TYPE_FP32 dims: -1 }
output { name: "x" data_type: TYPE_FP32 dims: -1 }
instance_group { count: 1 kind: KIND_CPU }
"""
MODEL = """
import triton_python_backend_utils as pb_utils
import numpy as np
import cxr_reason

class TritonPythonModel:
    def initialize(self, args):
        {initialize}

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([pb_utils.get_input_tensor_by_name(request, "x")])
            for request in requests
        ]
"""


@pytest.fixture
def make_repository(tmp_path):
    def make(initialize="pass"):
        folder = tmp_path / "models"
        (folder / "echo" / "1").mkdir(parents=True)
        (folder / "echo" / "config.pbtxt").write_text(CONFIG)
        (folder / "echo" / "1" / "model.py").write_text(MODEL.format(initialize=initialize))
        return folder

    return make


def is_alive(process):
    # Where nobody collects orphans, a process that ended stays as a zombie.
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def left_behind(server, children):
    alive = [child for child in children if is_alive(child)]
    return alive, shared_memory(server._shm_prefix)


def shared_memory(prefix):
    return list(prefix.parent.glob(f"{prefix.name}*"))


@pytest.mark.server
def test_starts_with_this_environment_and_leaves_nothing(make_repository, tmp_path):
    lines = []
    log_path = tmp_path / "server.log"
    initialize = f"assert np.__version__ == {np.__version__!r}, np.__version__"
    server = TritonProcess(
        make_repository(initialize),
        addresses=Addresses.free(),
        log_path=log_path,
        progress=lines.append,
    )
    with server:
        assert server.is_ready()
        assert {"loading echo", "ready"} <= set(lines)
        for port in (server.http_address, server.grpc_address, server.metrics_address):
            assert port.startswith("127.0.0.1:")
            assert not port.endswith(":0")
        url = f"http://{server.http_address}/v2/models/echo/infer"
        body = b'{"inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[1,2,3]}]}'
        with urllib.request.urlopen(url, body) as response:
            assert b'"data":[1.0,2.0,3.0]' in response.read()
        children = psutil.Process(server.pid).children(recursive=True)
        children.append(psutil.Process(server.pid))
        assert len(children) == 2
    assert left_behind(server, children) == ([], [])
    assert server.pid is None
    assert log_path.is_file()
    server.stop()


@pytest.mark.server
def test_a_killed_server_leaves_nothing_either(make_repository):
    with TritonProcess(make_repository(), addresses=Addresses.free()) as server:
        children = psutil.Process(server.pid).children(recursive=True)
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
    time.sleep(0.1)
    assert left_behind(server, children) == ([], [])


@pytest.mark.server
def test_a_server_does_not_outlive_its_owner(make_repository, tmp_path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from cxr_reason.serving.addresses import Addresses\n"
        "from cxr_reason.serving.launcher import TritonProcess\n"
        "server = TritonProcess(Path(sys.argv[1]), addresses=Addresses.free())\n"
        "server.start()\n"
        "print(server.pid, server._shm_prefix, flush=True)\n"
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(make_repository())]
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as owner:
        pid, prefix = owner.stdout.readline().split()
        assert shared_memory(Path(prefix.decode()))
        server = psutil.Process(int(pid))
        owner.kill()
    deadline = time.monotonic() + 5
    while is_alive(server) or shared_memory(Path(prefix.decode())):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.server
def test_a_model_that_does_not_load_is_quoted(make_repository):
    repository = make_repository('raise ValueError("no engine here")')
    server = TritonProcess(repository, addresses=Addresses.free())
    with pytest.raises(ServerError, match="no engine here") as caught:
        server.start()
    assert "NVML" not in caught.value.message
    assert server.pid is None


@pytest.mark.server
def test_waiting_for_a_model_ends(make_repository):
    repository = make_repository("import time; time.sleep(60)")
    server = TritonProcess(
        repository, addresses=Addresses.free(), startup_timeout_s=0.5, exit_timeout_s=0.5
    )
    started = time.monotonic()
    with pytest.raises(ServerError, match=r"not ready after 0\.5 s"):
        server.start()
    assert time.monotonic() - started < 10
    assert shared_memory(server._shm_prefix) == []


def test_a_taken_port_is_named(make_repository):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = TritonProcess(make_repository(), addresses=Addresses(http_port=port))
        with pytest.raises(ServerError, match=rf"127\.0\.0\.1:{port} .*--http-port"):
            server.start()


def test_a_tritonserver_on_path_is_used_as_it_is(tmp_path, monkeypatch):
    program = tmp_path / "tritonserver"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runtime.find_runtime(tmp_path) == runtime.Runtime(program)


def test_numpy_2_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(ServerError, match=r"numpy 2\.1\.0 .*numpy<2"):
        runtime.find_runtime(tmp_path)


def test_without_any_server_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"\.\[server\]"):
        runtime.find_runtime(tmp_path)


def test_a_folder_that_is_not_an_engine_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        TritonServer(tmp_path)


def test_settings_travel_through_the_environment(tmp_path):
    settings = ServingSettings(tmp_path, EngineConfig(max_batch=3), film_cache_mib=5)
    assert ServingSettings.from_environment(settings.to_environment()) == settings
    settings = replace(settings, calibration=tmp_path / "c.json", film_gate=tmp_path / "g.npz")
    assert ServingSettings.from_environment(settings.to_environment()) == settings
    with pytest.raises(ServerError, match="CXR_ENGINE is not set"):
        ServingSettings.from_environment({})
    with pytest.raises(ServerError, match="whole number"):
        ServingSettings.from_environment({"CXR_ENGINE": "x", "CXR_FILM_CACHE_MIB": "-1"})
    with pytest.raises(BadRequestError, match="unknown key"):
        ServingSettings.from_environment({"CXR_ENGINE": "x", "CXR_ENGINE_CONFIG": '{"a": 1}'})

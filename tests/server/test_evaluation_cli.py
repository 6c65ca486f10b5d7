"""`cxr-reason evaluate` on all three backends.

The checkpoint is untrained: its text is noise, and every measure of its form is 0.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxr_reason.cli.main import app
from cxr_reason.client import Client, LocalTransport
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.registry import load_engine
from cxr_reason.errors import (
    BadRequestError,
    CxrError,
    MissingExtraError,
    ServerUnavailableError,
)
from cxr_reason.evaluation.backends import ClientReader
from cxr_reason.evaluation.evaluate import EvaluationSettings
from cxr_reason.evaluation.occlusion import make_blank
from cxr_reason.prompts import FIND_ABNORMALITIES
from cxr_reason.reader.local import LocalReader
from cxr_reason.serving.launcher import TritonServer

SMALL = ("--data", "phantoms", "--limit", "4", "--max-tokens", "8", "--faithfulness", "2")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["evaluate", *arguments])


def run_json(*arguments: str) -> dict[str, Any]:
    result = run(*SMALL, "--json", *arguments)
    assert result.exit_code == 0, result.exception
    report: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return report


def error_of(*arguments: str) -> CxrError:
    error = run(*arguments).exception
    assert isinstance(error, CxrError), error
    return error


def read_record(path: Path) -> dict[str, Any]:
    """Return outputs by film."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["film"]: line["outputs"] for line in lines[1:]}


def test_an_engine_is_evaluated_and_resumed(engine_dir: Path, tmp_path: Path) -> None:
    record, page = tmp_path / "record.jsonl", tmp_path / "report.html"
    arguments = ("--engine", str(engine_dir), "--resume", str(record))
    report = run_json(*arguments, "--report", str(page))
    assert report["benchmark"] == "evaluate"
    assert report["data"] == "phantoms:test"
    assert report["num_films"] == 4
    assert report["macro_f1"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    values = {(row["case"], row["metric"]): row["value"] for row in report["results"]}
    assert values["all", "truncated rate"] == 1.0
    assert values["all", "complete rate"] == 0.0
    assert values["all", "answers without contradiction"] is None
    assert page.stat().st_size > 10_000
    # Four films, each of two changed in two places, and one blank film for both.
    assert len(read_record(record)) == 4 + 2 * 2 + 1

    again = run_json(*arguments)
    assert again["macro_f1"] == report["macro_f1"]
    values = {(row["case"], row["metric"]): row["value"] for row in again["results"]}
    assert values["all", "films per second"] is None
    error = error_of(*SMALL, *arguments, "--prompt", "Examine the chest X-ray.")
    assert "another prompt" in error.message


@pytest.mark.server
def test_three_backends_read_alike(
    engine_dir: Path, nano: Any, server: TritonServer, tmp_path: Path
) -> None:
    backends = {
        "engine": str(engine_dir),
        "checkpoint": str(nano.folder),
        "server": server.grpc_address,
    }
    outputs, models = {}, {}
    for name, place in backends.items():
        record = tmp_path / f"{name}.jsonl"
        report = run_json(f"--{name}", place, "--resume", str(record), "--num-traces", "2")
        assert report["num_films"] == 4
        models[name] = report["model"]
        outputs[name] = read_record(record)
    # Greedy and sampled: positions, seeds and preprocessing are the same for every backend.
    assert outputs["engine"] == outputs["server"] == outputs["checkpoint"]
    assert {len(traces) for traces in outputs["engine"].values()} == {3}
    assert models["engine"]["engine_digest"] == models["server"]["engine_digest"] != ""
    assert len({model["checkpoint_digest"] for model in models.values()}) == 1
    assert models["checkpoint"]["backend"] == "reference"


def test_a_table_for_people(engine_dir: Path) -> None:
    result = run("--engine", str(engine_dir), *SMALL[:-1], "0")
    assert result.exit_code == 0
    for words in ("macro F1", "Pneumothorax", "by subgroup", "Not a medical device"):
        assert words in result.stdout
    assert "faithfulness" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "0 of --checkpoint, --engine and --server; give one"),
        (("--engine", "a", "--server", "b"), "2 of"),
        (("--engine", "a", "--data", "phantom"), "neither 'phantoms' nor a folder"),
        (("--engine", "a", "--data", "phantoms:dev"), "train, validation, test"),
        (("--engine", "a", "--report", "/no/such/folder/r.html"), "report: the folder"),
        (("--engine", "a", "--num-traces", "2", "--temperature", "0"), "temperature over 0"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(arguments: tuple[str, ...], message: str) -> None:
    error = error_of("--data", "phantoms", *arguments)
    assert isinstance(error, BadRequestError)
    assert message in error.message


def test_a_server_that_is_not_there_is_an_error() -> None:
    error = error_of(*SMALL[:2], "--limit", "1", "--server", "127.0.0.1:1")
    assert isinstance(error, ServerUnavailableError)


@pytest.mark.parametrize(
    ("absent", "backend", "extra"),
    [("matplotlib", "engine", "evaluate"), ("transformers", "checkpoint", "build")],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, absent: str, backend: str, extra: str
) -> None:
    find = importlib.util.find_spec

    def find_spec(name: str) -> Any:
        return None if name == absent else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    error = error_of("--data", "phantoms", f"--{backend}", "x")
    assert isinstance(error, MissingExtraError)
    assert absent in error.message and f".[{extra}]" in error.message


def test_help_has_an_example() -> None:
    assert "Example: cxr-reason evaluate" in run("--help").output


def test_ctrl_c_ends_the_command_and_keeps_what_is_finished(
    engine_dir: Path, tmp_path: Path
) -> None:
    record = tmp_path / "record.jsonl"
    arguments = ("--engine", str(engine_dir), "--data", "phantoms", "--limit", "30")
    command = [sys.executable, "-c", "from cxr_reason.cli.main import main; main()", "evaluate"]
    process = subprocess.Popen(
        [*command, *arguments, "--max-tokens", "300", "--max-batch", "2", "--resume", str(record)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline_s = time.monotonic() + 60
    while not (record.is_file() and record.read_bytes().count(b"\n") > 2):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert 1 < len(record.read_text().splitlines()) < 31


@pytest.mark.parametrize("backend", ["onnx", "reference"])
def test_stopping_a_reader_ends_all_that_runs(backend: str, engine_dir: Path, nano: Any) -> None:
    import threading

    from cxr_reason.engine.reference.engine import ReferenceEngine
    from cxr_reason.errors import RequestCancelledError

    engine = (
        load_engine(engine_dir, EngineConfig(max_batch=2))
        if backend == "onnx"
        else ReferenceEngine(nano)
    )
    reader = ClientReader(
        Client(transport=LocalTransport(LocalReader(engine))),
        prompt=FIND_ABNORMALITIES,
        concurrency=2,
    )
    samplings = EvaluationSettings(num_traces=3, max_tokens=3_000).samplings
    ended = []

    def read() -> None:
        with pytest.raises(RequestCancelledError):
            reader.read(make_blank(128, 128), samplings)
        ended.append(True)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    reader.stop()
    for thread in threads:
        thread.join(60)
    reader.close()
    assert ended == [True, True]

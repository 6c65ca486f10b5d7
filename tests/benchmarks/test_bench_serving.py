"""`cxr-reason bench serving`: its logic, and whole runs on a real server. No time is asserted."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cxr_reason.benchmarks.aiperf import SCRIPT, read_export
from cxr_reason.benchmarks.comparison import Value
from cxr_reason.benchmarks.environments import read_header
from cxr_reason.benchmarks.serving import run_serving_bench
from cxr_reason.benchmarks.serving_load import run_load
from cxr_reason.benchmarks.serving_readers import (
    Answer,
    DirectReader,
    EnsembleReader,
    ServerReader,
)
from cxr_reason.benchmarks.serving_rows import rows_of_cost, rows_of_load
from cxr_reason.benchmarks.serving_settings import ServingBench
from cxr_reason.cli.main import app
from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import BadRequestError
from cxr_reason.serving.launcher import TritonServer

# Loads


def answer_well(film: bytes, max_tokens: int) -> Answer:
    return Answer(film.decode(), max_tokens, 0.5, 1.0)


def test_load_asks_about_the_films_in_turn() -> None:
    asked: list[bytes] = []
    lock = threading.Lock()

    def read(film: bytes, max_tokens: int) -> Answer:
        with lock:
            asked.append(film)
        return answer_well(film, max_tokens)

    load = run_load(
        read, [b"a", b"b", b"c"], ["a", "b", "c"], num_requests=7, concurrency=3, max_tokens=2
    )
    assert sorted(asked) == [b"a", b"a", b"a", b"b", b"b", b"c", b"c"]
    assert [answer.text for answer in load.answers] == list("abcabca")
    assert (load.wrong, load.errors) == (0, {})
    assert load.tokens_per_s == pytest.approx(14 / load.wall_s)


def test_load_keeps_as_many_requests_under_way_as_asked() -> None:
    # Passes only when three requests wait in it together.
    barrier = threading.Barrier(3, timeout=20)

    def read(film: bytes, max_tokens: int) -> Answer:
        barrier.wait()
        return answer_well(film, max_tokens)

    load = run_load(read, [b"a"], ["a"], num_requests=6, concurrency=3, max_tokens=2)
    assert len(load.answers) == 6


def test_wrong_texts_and_errors_are_counted_apart() -> None:
    def read(film: bytes, max_tokens: int) -> Answer:
        if film == b"c":
            return Answer("", 0, 0.0, 9.0, "busy")
        return answer_well(film, max_tokens)

    load = run_load(
        read, [b"a", b"b", b"c"], ["a", "B", "c"], num_requests=6, concurrency=1, max_tokens=2
    )
    assert (load.wrong, load.errors) == (2, {"busy": 2})
    assert load.end_to_end_s == 1.0, "of what was answered"
    rows = {row["metric"]: row for row in rows_of_load("case", load)}
    assert rows["errors"]["ours"] == 2 and rows["errors"]["error"] == "busy: 2"
    assert rows["wrong texts"]["ours"] == 2
    assert rows["end to end"]["runs"] == 6


def test_cost_is_the_difference_of_medians() -> None:
    server = [Answer("", 1, first, first + 1, "") for first in (0.030, 0.020, 0.090)]
    engine = [Answer("", 1, first, first + 1, "") for first in (0.025, 0.020, 0.030)]
    rows = {row["metric"]: row for row in rows_of_cost("case", "Triton", server, engine)}
    first = rows["time to first token, Triton"]
    assert (first["ours"], first["baseline_value"], first["runs"]) == (30.0, 25.0, 3)
    assert rows["time to first token, added by Triton"]["ours"] == pytest.approx(5.0)


# AIPerf


def test_export_of_aiperf() -> None:
    export = {
        "time_to_first_token": {"unit": "ms", "avg": 9.0, "p50": 8.0},
        "output_token_throughput": {"unit": "tokens/sec", "avg": 70.0},
        "request_count": {"avg": 4},
    }
    assert read_export(export, 4) == {
        "time to first token": Value(8.0, "ms", 4),
        "throughput": Value(70.0, "tokens/s", 4),
    }


def test_aiperf_is_pinned() -> None:
    assert '"aiperf==0.13.0"' in read_header(SCRIPT)


# With a server


@pytest.mark.server
def test_all_ways_give_the_engines_text(
    server: TritonServer, engine_dir: Path, rg1_path: Path
) -> None:
    film = rg1_path.read_bytes()
    direct = DirectReader(engine_dir, EngineConfig(), film_cache_mib=16)
    client = ServerReader(server.grpc_address)
    try:
        expected = direct.read(film, 6)
        answers = [client.read(film, 6), EnsembleReader(server.http_address).read(film, 6)]
        assert client.read(b"no film", 6).error == "unreadable_image"
    finally:
        client.close()
        direct.close()
    for answer in answers:
        assert (answer.text, answer.tokens, answer.error) == (expected.text, 6, "")
        assert 0 < answer.time_to_first_token_s < answer.end_to_end_s


@pytest.mark.server
def test_whole_run(engine_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = ServingBench(
        engine=engine_dir,
        cache=tmp_path,
        num_films=2,
        tokens=3,
        concurrency=(1, 3),
        runs=1,
        repeats=3,
        requests=5,
        gateway=True,
    )
    assert run_serving_bench(bench, Console(width=160), as_json=True)
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["benchmark"] == "serving"
    rows: list[dict[str, Any]] = report["results"]
    loads = {row["case"]: row["runs"] for row in rows if row["metric"] == "wrong texts"}
    assert loads == {
        "5 requests, 3 at once, films seen before": 5,
        "1 requests, 1 at once, new films": 1,
        "3 requests, 3 at once, new films": 3,
    }
    assert not any(row["ours"] for row in rows if row["metric"] in ("errors", "wrong texts"))
    added = {row["metric"] for row in rows if "added by" in row["metric"]}
    assert added == {
        f"{metric}, added by {name}"
        for metric in ("time to first token", "end to end")
        for name in ("Triton", "the ensemble", "the gateway")
    }
    assert next(row["ours"] for row in rows if row["metric"] == "peak memory") > 0


@pytest.mark.server
def test_a_server_that_answers_otherwise_fails_the_run(
    engine_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = DirectReader.read

    def read_otherwise(self: DirectReader, film: bytes, max_tokens: int) -> Answer:
        return replace(read(self, film, max_tokens), text="another text")

    monkeypatch.setattr(DirectReader, "read", read_otherwise)
    bench = ServingBench(
        engine_dir, tmp_path, num_films=1, tokens=2, concurrency=(1,), runs=1, repeats=3
    )
    assert not run_serving_bench(bench, Console(width=160), as_json=False)
    assert "wrong texts" in capsys.readouterr().out


def test_command(tmp_path: Path) -> None:
    runner = CliRunner()
    assert "--requests" in runner.invoke(app, ["bench", "serving", "--help"]).output
    result = runner.invoke(app, ["bench", "serving", str(tmp_path), "--concurrency", "0"])
    assert isinstance(result.exception, BadRequestError)

"""`cxr-reason bench engine`: its logic, and whole runs on tiny models. No time is asserted."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from cxr_reason.benchmarks.bandwidth import measure_read_bandwidth
from cxr_reason.benchmarks.comparison import Measured, Value, find_ratio, make_rows
from cxr_reason.benchmarks.contenders import OURS, PEERS, Contender, choose_peers
from cxr_reason.benchmarks.engine import run_engine_bench
from cxr_reason.benchmarks.engine_runner import render_chat
from cxr_reason.benchmarks.engine_settings import EngineBench
from cxr_reason.benchmarks.engine_summary import row_of_bandwidth, summarize
from cxr_reason.benchmarks.environments import make_environment, read_header, read_tail
from cxr_reason.benchmarks.film_variants import FilmVariants, make_film_variants, read_default_film
from cxr_reason.benchmarks.release_form import write_release_form
from cxr_reason.benchmarks.worker_process import WorkerRun, run_worker
from cxr_reason.checkpoint import Checkpoint
from cxr_reason.cli.main import app
from cxr_reason.engine.artifact import read_manifest
from cxr_reason.errors import BadRequestError, EngineError
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.kernels.preprocess import PixelBudget, fit_grid

BUDGET = PixelBudget(max_pixels=224 * 224)
CHAT = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Look.<|im_end|>\n"


@pytest.fixture(scope="session")
def working(repository: Path) -> Path:
    return repository / "tests" / "support" / "peer_stand_in.py"


@pytest.fixture(scope="session")
def failing(repository: Path) -> Path:
    return repository / "tests" / "support" / "peer_stand_in_failing.py"


def make_pictures(folder: Path) -> FilmVariants:
    film, name = read_default_film()
    return make_film_variants(film, name, budget=BUDGET, count=6, folder=folder)


@pytest.fixture
def pictures(tmp_path: Path) -> FilmVariants:
    return make_pictures(tmp_path)


def make_job(pictures: FilmVariants, **changes: Any) -> dict[str, Any]:
    return {
        "task": "measure",
        "checkpoint": "",
        "model": "",
        "options": {},
        "films": [str(path) for path in pictures.pngs],
        "prompt": "Look.",
        "chat": CHAT,
        "tokens": 4,
        "batch_tokens": 3,
        "runs": 2,
        "batch_runs": 1,
        "concurrency": [1, 2],
        **changes,
    }


# Comparison


def test_ratio_is_above_one_where_we_are_ahead() -> None:
    assert find_ratio(Value(2.0, "s", 3), Value(6.0, "s", 3)) == 3.0
    assert find_ratio(Value(6.0, "tokens/s", 3), Value(2.0, "tokens/s", 3)) == 3.0
    assert find_ratio(Value(6.0, "GiB", 3), Value(3.0, "GiB", 3)) == 0.5


def test_rows_compare_each_of_ours_with_each_peer_that_has_the_metric() -> None:
    ours = Measured("ours", True, {"a": Value(1.0, "s", 3), "b": Value(4.0, "tokens/s", 1)})
    measured = [
        ours,
        replace(ours, name="ours too"),
        Measured("fast", False, {"a": Value(0.5, "s", 3)}),
        Measured("slow", False, {"a": Value(8.0, "s", 3)}, error="broke off"),
    ]
    rows = make_rows("film", measured)
    found = [(row["case"], row["metric"], row["baseline"], row["ratio"]) for row in rows]
    assert found == [
        ("ours: film", "a", "fast", 0.5),
        ("ours: film", "a", "slow", 8.0),
        ("ours: film", "b", "", None),
        ("ours too: film", "a", "fast", 0.5),
        ("ours too: film", "a", "slow", 8.0),
        ("ours too: film", "b", "", None),
        ("film", "run", "slow", None),
    ]
    assert rows[-1]["error"] == "broke off"
    assert all(
        {"case", "metric", "unit", "ours", "baseline", "baseline_value", "ratio", "runs"} <= set(r)
        for r in rows
    )


def test_an_answer_that_ended_early_has_no_end_to_end_time() -> None:
    def single(tokens: int, end_to_end_s: float) -> dict[str, Any]:
        return {
            "event": "single",
            "time_to_first_token_s": 1.0,
            "time_per_token_s": 0.1,
            "mean_time_per_token_s": None,
            "end_to_end_s": end_to_end_s,
            "prompt_tokens": 9,
            "tokens": tokens,
        }

    events = (single(40, 5.0), single(12, 2.0), single(40, 7.0))
    summary = summarize(Contender("x", OURS), WorkerRun(events, 0.0, ""), tokens=40)
    assert summary.values["end to end, 40 tokens"] == Value(6.0, "s", 2)
    assert summary.values["time per token"] == Value(100.0, "ms", 3)
    assert summary.prompt_tokens == 9 and "cold start" not in summary.values


def test_share_of_the_bandwidth() -> None:
    one = Measured("ours", True, {"time per token": Value(50.0, "ms", 3)})
    row = row_of_bandwidth("film", one, 2 * 10**9, 80e9)
    assert (row["ours"], row["baseline_value"], row["ratio"]) == (40.0, 80.0, 0.5)


def test_bandwidth_is_read() -> None:
    assert measure_read_bandwidth(2**16, num_threads=3, passes=2) > 0


# Peers


def test_choose_peers(working: Path) -> None:
    assert choose_peers("all") == list(PEERS.values()) and choose_peers("none") == []
    chosen = choose_peers(f"vllm,{working}")
    assert [one.name for one in chosen] == ["vLLM bf16", "peer_stand_in"]
    with pytest.raises(BadRequestError, match="'llama'"):
        choose_peers("openvino,llama")


@pytest.mark.parametrize(
    "script", sorted({peer.script for peer in PEERS.values()}), ids=lambda p: p.stem
)
def test_peers_pin_what_they_install(script: Path) -> None:
    lines = [line for line in read_header(script).splitlines() if '"' in line and ">=" not in line]
    assert lines and all("==" in line for line in lines)


def test_environment_is_made_once_for_a_header(working: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(working.read_text())
    folder, log = tmp_path / "environment", tmp_path / "log"
    python = make_environment(script, folder, log)
    mark = folder / "mark"
    mark.touch()
    script.write_text(script.read_text() + "\n# only the header counts\n")
    assert make_environment(script, folder, log) == python and mark.exists()
    script.write_text(script.read_text().replace("# ///\n", "# note = 1\n# ///\n", 1))
    assert make_environment(script, folder, log) == python and not mark.exists()


def test_environment_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text('# /// script\n# dependencies = ["./no-such-folder"]\n# ///\n')
    with pytest.raises(EngineError, match="no-such-folder"):
        make_environment(script, tmp_path / "environment", tmp_path / "log")
    # The next run tries again.
    assert not (tmp_path / "environment" / "installed").exists()


def test_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "\n".join(
            [
                "1",
                "2",
                "3",
                "4",
                "5",
                "6",
                "",
                "ValueError: why",
                "",
                "   0: <a::b>::c",
                "        at /d/e.rs:1:2",
            ]
        )
    )
    assert read_tail(log).splitlines() == ["2", "3", "4", "5", "6", "ValueError: why"]


# Films


def check_pictures(pictures: FilmVariants, film: bytes) -> None:
    shown = decode_radiograph(film)
    height_px, width_px = shown.pixels.shape
    grid = fit_grid(height_px, width_px, BUDGET)
    digests = set()
    for original, png in zip(pictures.originals, pictures.pngs, strict=True):
        again = decode_radiograph(original.read_bytes())
        assert again.pixels.shape == shown.pixels.shape
        differs = again.pixels != shown.pixels
        assert 0 < differs.mean() < 0.01, "one small mark"
        assert np.array_equal(again.display_table, shown.display_table)
        with Image.open(png) as image:
            assert image.mode == "L" and image.size == (grid.width * 14, grid.height * 14)
        digests |= {hashlib.sha256(path.read_bytes()).digest() for path in (original, png)}
    assert len(digests) == 2 * len(pictures.pngs), "every film is another"


def test_pictures_of_a_dicom_film(rg1_path: Path, tmp_path: Path) -> None:
    film = rg1_path.read_bytes()
    pictures = make_film_variants(film, "RG1", budget=BUDGET, count=3, folder=tmp_path)
    assert [path.suffix for path in pictures.originals] == [".dcm"] * 3
    check_pictures(pictures, film)


def test_pictures_of_a_raster_film(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 255, (400, 300), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    pictures = make_film_variants(
        buffer.getvalue(), "film", budget=BUDGET, count=3, folder=tmp_path
    )
    assert [path.suffix for path in pictures.originals] == [".png"] * 3
    check_pictures(pictures, buffer.getvalue())


def test_too_many_pictures(tmp_path: Path) -> None:
    film, name = read_default_film()
    with pytest.raises(BadRequestError, match="1024"):
        make_film_variants(film, name, budget=BUDGET, count=1025, folder=tmp_path)


# Checkpoints


def test_release_form(nano: Checkpoint, tmp_path: Path) -> None:
    """transformers reads the same model from it, and names are those of Qwen's release."""
    from transformers import Qwen2_5_VLConfig

    folder = tmp_path / "release"
    write_release_form(nano, folder)
    config = json.loads((folder / "config.json").read_text())
    assert "text_config" not in config and config["vocab_size"] == nano.text["vocab_size"]
    assert config["rope_scaling"]["mrope_section"] == [8, 12, 12]
    expected = Qwen2_5_VLConfig.from_pretrained(nano.folder)
    read = Qwen2_5_VLConfig.from_pretrained(folder)
    assert read.tie_word_embeddings == expected.tie_word_embeddings
    for name in ("hidden_size", "num_hidden_layers", "eos_token_id", "vocab_size"):
        assert getattr(read.text_config, name) == getattr(expected.text_config, name), name
    assert read.text_config.rope_parameters["mrope_section"] == [8, 12, 12]
    assert read.vision_config.fullatt_block_indexes == expected.vision_config.fullatt_block_indexes
    # A second time changes nothing.
    again = tmp_path / "again"
    write_release_form(Checkpoint(folder), again)
    assert json.loads((again / "config.json").read_text()) == config
    assert (again / "tokenizer.json").read_bytes() == (nano.folder / "tokenizer.json").read_bytes()


# Workers


def test_worker_reports_as_it_goes(working: Path, pictures: FilmVariants, tmp_path: Path) -> None:
    model = tmp_path / "model"
    job = make_job(pictures, model=str(model))
    python = Path(sys.executable)
    prepared = run_worker(python, working, {**job, "task": "prepare"}, tmp_path, timeout_s=60)
    assert not prepared.error and model.is_dir()
    seen: list[str] = []
    run = run_worker(
        python, working, job, tmp_path, timeout_s=60, on_event=lambda e: seen.append(e["event"])
    )
    assert not run.error
    assert seen == [
        *("ready", "first", "single", "single", "again", "again", "one at a time done"),
        *("batch", "batch", "done"),
    ]
    assert run.events[0]["clock_s"] > run.start_clock_s
    assert [event["tokens"] for event in run.events if event["event"] == "batch"] == [3, 6]
    assert run.events[-1]["peak_bytes"] > 2**20


def test_what_came_before_a_failure_counts(
    failing: Path, pictures: FilmVariants, tmp_path: Path
) -> None:
    run = run_worker(Path(sys.executable), failing, make_job(pictures), tmp_path, timeout_s=60)
    assert "this stand-in has had enough" in run.error
    summary = summarize(Contender("x", failing), run, tokens=4)
    assert summary.values["end to end, 4 tokens"].runs == 2
    assert "time to first token, film seen before" not in summary.values


def test_times_of_a_peer_that_keeps_tokens_back(
    working: Path, pictures: FilmVariants, tmp_path: Path
) -> None:
    script = tmp_path / "silent.py"
    source = working.read_text().replace("on_token()", "__import__('time').sleep(0.01)")
    script.write_text(source)
    model = tmp_path / "model"
    job = make_job(pictures, model=str(model), runs=1, concurrency=[])
    for task in ("prepare", "measure"):
        run = run_worker(
            Path(sys.executable), script, {**job, "task": task}, tmp_path, timeout_s=60
        )
        assert not run.error, run.error
    single = next(event for event in run.events if event["event"] == "single")
    assert single["time_per_token_s"] is None
    # One token of at least 10 ms, then three more in the rest of the time.
    assert 0.01 <= single["time_to_first_token_s"] < single["end_to_end_s"]
    assert single["mean_time_per_token_s"] < single["end_to_end_s"] / 3


def test_worker_that_hangs_is_ended(pictures: FilmVariants, tmp_path: Path) -> None:
    script = tmp_path / "hangs.py"
    script.write_text("import time\n\ndef load(job):\n    time.sleep(600)\n")
    run = run_worker(Path(sys.executable), script, make_job(pictures), tmp_path, timeout_s=1.0)
    assert run.error.startswith("not done after 1 s") and run.events == ()


def find_prompt_tokens(run: WorkerRun) -> set[int]:
    return {event["prompt_tokens"] for event in run.events if "prompt_tokens" in event}


@pytest.fixture(scope="module")
def our_prompt_tokens(
    nano: Checkpoint, engine_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> set[int]:
    """What our engine counts for these films and this prompt."""
    folder = tmp_path_factory.mktemp("ours")
    job = make_job(make_pictures(folder), model=str(engine_dir), chat=render_chat(nano, "Look."))
    run = run_worker(Path(sys.executable), OURS, {**job, "runs": 1}, folder, timeout_s=240)
    assert not run.error, run.error
    return find_prompt_tokens(run)


@pytest.mark.parametrize("name", ["transformers-fp32", "transformers-bf16", "onnxruntime-genai"])
def test_peers_that_need_nothing_more_than_our_own_environment(
    name: str,
    nano: Checkpoint,
    our_prompt_tokens: set[int],
    pictures: FilmVariants,
    tmp_path: Path,
) -> None:
    """Their scripts run, and see the same number of prompt tokens as our engine."""
    python, contender = Path(sys.executable), PEERS[name]
    release = tmp_path / "release"
    write_release_form(nano, release)
    job = make_job(
        pictures,
        checkpoint=str(release),
        model=str(tmp_path / "model"),
        options=contender.options,
        prompt="Look.",
        chat=render_chat(nano, "Look."),
        runs=1,
    )
    for task in ("prepare", "measure"):
        run = run_worker(python, contender.script, {**job, "task": task}, tmp_path, timeout_s=240)
        assert not run.error, run.error
    assert find_prompt_tokens(run) == our_prompt_tokens and len(our_prompt_tokens) == 1
    tokens = [event["tokens"] for event in run.events if "tokens" in event]
    assert tokens == [1, 4, 1, 3, 6], "first, single, again, one at once, two at once"


# Whole runs


@pytest.fixture
def bench(nano: Checkpoint, engine_dir: Path, tmp_path: Path) -> EngineBench:
    return EngineBench(
        checkpoint=nano.folder,
        peers=(),
        cache=tmp_path / "cache",
        engines=(engine_dir,),
        tokens=4,
        batch_tokens=3,
        concurrency=(1, 2),
        runs=1,
        timeout_s=240.0,
        bandwidth_bytes=2**20,
    )


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[[EngineBench], tuple[bool, str, Any]]:
    def run_bench(settings: EngineBench) -> tuple[bool, str, Any]:
        success = run_engine_bench(settings, Console(width=160), as_json=True)
        output = capsys.readouterr().out
        return success, output, json.loads(output.splitlines()[-1])

    return run_bench


def test_a_failing_peer_is_listed_and_the_run_continues(
    bench: EngineBench, working: Path, failing: Path, tmp_path: Path, run: Any
) -> None:
    broken = tmp_path / "not_to_be_had.py"
    broken.write_text('# /// script\n# dependencies = ["./no-such-folder"]\n# ///\n')
    peers = [Contender(path.stem, path) for path in (broken, failing, working)]
    success, output, report = run(replace(bench, peers=tuple(peers)))
    assert success, "a peer may fail"
    assert report["benchmark"] == "engine" and report["machine"]
    rows = report["results"]
    errors = {row["baseline"]: row["error"] for row in rows if "error" in row}
    assert set(errors) == {"not_to_be_had", "peer_stand_in_failing"}
    assert "no-such-folder" in errors["not_to_be_had"] and "no-such-folder" in output
    assert "had enough" in errors["peer_stand_in_failing"]
    ours = {row["metric"] for row in rows if row["ours"] is not None}
    assert ours == {
        "cold start",
        "time to first token, first request",
        "time to first token",
        "time to first token, film seen before",
        "time per token",
        "time per token, mean",
        "end to end, 4 tokens",
        "peak memory, one request at a time",
        "throughput, 1 at once",
        "throughput, 2 at once",
        "peak memory, all",
        "weights read in decoding",
    }
    against = {row["metric"] for row in rows if row["baseline"] == "peer_stand_in"}
    assert against == ours - {"weights read in decoding"}
    partly = {row["metric"] for row in rows if row["baseline"] == "peer_stand_in_failing"}
    assert "end to end, 4 tokens" in partly and "throughput, 1 at once" not in partly
    assert "prompt tokens differ" in output
    repeat = next(row for row in rows if row["baseline"].endswith(", new film"))
    assert repeat["metric"] == "time to first token, film seen before"


def test_our_engine_is_built_once(bench: EngineBench, run: Any, trained: Checkpoint) -> None:
    settings = replace(bench, engines=(), precisions=("fp32",), concurrency=())
    assert run(settings)[0]
    manifests = list((bench.cache / "cxr_engine" / "models").glob("*/manifest.json"))
    assert len(manifests) == 1 and read_manifest(manifests[0].parent).precision == "fp32"
    changed = manifests[0].stat().st_mtime_ns
    assert run(settings)[0]
    assert manifests[0].stat().st_mtime_ns == changed
    with pytest.raises(BadRequestError, match="another checkpoint"):
        run(replace(bench, checkpoint=trained.folder))


def test_our_failure_fails_the_command(bench: EngineBench, run: Any) -> None:
    success, _, report = run(replace(bench, engines=(), precisions=("int2",), concurrency=()))
    assert not success
    assert "int2" in report["results"][0]["error"]


def test_command(tmp_path: Path) -> None:
    runner = CliRunner()
    assert "--peers" in runner.invoke(app, ["bench", "engine", "--help"]).output
    command = ["bench", "engine", "--checkpoint", str(tmp_path)]
    result = runner.invoke(app, [*command, "--concurrency", "1,x"])
    assert isinstance(result.exception, BadRequestError)

"""The steps of `gpu_acceptance.py --tensorrt-llm`. Needs the package; not run anywhere yet.

In order, each on its own so that a failure leaves the others:

    signatures   arguments of the installed package against signatures.json of tests/support
    parity       greedy tokens against transformers in bfloat16, two film sizes, batch 1 and 8,
                 CUDA graphs on and off
    vision       the TensorRT engine, with and without our kernels as plugins, against transformers
    speed        ms to the first token and from token to token, beside the memory bandwidth's floor
    accuracy     `cxr-reason evaluate` on every engine that was given, one for each precision
    load         `cxr-reason bench serving --aiperf`: the server under 1 to 64 requests at once
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.artifact import read_manifest
from cxr_reason.engine.base import Engine, GenerationRequest, SamplingParams, VisualInput
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.plan import read_budget
from cxr_reason.engine.reference.engine import ReferenceEngine
from cxr_reason.engine.registry import load_engine
from cxr_reason.engine.trtllm.package import installed_release
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt

TABLE = Path(__file__).resolve().parents[1] / "tests" / "trtllm_stand_in" / "signatures.json"
GRIDS = ((34, 34), (36, 30))  # 476 x 476 and 504 x 420 pixels
NUM_PARITY_TOKENS = 50
NUM_TIMED_TOKENS = 128
NUM_RUNS = 5
CONCURRENCY = (1, 2, 4, 8, 16, 32, 64)
PACKAGES = ("tensorrt_llm", "tensorrt", "torch", "transformers", "triton", "numpy")

Row = dict[str, Any]


def check_signatures() -> list[str]:
    """Return what the installed package lacks of the table; empty when all is there."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    problems = []
    found: dict[str, Any] = {}
    for module, names in table["names"].items():
        for name in names:
            try:
                found[name] = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError) as error:
                problems.append(f"{module}.{name}: {error}")
    for place, arguments in table["arguments"].items():
        name, _, method = place.partition(".")
        if name not in found:
            continue
        known = known_arguments(found[name], method)
        problems += [f"{place}: no argument {key}" for key in arguments if key not in known]
    return problems


def known_arguments(owner: Any, method: str) -> set[str]:
    """Return the arguments that a class or one of its methods takes."""
    if method:
        return set(inspect.signature(getattr(owner, method)).parameters)
    if hasattr(owner, "model_fields"):
        return set(owner.model_fields)
    known = set(inspect.signature(owner).parameters)
    if "kwargs" in known:
        # `LLM` hands them to a model of pydantic that forbids unknown ones.
        arguments = importlib.import_module("tensorrt_llm.llmapi.llm_args")
        known |= set(arguments.TorchLlmArgs.model_fields)
    return known


def make_film(grid: tuple[int, int], seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return smooth random patches: a film's spectrum falls off, noise's does not."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand((grid[0] * grid[1], 1, 4, 4), generator=random)
    fine = torch.nn.functional.interpolate(coarse, size=(14, 14), mode="bicubic").clamp(0, 1)
    return fine.reshape(-1, 196).numpy()


def generate(engine: Engine, visual: VisualInput, num_tokens: int) -> list[int]:
    """Return the greedy tokens of one request."""
    return [event.token_id for event in submit(engine, visual, num_tokens)]


def submit(engine: Engine, visual: VisualInput, num_tokens: int) -> Any:
    """Queue one greedy request."""
    params = SamplingParams(max_tokens=num_tokens)
    return engine.submit(GenerationRequest(parse_prompt(FIND_ABNORMALITIES), visual, params))


def check_parity(folder: Path, *, batch: int, cuda_graphs: bool) -> Iterator[Row]:
    """Compare tokens with transformers; a row says after how many they part."""
    films = [make_film(GRIDS[index % 2], index) for index in range(batch)]
    grids = [GRIDS[index % 2] for index in range(batch)]
    reference = ReferenceEngine(
        Checkpoint(folder / "decoder"), device="cuda", dtype=torch.bfloat16, kernels="torch"
    )
    with reference as oracle:
        expected = [
            generate(oracle, oracle.encode(film, grid), NUM_PARITY_TOKENS)
            for film, grid in zip(films, grids, strict=True)
        ]
    torch.cuda.empty_cache()
    os.environ["CXR_TRTLLM_CONFIG"] = json.dumps({"cuda_graphs": cuda_graphs})
    with load_engine(folder, EngineConfig(max_batch=batch)) as engine:
        visuals = [engine.encode(film, grid) for film, grid in zip(films, grids, strict=True)]
        running = [submit(engine, visual, NUM_PARITY_TOKENS) for visual in visuals]
        tokens = [[event.token_id for event in generation] for generation in running]
    for index, (ours, theirs) in enumerate(zip(tokens, expected, strict=True)):
        agree = next(
            (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
            min(len(ours), len(theirs)),
        )
        graphs = "on" if cuda_graphs else "off"
        yield row(
            f"parity, batch {batch}, graphs {graphs}, film {index} {grids[index]}",
            "equal greedy tokens",
            "tokens",
            agree,
            "transformers bf16",
            len(theirs),
        )


def check_vision(folder: Path) -> Iterator[Row]:
    """Build the vision engine twice and compare its tokens with transformers in float32."""
    from cxr_reason.engine.trtllm.build_vision import build_vision
    from cxr_reason.engine.trtllm.vision import TrtVision

    checkpoint = Checkpoint(folder / "decoder")
    manifest = read_manifest(folder)
    films = [(make_film(grid, 0), grid) for grid in GRIDS]
    with ReferenceEngine(checkpoint, device="cuda", kernels="torch") as oracle:
        expected = [oracle.encode(film, grid).tokens for film, grid in films]
    for with_plugins in (False, True):
        with tempfile.TemporaryDirectory() as scratch:
            budget = read_budget(checkpoint, manifest.max_pixels)
            build_vision(checkpoint, Path(scratch), budget, with_plugins=with_plugins)
            vision = TrtVision(Path(scratch), manifest)
        name = "with our plugins" if with_plugins else "plain"
        for (film, grid), right in zip(films, expected, strict=True):
            got = vision.encode(film, grid)
            error = float(np.linalg.norm(got - right) / np.linalg.norm(right))
            yield row(f"vision {name} {grid}", "relative error", "", error, "transformers fp32", 0)
            times_ms = [time_ms(vision.encode, film, grid) for _ in range(20)]
            median = statistics.median(times_ms[5:])
            yield row(f"vision {name} {grid}", "time", "ms", median, "", None)


def time_ms(call: Callable[..., object], *arguments: object) -> float:
    """Return the milliseconds that a call takes."""
    start = time.perf_counter()
    call(*arguments)
    return (time.perf_counter() - start) * 1e3


def measure_speed(folder: Path, bandwidth: float) -> Iterator[Row]:
    """Time one request at a time beside the floor: every weight read once a token.

    Args:
        folder: Of the artifact.
        bandwidth: Measured in this run, bytes a second.
    """
    manifest = read_manifest(folder)
    floor_ms = count_bytes_a_token(Checkpoint(folder / "decoder")) / bandwidth * 1e3
    os.environ["CXR_TRTLLM_CONFIG"] = "{}"
    firsts, gaps = [], []
    with load_engine(folder, EngineConfig(max_batch=8)) as engine:
        for run in range(NUM_RUNS + 1):
            visual = engine.encode(make_film(GRIDS[0], run), GRIDS[0])
            generation = submit(engine, visual, NUM_TIMED_TOKENS)
            for _ in generation:
                pass
            usage = generation.usage()
            if run:  # the first warms up
                firsts.append(usage.time_to_first_token_s * 1e3)
                rest_s = usage.generation_s - usage.time_to_first_token_s
                gaps.append(rest_s / (usage.completion_tokens - 1) * 1e3)
    case = f"{manifest.precision}, batch 1, {GRIDS[0]}"
    yield row(case, "time to first token", "ms", statistics.median(firsts), "", None, NUM_RUNS)
    yield row(
        case, "time per token", "ms", statistics.median(gaps), "bandwidth floor", floor_ms, NUM_RUNS
    )


def count_bytes_a_token(decoder: Checkpoint) -> int:
    """Return the bytes of weights that one token reads: the layers and the output layer."""
    names = [name for name in decoder.tensor_files if not name.startswith("visual.")]
    if "lm_head.weight" in names:
        names.remove("embed_tokens.weight")  # of it a token reads one row
    return sum(decoder.load_tensor(name).nbytes for name in names)


def measure_accuracy(engines: Sequence[Path], data: str, num_films: int) -> Iterator[Row]:
    """Evaluate every engine on the same films; the first is what the others are compared with."""
    baseline: dict[str, float] = {}
    for folder in engines:
        precision = read_manifest(folder).precision
        values = {
            item["metric"]: item["value"]
            for item in run_command(
                "evaluate", "--engine", str(folder), "--data", data, "--limit", str(num_films)
            )
            if item["case"] == "all" and item["value"] is not None
        }
        baseline = baseline or values
        for metric, value in values.items():
            first = baseline.get(metric)
            yield row(f"{precision}, {data}", metric, "1", value, "first engine", first, num_films)


def measure_load(folder: Path) -> list[Row]:
    """Put Triton with the engine under load, through the client and with aiperf."""
    levels = ",".join(map(str, CONCURRENCY))
    return run_command("bench", "serving", str(folder), "--aiperf", "--concurrency", levels)


def run_command(*arguments: str) -> list[Row]:
    """Run `cxr-reason … --json`; return the results in its last line.

    Raises:
        RuntimeError: It failed; with its last lines.
    """
    command = [str(Path(sys.executable).with_name("cxr-reason")), *arguments, "--json"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        lines = [*process.stdout.splitlines(), *process.stderr.splitlines()]
        raise RuntimeError("\n".join(lines[-20:]))
    results: list[Row] = json.loads(process.stdout.splitlines()[-1])["results"]
    return results


def row(
    case: str,
    metric: str,
    unit: str,
    ours: float,
    baseline: str,
    value: float | None,
    runs: int = 1,
) -> Row:
    """Return one row of the report."""
    return {
        "case": case,
        "metric": metric,
        "unit": unit,
        "ours": ours,
        "baseline": baseline,
        "baseline_value": value,
        "ratio": value / ours if value and ours else None,
        "runs": runs,
    }


def _list_parity(folder: Path, batch: int, cuda_graphs: bool) -> list[Row]:
    return list(check_parity(folder, batch=batch, cuda_graphs=cuda_graphs))


def run_steps(
    engines: Sequence[Path], bandwidth: float, *, data: str, num_films: int
) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """Yield name and work of each step; all but the accuracy is of the first engine."""
    installed_release()
    folder = engines[0]
    for batch in (1, 8):
        for cuda_graphs in (True, False):
            yield (
                f"parity batch {batch}, graphs {cuda_graphs}",
                partial(_list_parity, folder, batch, cuda_graphs),
            )
    yield "vision", lambda: list(check_vision(folder))
    yield "speed", lambda: list(measure_speed(folder, bandwidth))
    yield "accuracy", lambda: list(measure_accuracy(engines, data, num_films))
    yield "load", lambda: measure_load(folder)

"""`cxr-reason bench`: measure on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import BadRequestError
from cxr_reason.extras import require

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

# NumPy and PyTorch read these when they are loaded, so the measurement has its own process.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_CACHE = Path("~/.cache/cxr-reason/peers")
_WIDTH = 160  # a column for each contender


@app.callback()
def bench() -> None:
    """Measure speed on this machine."""


@app.command()
def kernels(
    runs: Annotated[int, typer.Option(min=3, help="Runs of each; medians are printed.")] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Preprocessing: ours, the usual pipeline, and the fastest use of Python libraries found.

    Needs the extra `build`. OpenCV 5 and pydicom-data add a baseline and a film where installed.

    Example: taskset --cpu-list 1 cxr-reason bench kernels --json
    """
    require("build", what="bench kernels")
    command = [sys.executable, "-m", "cxr_reason.benchmarks.preprocess", "--runs", str(runs)]
    if as_json:
        command.append("--json")
    code = subprocess.run(command, env={**os.environ, **_ONE_THREAD}, check=False).returncode
    raise typer.Exit(code)


@app.command()
def engine(
    checkpoint: Annotated[
        Path, typer.Option(help="Checkpoint folder that all engines run (docs/benchmarks.md).")
    ],
    peers: Annotated[
        str,
        typer.Option(
            help="all, none, or a comma-separated list of openvino, onnxruntime-genai, mistralrs, "
            "vllm, transformers-bf16, transformers-fp32."
        ),
    ] = "all",
    precision: Annotated[
        str, typer.Option(help="Precisions of our engine, comma-separated.")
    ] = "int4",
    engine_dir: Annotated[
        list[Path] | None,
        typer.Option("--engine", help="An engine of ours that is already built; may be repeated."),
    ] = None,
    film: Annotated[
        Path | None, typer.Option(help="DICOM, PNG or JPEG [default: RG1, or a phantom].")
    ] = None,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens of a single request.")] = 400,
    batch_tokens: Annotated[
        int, typer.Option(min=2, help="Tokens of each of several concurrent requests.")
    ] = 128,
    concurrency: Annotated[
        str, typer.Option(help="Concurrent requests, comma-separated; empty for none.")
    ] = "1,2,4,8,16",
    runs: Annotated[int, typer.Option(min=1, help="Runs of a single request.")] = 3,
    batch_runs: Annotated[int, typer.Option(min=1, help="Runs of concurrent requests.")] = 1,
    cache: Annotated[
        Path, typer.Option(help="Folder for the peers' environments and converted models.")
    ] = _CACHE,
    timeout_s: Annotated[
        float, typer.Option(help="Limit for converting, and for measuring, one engine.")
    ] = 7200.0,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Convert models again even if they are in the cache.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Our engine and its peers: the same weights, film and prompt, each in its own process.

    A peer that does not install or run is listed with its error. Needs the extra `build`.

    Example: cxr-reason bench engine --checkpoint random-3b --peers openvino,mistralrs --json
    """
    require("build", what="bench engine")
    from cxr_reason.benchmarks.contenders import choose_peers
    from cxr_reason.benchmarks.engine import run_engine_bench
    from cxr_reason.benchmarks.engine_settings import EngineBench

    settings = EngineBench(
        checkpoint=checkpoint,
        peers=tuple(choose_peers(peers)),
        cache=cache.expanduser().resolve(),
        precisions=tuple(precision.split(",")),
        engines=tuple(engine_dir or ()),
        film=film,
        tokens=tokens,
        batch_tokens=batch_tokens,
        concurrency=_read_numbers(concurrency),
        runs=runs,
        batch_runs=batch_runs,
        timeout_s=timeout_s,
        rebuild=rebuild,
    )
    if not run_engine_bench(settings, Console(width=_WIDTH), as_json=as_json):
        raise typer.Exit(1)


@app.command()
def serving(
    engine_dir: Annotated[Path, typer.Argument(help="Engine folder made by `cxr-reason build`.")],
    film: Annotated[
        Path | None, typer.Option(help="DICOM, PNG or JPEG [default: RG1, or a phantom].")
    ] = None,
    films: Annotated[int, typer.Option(min=1, help="Number of different films.")] = 8,
    tokens: Annotated[int, typer.Option(min=2, help="Limit of generated tokens.")] = 64,
    concurrency: Annotated[
        str, typer.Option(help="Concurrent requests, comma-separated.")
    ] = "1,2,4,8,16,32",
    runs: Annotated[
        int,
        typer.Option(min=1, help="Requests of a measurement, per concurrent request."),
    ] = 2,
    repeats: Annotated[
        int, typer.Option(min=3, help="Requests for the median time that Triton adds.")
    ] = 21,
    requests: Annotated[
        int, typer.Option(min=0, help="Also send this many requests at the highest concurrency.")
    ] = 0,
    aiperf: Annotated[bool, typer.Option("--aiperf", help="Measure with aiperf too.")] = False,
    gateway: Annotated[
        bool, typer.Option("--gateway", help="Measure through the gateway too.")
    ] = False,
    max_batch: Annotated[
        int, typer.Option(help="Requests that decode together.")
    ] = EngineConfig.max_batch,
    cache: Annotated[Path, typer.Option(help="Folder for aiperf's environment.")] = _CACHE,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """A real Triton with an engine: times, errors and wrong texts under load, and added time.

    Fails if a request was lost or answered with another text than the engine's own.

    Example: cxr-reason bench serving engines/nano --requests 1000 --json
    """
    require("server", *(["gateway"] if gateway else []), what="bench serving")
    from cxr_reason.benchmarks.serving import run_serving_bench
    from cxr_reason.benchmarks.serving_settings import ServingBench

    settings = ServingBench(
        engine=engine_dir,
        cache=cache.expanduser().resolve(),
        film=film,
        num_films=films,
        tokens=tokens,
        concurrency=_read_numbers(concurrency) or (1,),
        runs=runs,
        repeats=repeats,
        requests=requests,
        aiperf=aiperf,
        gateway=gateway,
        max_batch=max_batch,
    )
    if not run_serving_bench(settings, Console(width=_WIDTH), as_json=as_json):
        raise typer.Exit(1)


def _read_numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = (0,)
    if any(number < 1 for number in numbers):
        raise BadRequestError(
            f"concurrency: {text!r}; whole numbers from 1, with commas between them"
        )
    return numbers

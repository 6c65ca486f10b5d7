"""`cxr-reason bench engine`: our engine and its peers on the same weights, film and prompt."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cxr_reason.benchmarks.bandwidth import measure_read_bandwidth
from cxr_reason.benchmarks.comparison import Measured, make_rows, print_table
from cxr_reason.benchmarks.contenders import OURS, Contender
from cxr_reason.benchmarks.engine_runner import ContenderRunner
from cxr_reason.benchmarks.engine_settings import EngineBench
from cxr_reason.benchmarks.engine_summary import (
    SEEN_BEFORE,
    TIME_PER_TOKEN,
    row_of_bandwidth,
    row_of_repeat,
)
from cxr_reason.benchmarks.film_variants import make_film_variants, read_default_film
from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.artifact import read_manifest
from cxr_reason.engine.plan import read_budget
from cxr_reason.errors import BadRequestError
from cxr_reason.evaluation.result_line import describe_machine, make_report

PACKAGES = ("cxr-reason", "numpy", "onnxruntime", "torch", "transformers")


def run_engine_bench(bench: EngineBench, console: Console, *, as_json: bool) -> bool:
    """Measure all contenders one after another and print.

    Returns:
        Whether all of ours ran; a peer may fail.

    Raises:
        BadRequestError: A setting that cannot be used.
        InputError: The film cannot be used.
        EngineError: The checkpoint or an engine cannot be used.
    """
    checkpoint = Checkpoint(bench.checkpoint)
    digest = checkpoint.digest()
    contenders = [*_ours(bench, digest), *bench.peers]
    console.print(f"machine: {describe_machine()}; load {os.getloadavg()[0]:.1f}", highlight=False)
    bandwidth = measure_read_bandwidth(bench.bandwidth_bytes)
    console.print(f"memory: {bandwidth / 1e9:.1f} GB/s read by all threads", highlight=False)
    with (
        tempfile.TemporaryDirectory(prefix="cxr-bench-") as scratch,
        Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
            console=console,
        ) as progress,
    ):  # fmt: skip
        film, name = _read_film(bench)
        pictures = make_film_variants(
            film, name, budget=read_budget(checkpoint), count=bench.num_films, folder=Path(scratch)
        )
        runner = ContenderRunner(bench, checkpoint, digest, pictures, Path(scratch), progress)
        measured, shares = [], []
        for contender in contenders:
            one, decoder_bytes = runner.measure(contender)
            measured.append(one)
            if one.is_ours and decoder_bytes and TIME_PER_TOKEN in one.values:
                shares.append((one, decoder_bytes))
    case = f"{pictures.name}, {_count_prompt(measured)} prompt tokens"
    print_table(console, case, measured)
    rows = make_rows(case, measured)
    rows += [row_of_repeat(case, one) for one in measured if SEEN_BEFORE in one.values]
    for one, decoder_bytes in shares:
        row = row_of_bandwidth(case, one, decoder_bytes, bandwidth)
        console.print(
            f"{one.name}: decoding reads {row['ours']:.1f} GB/s, {row['ratio']:.0%} of what "
            "the memory gives",
            highlight=False,
        )
        rows.append(row)
    if as_json:
        console.print(make_report("engine", PACKAGES, rows), soft_wrap=True, highlight=False)
    return not any(one.error for one in measured if one.is_ours)


def _ours(bench: EngineBench, digest: str) -> Iterable[Contender]:
    if not bench.engines:
        for precision in bench.precisions:
            yield Contender(f"cxr-reason {precision}", OURS, {"precision": precision})
    for folder in bench.engines:
        manifest = read_manifest(folder)
        if manifest.checkpoint_digest != digest:
            raise BadRequestError(
                "engine: built from another checkpoint than the peers would run; "
                "give the checkpoint that it was built from"
            )
        yield Contender(f"cxr-reason {manifest.precision}", OURS, model=folder.resolve())


def _read_film(bench: EngineBench) -> tuple[bytes, str]:
    if bench.film is None:
        return read_default_film()
    try:
        return bench.film.read_bytes(), "film"
    except OSError as error:
        raise BadRequestError(f"film: cannot be read ({error.strerror})") from error


def _count_prompt(measured: Sequence[Measured]) -> int:
    return next((one.prompt_tokens for one in measured if one.prompt_tokens), 0)

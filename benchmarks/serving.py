"""`cxr-reason bench serving`: the real Triton on an engine, under load, and what it costs."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cxr_reason.benchmarks.aiperf import run_aiperf
from cxr_reason.benchmarks.comparison import Value, make_row
from cxr_reason.benchmarks.film_variants import make_film_variants, read_default_film
from cxr_reason.benchmarks.serving_load import run_load
from cxr_reason.benchmarks.serving_readers import (
    Answer,
    DirectReader,
    EnsembleReader,
    EventReader,
    Read,
    ServerReader,
)
from cxr_reason.benchmarks.serving_rows import TRITON, print_rows, rows_of_cost, rows_of_load
from cxr_reason.benchmarks.serving_settings import ServingBench
from cxr_reason.benchmarks.worker_process import MemoryWatch
from cxr_reason.engine.artifact import read_manifest
from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import BadRequestError, EngineError, ServerError
from cxr_reason.evaluation.result_line import describe_machine, make_report
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonServer
from cxr_reason.serving.settings import ServingSettings

PACKAGES = ("cxr-reason", "numpy", "nvidia-pytriton", "onnxruntime", "tritonclient")

_WATCH_INTERVAL_S = 0.1
_SENT = "film seen before and sent again, one request at a time"
_NAMED = "film seen before and named, one request at a time"


def run_serving_bench(bench: ServingBench, console: Console, *, as_json: bool) -> bool:
    """Measure and print.

    First the engine alone, in this process: its texts are what every later answer must be. Then
    a server as users start it; then one without caches, so that every request pays for its film.

    Returns:
        Whether every request was answered, with the right text.

    Raises:
        BadRequestError: A film that cannot be read.
        ArtifactError: The folder is no engine.
        ServerError: The server does not start.
    """
    manifest = read_manifest(bench.engine)
    budget = PixelBudget(manifest.min_pixels, manifest.max_pixels)
    console.print(f"machine: {describe_machine()}; load {os.getloadavg()[0]:.1f}", highlight=False)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cxr-bench-")))
        film, name = _read_film(bench)
        pictures = make_film_variants(
            film, name, budget=budget, count=bench.num_films, folder=scratch
        )
        films = [path.read_bytes() for path in pictures.originals]
        progress = stack.enter_context(
            Progress(
                TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(),
                TimeElapsedColumn(), console=console,
            )
        )  # fmt: skip
        session = _Session(bench, films, scratch, progress)
        rows = session.measure()
    title = f"{pictures.name}, {manifest.precision}, at most {bench.tokens} tokens"
    print_rows(console, title, rows)
    if as_json:
        console.print(make_report("serving", PACKAGES, rows), soft_wrap=True, highlight=False)
    return not any(row["ours"] for row in rows if row["metric"] in ("errors", "wrong texts"))


def _read_film(bench: ServingBench) -> tuple[bytes, str]:
    if bench.film is None:
        return read_default_film()
    try:
        return bench.film.read_bytes(), "film"
    except OSError as error:
        raise BadRequestError(f"film: cannot be read ({error.strerror})") from error


@dataclass(frozen=True)
class _Direct:
    """What the engine gave in this process.

    Attributes:
        texts: Of every film.
        sent: Of the first film again and again, as the server's model `reason` works.
        named: The same without the film's file, by its digest.
        encoded: The same with the film encoded each time, as the ensemble works.
    """

    texts: list[str]
    sent: list[Answer]
    named: list[Answer]
    encoded: list[Answer]


class _Session:
    def __init__(
        self, bench: ServingBench, films: list[bytes], scratch: Path, progress: Progress
    ) -> None:
        self._bench = bench
        self._films = films
        self._scratch = scratch
        self._progress = progress
        self._config = EngineConfig(max_batch=bench.max_batch)

    def measure(self) -> list[dict[str, Any]]:
        bench = self._bench
        direct = self._ask_engine()
        settings = ServingSettings(bench.engine, self._config)
        with _running(settings) as (server, watch):
            rows = self._measure_costs(server, direct)
            if bench.requests:
                rows += self._load(
                    server, direct, bench.requests, max(bench.concurrency), "films seen before"
                )
            if bench.aiperf:
                rows += self._run_aiperf(server)
            peak = Value(watch.peak_bytes / 2**30, "GiB", 1)
            rows.append(make_row("server, default caches", "peak memory", peak, "", None))
        # No film is seen before here.
        config = EngineConfig(max_batch=bench.max_batch, prefix_cache_mib=0)
        with _running(ServingSettings(bench.engine, config, 0)) as (server, _):
            for concurrency in bench.concurrency:
                rows += self._load(
                    server, direct, bench.runs * concurrency, concurrency, "new films"
                )
        return rows

    def _ask_engine(self) -> _Direct:
        reader = DirectReader(self._bench.engine, self._config, ServingSettings.film_cache_mib)
        try:
            task = self._progress.add_task("engine alone", total=len(self._films))
            texts = []
            for film in self._films:
                texts.append(reader.read(film, self._bench.tokens).text)
                self._progress.advance(task)
            sent = self._repeat(reader.read, "engine, film sent again")
            named = self._repeat(reader.read_again, "engine, film named")
            reader.reset(film_cache_mib=0)
            encoded = self._repeat(reader.read, "engine, film encoded again")
        finally:
            reader.close()
        return _Direct(texts, sent, named, encoded)

    def _measure_costs(self, server: TritonServer, direct: _Direct) -> list[dict[str, Any]]:
        reader = ServerReader(server.grpc_address)
        ensemble = EnsembleReader(server.http_address)
        try:
            answers = self._repeat(reader.read, "server, film sent again")
            rows = rows_of_cost(_SENT, "Triton", answers, direct.sent)
            answers = self._repeat(reader.read_again, "server, film named")
            rows += rows_of_cost(_NAMED, "Triton", answers, direct.named)
        finally:
            reader.close()
        answers = self._repeat(ensemble.read, "ensemble")
        rows += rows_of_cost(_SENT, "the ensemble", answers, direct.encoded)
        if self._bench.gateway:
            rows += self._measure_gateway(server)
        return rows

    def _measure_gateway(self, server: TritonServer) -> list[dict[str, Any]]:
        from cxr_reason.benchmarks.gateway_reader import running_gateway

        rows = []
        reader = EventReader(server.grpc_address)
        try:
            with running_gateway(server.grpc_address) as gateway:
                for case, direct, through in (
                    (_SENT, reader.read, gateway.read),
                    (_NAMED, reader.read_again, gateway.read_again),
                ):
                    without = self._repeat(direct, f"client, {case}")
                    answers = self._repeat(through, f"gateway, {case}")
                    rows += rows_of_cost(case, "the gateway", answers, without, baseline=TRITON)
        finally:
            reader.close()
        return rows

    def _repeat(self, read: Read, name: str) -> list[Answer]:
        """Ask about the first film again and again; the first answer does not count."""
        repeats = self._bench.repeats
        task = self._progress.add_task(name, total=repeats)
        read(self._films[0], self._bench.tokens)
        answers = []
        for _ in range(repeats):
            answers.append(read(self._films[0], self._bench.tokens))
            self._progress.advance(task)
        if failed := [answer.error for answer in answers if answer.error]:
            raise ServerError(f"benchmark: {len(failed)} of {repeats} requests failed: {failed[0]}")
        return answers

    def _load(
        self, server: TritonServer, direct: _Direct, num_requests: int, concurrency: int, what: str
    ) -> list[dict[str, Any]]:
        case = f"{num_requests} requests, {concurrency} at once, {what}"
        task = self._progress.add_task(case, total=num_requests)
        reader = ServerReader(server.grpc_address)
        try:
            load = run_load(
                reader.read,
                self._films,
                direct.texts,
                num_requests=num_requests,
                concurrency=concurrency,
                max_tokens=self._bench.tokens,
                on_answer=lambda: self._progress.advance(task),
            )
        finally:
            reader.close()
        return rows_of_load(case, load)

    def _run_aiperf(self, server: TritonServer) -> list[dict[str, Any]]:
        bench = self._bench
        rows: list[dict[str, Any]] = []
        for concurrency in bench.concurrency:
            case = f"aiperf, {concurrency} at once"
            task = self._progress.add_task(case, total=1)
            try:
                values = run_aiperf(
                    server.http_address,
                    bench.engine.resolve(),
                    cache=bench.cache,
                    scratch=self._scratch,
                    concurrency=concurrency,
                    num_requests=bench.runs * concurrency,
                    tokens=bench.tokens,
                    size_px=448,
                )
            except EngineError as error:
                # If the tool does not run, the server is not at fault.
                row = make_row(case, "run", None, "aiperf", None)
                return [*rows, {**row, "error": error.message}]
            rows += [make_row(case, metric, value, "", None) for metric, value in values.items()]
            self._progress.advance(task)
        return rows


@contextmanager
def _running(settings: ServingSettings) -> Iterator[tuple[TritonServer, MemoryWatch]]:
    """Start a server on free ports and follow its memory until the end."""
    ended = threading.Event()
    with TritonServer(settings, addresses=Addresses.free()) as server:
        assert server.pid is not None
        watch = MemoryWatch(server.pid)

        def follow() -> None:
            while not ended.wait(_WATCH_INTERVAL_S):
                watch.look()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield server, watch
        finally:
            ended.set()
            thread.join()

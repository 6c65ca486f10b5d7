"""`cxr-reason serve`: an engine behind Triton until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cxr_reason.cli.process import running_server
from cxr_reason.engine.artifact import read_manifest
from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import ServerError
from cxr_reason.reader.film_gate import read_film_gate
from cxr_reason.reading.consensus import read_calibration
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.settings import ServingSettings


def serve(
    engine_dir: Annotated[Path, typer.Argument(help="Engine folder made by `cxr-reason build`.")],
    host: Annotated[
        str, typer.Option(help="Interface to listen on. There is no authentication.")
    ] = Addresses.host,
    http_port: Annotated[
        int, typer.Option(help="Port of HTTP/REST; 0 takes a free one.")
    ] = Addresses.http_port,
    grpc_port: Annotated[
        int, typer.Option(help="Port of gRPC, which `cxr-reason read` uses.")
    ] = Addresses.grpc_port,
    metrics_port: Annotated[
        int, typer.Option(help="Port of the Prometheus page /metrics.")
    ] = Addresses.metrics_port,
    max_batch: Annotated[
        int, typer.Option(help="Requests that decode together.")
    ] = EngineConfig.max_batch,
    max_queue: Annotated[
        int, typer.Option(help="Requests that may wait; one more is answered `busy`.")
    ] = EngineConfig.max_queue,
    context_length: Annotated[
        int, typer.Option(help="Tokens of prompt and answer; 0 takes the engine's limit.")
    ] = EngineConfig.context_length,
    prefill_chunk: Annotated[
        int, typer.Option(help="Prompt tokens between two decoding steps of the others.")
    ] = EngineConfig.prefill_chunk,
    num_threads: Annotated[
        int, typer.Option(help="Threads of the model; 0 takes all physical cores.")
    ] = EngineConfig.num_threads,
    film_cache_mib: Annotated[
        int, typer.Option(help="Memory for encoded films, for questions about a film seen before.")
    ] = 256,
    prefix_cache_mib: Annotated[
        int, typer.Option(help="Memory for keys and values of prompts that may come again.")
    ] = EngineConfig.prefix_cache_mib,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Thresholds for several traces, written by `cxr-reason calibrate`."),
    ] = None,
    film_gate: Annotated[
        Path | None,
        typer.Option(
            help="Flags what is no frontal chest film; written by "
            "`cxr-reason calibrate --film-gate`."
        ),
    ] = None,
    log_file: Annotated[
        Path | None, typer.Option(help="Keep the server's log in this file.")
    ] = None,
) -> None:
    """Serve an engine with Triton until Ctrl-C.

    Uses the `tritonserver` on PATH, else the one of the package nvidia-pytriton.

    Example: cxr-reason serve engines/nano --grpc-port 9001
    """
    console = Console(stderr=True)
    config = EngineConfig(
        max_batch=max_batch,
        max_queue=max_queue,
        context_length=context_length,
        prefill_chunk=prefill_chunk,
        prefix_cache_mib=prefix_cache_mib,
        num_threads=num_threads,
    )
    if calibration is not None:
        read_calibration(calibration)  # now, not in the server's log
    if film_gate is not None:
        read_film_gate(film_gate).check_engine(read_manifest(engine_dir))
    settings = ServingSettings(engine_dir, config, film_cache_mib, calibration, film_gate)
    addresses = Addresses(host, http_port, grpc_port, metrics_port)
    with running_server(console, settings, addresses, log_file) as server:
        console.print(f"gRPC     {server.grpc_address}", highlight=False)
        console.print(f"HTTP     http://{server.http_address}", highlight=False)
        console.print(f"metrics  http://{server.metrics_address}/metrics", highlight=False)
        console.print(f"try      cxr-reason read FILE --server {server.grpc_address}")
        console.print("Ctrl-C stops the server.", style="dim")
        try:
            code = server.wait()
        except KeyboardInterrupt:
            console.print("stopping", style="dim")
            return
    raise ServerError(f"tritonserver ended by itself with code {code}; --log-file keeps its log")

"""The command `cxr-reason`: build an engine, serve it, read a film, evaluate, measure.

cxr-reason build --checkpoint nvidia/NV-Reason-CXR-3B --output engines/nv-reason-cxr-3b
cxr-reason serve engines/nv-reason-cxr-3b
cxr-reason read film.dcm
cxr-reason gateway
cxr-reason evaluate --engine engines/nano --data phantoms
cxr-reason bench kernels
"""

from __future__ import annotations

import importlib
import importlib.util
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from cxr_reason import __version__
from cxr_reason.cli.evaluate import evaluate
from cxr_reason.cli.read import read
from cxr_reason.cli.render import print_error
from cxr_reason.client.client import DEFAULT_ADDRESS
from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import CxrError, InputError, ServerError
from cxr_reason.reading.consensus import read_calibration
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonServer
from cxr_reason.serving.settings import ServingSettings

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


# Measurements run from a clone: they are not part of the wheel.
_HAS_BENCHMARKS = importlib.util.find_spec("cxr_reason.benchmarks") is not None


class _Commands(TyperGroup):
    """Imports compiler and measurements, which need more packages, only when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return ["build", *super().list_commands(ctx), *(["bench"] if _HAS_BENCHMARKS else [])]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name == "build":
            return _load_build()
        if cmd_name == "bench" and _HAS_BENCHMARKS:
            return typer.main.get_command(importlib.import_module("cxr_reason.benchmarks.cli").app)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Read chest radiographs with a reasoning model. Research use only; not a medical device.",
)


@app.command()
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
        typer.Option(
            help="Thresholds for several traces, written by `cxr-reason evaluate --calibration`."
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
    settings = ServingSettings(engine_dir, config, film_cache_mib, calibration)
    addresses = Addresses(host, http_port, grpc_port, metrics_port)
    with interruptible(), running_server(console, settings, addresses, log_file) as server:
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


@app.command()
def gateway(
    server: Annotated[
        str, typer.Option(help="gRPC address of the server, or http://host:port.")
    ] = DEFAULT_ADDRESS,
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8080,
    config: Annotated[
        Path | None, typer.Option(help="TOML file: keys and limits (docs/gateway.md).")
    ] = None,
) -> None:
    """Serve OpenAI's chat completions, readings, and the page to read films on, until Ctrl-C.

    Example: cxr-reason gateway --server 127.0.0.1:8001 --config gateway.toml
    """
    try:
        from cxr_reason.gateway.config import GatewayConfig, read_config
        from cxr_reason.gateway.service import GatewayService, log_to_stderr
    except ModuleNotFoundError as error:
        raise ServerError(
            f"`cxr-reason gateway` needs the package {error.name}: "
            "pip install 'cxr-reason[gateway]'"
        ) from error
    settings = GatewayConfig() if config is None else read_config(config)
    service = GatewayService.for_server(server, settings, host=host, port=port)
    log_to_stderr()
    Console(stderr=True).print(f"gateway  {service.url}", highlight=False)
    service.run()


@app.callback(invoke_without_command=True)
def _show_version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"cxr-reason {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command `cxr-reason`."""
    run(app, arguments)


def run(application: typer.Typer, arguments: list[str] | None = None) -> None:
    """Run a command of this package.

    Exits with 1 on an error, 2 if the input is at fault, 130 on Ctrl-C.

    Args:
        application: The command.
        arguments: Without the program's name; None takes those of the process.
    """
    try:
        application(args=arguments)
    except CxrError as error:
        print_error(Console(stderr=True), error)
        sys.exit(2 if isinstance(error, InputError) else 1)


@contextmanager
def running_server(
    console: Console,
    settings: ServingSettings,
    addresses: Addresses,
    log_path: Path | None = None,
) -> Iterator[TritonServer]:
    """Start a server with its progress on the terminal, and stop it at the end."""
    with console.status("starting Triton") as status:
        server = TritonServer(
            settings, addresses=addresses, log_path=log_path, progress=status.update
        )
        server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def interruptible() -> Iterator[None]:
    """End the command on Ctrl-C and SIGTERM, after what it opened inside has been closed."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


app.command()(interruptible()(read))
app.command()(interruptible()(evaluate))


def _load_build() -> Any:
    loader = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    try:
        from cxr_reason.cli.build import build
    except ModuleNotFoundError as error:
        loader.command("build")(_make_missing_build(error.name))
    else:
        loader.command("build")(build)
    return typer.main.get_command(loader)


def _make_missing_build(module: str | None) -> Any:
    def build() -> None:
        """Compile a checkpoint into an engine. Needs `pip install 'cxr-reason[build]'`."""
        raise ServerError(
            f"`cxr-reason build` needs the package {module}: pip install 'cxr-reason[build]'"
        )

    return build


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

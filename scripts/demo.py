"""Build the bundled checkpoint, serve it with Triton, and read a film: `scripts/demo --help`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydicom.data import get_testdata_file
from rich.console import Console

from cxr_reason.cli.build import build
from cxr_reason.cli.process import interruptible, run, running_server
from cxr_reason.cli.render import print_stream
from cxr_reason.client import Client
from cxr_reason.gateway.config import GatewayConfig
from cxr_reason.gateway.service import GatewayService
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonServer
from cxr_reason.serving.settings import ServingSettings

REPOSITORY = Path(__file__).resolve().parents[1]
CHECKPOINT = REPOSITORY / "checkpoints" / "nano"
ENGINE = REPOSITORY / "engines" / "nano"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def demo(
    film: Annotated[
        Path | None,
        typer.Argument(help="DICOM, PNG or JPEG chest film [default: RG1 of pydicom-data]."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with the reading as one line of JSON on stdout.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server and its page running until Ctrl-C.")
    ] = False,
) -> None:
    """Build, serve and read one film on this machine; then stop the server."""
    console = Console(stderr=as_json)
    build(str(CHECKPOINT), ENGINE, precision="fp32")
    path = film or Path(str(get_testdata_file("RG1_UNCR.dcm", download=False)))
    # Ports that people can type when the server stays, any free ones when it does not.
    addresses = Addresses() if keep else Addresses.free()
    with (
        interruptible(),
        running_server(console, ServingSettings(ENGINE), addresses) as server,
        Client(server.grpc_address) as client,
    ):
        console.print(f"reading {path.name} through Triton at {server.grpc_address}", style="dim")
        reading = print_stream(console, client.stream(path))
        if as_json:
            sys.stdout.write(reading.to_json() + "\n")
            sys.stdout.flush()
        if keep:
            with make_page(server, path).in_background() as url:
                _explain(console, server, f"{url}/#film")
                server.wait()


def make_page(server: TritonServer, film: Path) -> GatewayService:
    """Return the gateway of a server; its page reads the film at the address `/#film`."""
    return GatewayService.for_server(
        server.grpc_address, GatewayConfig(), host="127.0.0.1", port=0, film=film
    )


def _explain(console: Console, server: TritonServer, url: str) -> None:
    command = f".venv/bin/cxr-reason read FILE --server {server.grpc_address}"
    body = '{"image": "data:;base64,…", "prompt": "Find abnormalities and support devices."}'
    console.print("\nThe server stays until Ctrl-C. Read the film in a browser:", style="bold")
    console.print(f"  {url}", highlight=False)
    console.print("or ask the server:", style="bold")
    console.print(f"  {command}", highlight=False)
    console.print(
        f"  curl http://{server.http_address}/v2/models/cxr_reasoning/generate_stream -d '{body}'",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"  curl http://{server.metrics_address}/metrics", highlight=False)


if __name__ == "__main__":
    run(app)

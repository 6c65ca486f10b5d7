"""`cxr-reason gateway`: the HTTP service and the page, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cxr_reason.client.client import DEFAULT_ADDRESS
from cxr_reason.extras import require


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
    require("gateway", what="gateway")
    from cxr_reason.gateway.config import GatewayConfig, read_config
    from cxr_reason.gateway.service import GatewayService, log_to_stderr

    settings = GatewayConfig() if config is None else read_config(config)
    service = GatewayService.for_server(server, settings, host=host, port=port)
    log_to_stderr()
    Console(stderr=True).print(f"gateway  {service.url}", highlight=False)
    service.run()

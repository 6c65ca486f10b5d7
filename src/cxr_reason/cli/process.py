"""How a command runs: its exit code, its end on Ctrl-C, and a server that ends with it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from cxr_reason.cli.render import print_error
from cxr_reason.errors import CxrError, InputError

if TYPE_CHECKING:
    from cxr_reason.serving.addresses import Addresses
    from cxr_reason.serving.launcher import TritonServer
    from cxr_reason.serving.settings import ServingSettings

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def run(application: Callable[..., object], arguments: list[str] | None = None) -> None:
    """Run a command of this package.

    Exits with 1 on an error, 2 if the input is at fault, 130 on Ctrl-C.

    Args:
        application: The command, a `typer.Typer`.
        arguments: Without the program's name; None takes those of the process.
    """
    try:
        application(args=arguments)
    except CxrError as error:
        print_error(Console(stderr=True), error)
        sys.exit(2 if isinstance(error, InputError) else 1)


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


@contextmanager
def running_server(
    console: Console,
    settings: ServingSettings,
    addresses: Addresses,
    log_path: Path | None = None,
) -> Iterator[TritonServer]:
    """Start a server with its progress on the terminal, and stop it at the end."""
    from cxr_reason.serving.launcher import TritonServer

    with console.status("starting Triton") as status:
        server = TritonServer(
            settings, addresses=addresses, log_path=log_path, progress=status.update
        )
        server.start()
    try:
        yield server
    finally:
        server.stop()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

"""Chest X-ray reasoning models: from a radiograph to reasoning that a reader can audit.

with cxr_reason.load("engines/nano") as reader:       # in this process
    print(reader.read("film.dcm").findings)
with cxr_reason.connect("127.0.0.1:8001") as reader:  # with a server: the same calls
    ...

Importing this package loads neither torch, onnxruntime, pydicom nor tritonclient. A research tool,
not a medical device.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from cxr_reason.settings import ReadingSettings, check_setting

if TYPE_CHECKING:
    from cxr_reason.client import AsyncClient, Client
    from cxr_reason.engine.config import EngineConfig
    from cxr_reason.errors import CxrError
    from cxr_reason.reading.reading import Reading

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Client",
    "CxrError",
    "Reading",
    "__version__",
    "connect",
    "load",
]

_HOMES = {
    "AsyncClient": "cxr_reason.client",
    "Client": "cxr_reason.client",
    "CxrError": "cxr_reason.errors",
    "Reading": "cxr_reason.reading.reading",
}


def load(
    engine: str | os.PathLike[str],
    *,
    config: EngineConfig | None = None,
    calibration: str | os.PathLike[str] | None = None,
    film_gate: str | os.PathLike[str] | None = None,
    timeout_s: float = ReadingSettings.timeout_s,
) -> Client:
    """Load an engine into this process and return a client that uses it.

    Args:
        engine: Folder made by `cxr-reason build`.
        config: How the engine runs: threads, requests that decode together, memory.
        calibration: File of thresholds for readings with several traces (docs/engine.md).
        film_gate: File by which films that are no frontal chest film get a flag (docs/engine.md).
        timeout_s: Seconds for one request.

    Returns:
        The same kind of client as `connect` returns; closing it frees the engine.

    Raises:
        ArtifactError: The folder is not an engine that this release can run.
        BadRequestError: A file is not a calibration, or no film gate of the engine's checkpoint,
            or `timeout_s` is not over 0.
    """
    from cxr_reason.client import Client
    from cxr_reason.client.local_transport import LocalTransport

    timeout_s = check_setting("timeout_s", timeout_s)  # before the engine takes its time
    transport = LocalTransport.open(engine, config, calibration, film_gate)
    return Client(timeout_s=timeout_s, transport=transport)


def connect(address: str | None = None, *, timeout_s: float = ReadingSettings.timeout_s) -> Client:
    """Return a client of a running server.

    Args:
        address: "host:port" of its gRPC service, or "http://host:port"; None takes the address at
            which `cxr-reason serve` listens by default.
        timeout_s: Seconds for one request.

    Raises:
        BadRequestError: The address is neither host:port nor an http(s) URL, or `timeout_s` is not
            over 0.
    """
    from cxr_reason.client import Client
    from cxr_reason.client.client import DEFAULT_ADDRESS

    return Client(DEFAULT_ADDRESS if address is None else address, timeout_s=timeout_s)


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

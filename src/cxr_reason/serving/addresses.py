"""Host and ports of a server."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace

from cxr_reason.errors import ServerError


@dataclass(frozen=True)
class Addresses:
    """Where a server listens.

    Attributes:
        host: Interface; the default is reachable from this machine only. There is no
            authentication: put a gateway in front before naming another.
        http_port: Port of HTTP/REST; 0 takes a free one, as with the other two.
        grpc_port: Port of gRPC.
        metrics_port: Port of the page `/metrics`.
    """

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002

    @classmethod
    def free(cls, host: str = "127.0.0.1") -> Addresses:
        """Return addresses with three free ports, chosen when the server starts."""
        return cls(host, 0, 0, 0)

    @property
    def http(self) -> str:
        """Host and port of HTTP/REST."""
        return f"{self.host}:{self.http_port}"

    @property
    def grpc(self) -> str:
        """Host and port of gRPC."""
        return f"{self.host}:{self.grpc_port}"

    @property
    def metrics(self) -> str:
        """Host and port of the page `/metrics`."""
        return f"{self.host}:{self.metrics_port}"

    def resolve(self) -> Addresses:
        """Return these addresses with free ports in place of 0.

        Raises:
            ServerError: A port is taken, or the host is not one of this machine's.
        """
        names = ("http_port", "grpc_port", "metrics_port")
        # All are bound before any is released, so that no port is given out twice.
        sockets = [self._bind(name, getattr(self, name)) for name in names]
        ports = [bound.getsockname()[1] for bound in sockets]
        for bound in sockets:
            bound.close()
        return replace(self, **dict(zip(names, ports, strict=True)))

    def arguments(self) -> list[str]:
        """Return the command-line arguments of `tritonserver`."""
        return [
            f"--{service}-{what}={value}"
            for service in ("http", "grpc", "metrics")
            for what, value in (
                ("address", self.host),
                ("port", getattr(self, f"{service}_port")),
            )
        ]

    def _bind(self, name: str, port: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # As the server does: a port that only waits for old connections to end is free.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((self.host, port))
        except OSError as error:
            bound.close()
            option = name.replace("_", "-")
            raise ServerError(
                f"cannot listen on {self.host}:{port} ({error.strerror}); another server may run "
                f"there: choose another --{option}, 0 for any free one"
            ) from error
        return bound

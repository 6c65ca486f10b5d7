"""The gateway as a process: uvicorn, its log, and how it ends."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from cxr_reason.client import AsyncClient
from cxr_reason.errors import ServerError
from cxr_reason.gateway.app import PAGE, make_app
from cxr_reason.gateway.config import GatewayConfig

_GRACE_S = 5  # for answers under way when the gateway is stopped


class GatewayService:
    """A gateway on a port of its own, taken at once.

    Args:
        client: Asks the server; closed when the service ends.
        config: Keys and limits.
        host: Interface.
        port: Port; 0 takes a free one.
        page: Folder of the built page.
        film: File that the page opens by itself; its address is `url` with `/#film` then.

    Attributes:
        url: Where it answers.

    Raises:
        BadRequestError: The host is reachable from elsewhere and there are no keys.
        ServerError: The port is taken, or the host is not one of this machine's.
    """

    def __init__(
        self,
        client: AsyncClient,
        config: GatewayConfig,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        page: Path = PAGE,
        film: Path | None = None,
    ) -> None:
        config.check_host(host)
        self._socket = _bind(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                make_app(client, config, page=page, film=film),
                # Its lines name addresses and whole URLs.
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )

    @classmethod
    def for_server(
        cls,
        server: str,
        config: GatewayConfig,
        *,
        host: str,
        port: int,
        film: Path | None = None,
    ) -> GatewayService:
        """Return the gateway of a server at an address, given as for `Client`."""
        # A caller's own library repeats a request that was refused; two that do would multiply.
        client = AsyncClient(server, timeout_s=config.timeout_s, max_retries=0)
        return cls(client, config, host=host, port=port, film=film)

    def run(self) -> None:
        """Answer until a signal."""
        self._uvicorn.run(sockets=[self._socket])

    @contextmanager
    def in_background(self) -> Iterator[str]:
        """Answer in a thread; at the end wait for the answers under way.

        Yields:
            `url`, once it answers.

        Raises:
            ServerError: It did not start.
        """
        thread = threading.Thread(target=self.run, name="gateway", daemon=True)
        thread.start()
        try:
            while thread.is_alive() and not self._uvicorn.started:
                thread.join(0.01)
            if not self._uvicorn.started:
                raise ServerError("gateway: ended as it started; its log says why")
            yield self.url
        finally:
            self._uvicorn.should_exit = True
            thread.join(2 * _GRACE_S)


def log_to_stderr() -> None:
    """Send the gateway's own lines, and nothing of other libraries below warnings, to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("cxr_reason.gateway")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off, which would hold tokens back, only where TCP is named.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ServerError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --port, 0 for any "
            "free one"
        ) from error
    return bound

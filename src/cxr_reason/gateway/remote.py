"""Films from remote URLs: off unless the config allows the host.

A server that fetches URLs for its callers can reach hosts that they cannot. Therefore: only
allowed hosts, no redirects, and the address that was checked is the one that is connected to (a
name may resolve differently a moment later).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from cxr_reason.gateway.api_errors import ApiError, bad_request, too_large
from cxr_reason.gateway.config import GatewayConfig

_TIMEOUT_S = 20.0
_CHUNK_BYTES = 2**16
_PORTS = {"http": 80, "https": 443}
# An IPv6 address in here stands for an IPv4 address behind a translator (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")


async def fetch(url: str, config: GatewayConfig) -> bytes:
    """Return the body that a remote URL has.

    Args:
        url: An http or https URL.
        config: Hosts and limits.

    Raises:
        ApiError: Its host is not allowed or has a private address; or the film cannot be fetched.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), 0
    host = (parts.hostname or "").lower()
    is_default = port == _PORTS.get(parts.scheme)
    names = {f"{host}:{port}", *([host] if is_default else [])}
    is_allowed = bool(names & set(config.allowed_image_hosts))
    if not host or parts.scheme not in _PORTS or not is_allowed:
        raise bad_request(
            "image: give a data: URL; remote URLs are allowed only for hosts that this gateway "
            "was configured for",
            param="image_url",
            code="invalid_image_url",
        )
    return await asyncio.to_thread(_get, parts, host, port, config.limits.max_film_bytes)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is one of the open internet, whatever it is wrapped in."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None or address.teredo is not None or address in _NAT64:
            return False
    return address.is_global and not address.is_multicast


def resolve(host: str, port: int) -> str:
    """Return an address of a host, all of whose addresses are public.

    Raises:
        ApiError: It has none, or one that is not public.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _unreachable() from error
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(is_public(ip_address(address)) for address in addresses):
        raise bad_request(
            "image: the host of the URL has an address that is not public",
            param="image_url",
            code="invalid_image_url",
        )
    return addresses[0]


class _PinnedConnection(HTTPConnection):
    """Connects to a given address, whatever the name says by now."""

    def __init__(self, host: str, port: int, address: str, *, is_secure: bool) -> None:
        super().__init__(host, port, timeout=_TIMEOUT_S)
        self._address = address
        self._is_secure = is_secure

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._is_secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host)


def _get(parts: SplitResult, host: str, port: int, max_bytes: int) -> bytes:
    connection = _PinnedConnection(
        host, port, resolve(host, port), is_secure=parts.scheme == "https"
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", target, headers={"Accept-Encoding": "identity"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise bad_request(
                f"image: the URL answered with status {answer.status}; redirects are not followed",
                param="image_url",
                code="invalid_image_url",
            )
        return _read(answer, max_bytes)
    except (OSError, HTTPException, ValueError) as error:
        raise _unreachable() from error
    finally:
        connection.close()


def _read(answer: object, max_bytes: int) -> bytes:
    deadline_s = time.monotonic() + _TIMEOUT_S
    body = bytearray()
    while chunk := answer.read(_CHUNK_BYTES):  # type: ignore[attr-defined]
        body += chunk
        if len(body) > max_bytes:
            raise too_large(
                f"image: the URL holds more than the limit of {max_bytes} bytes", param="image_url"
            )
        if time.monotonic() > deadline_s:
            raise _unreachable()
    return bytes(body)


def _unreachable() -> ApiError:
    return bad_request(
        f"image: the URL could not be fetched in {_TIMEOUT_S:g} s",
        param="image_url",
        code="invalid_image_url",
    )

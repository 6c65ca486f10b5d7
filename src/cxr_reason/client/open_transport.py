"""Address → transport."""

from __future__ import annotations

from cxr_reason.client.grpc_transport import GrpcTransport
from cxr_reason.client.http_transport import HttpTransport
from cxr_reason.client.transport import Transport
from cxr_reason.errors import BadRequestError, ServerUnavailableError

DEFAULT_ADDRESS = "127.0.0.1:8001"


def open_transport(address: str) -> Transport:
    """Return the transport that an address means.

    Args:
        address: "host:port" for gRPC; "http://host:port" or "https://host:port" for HTTP.

    Raises:
        BadRequestError: The address is neither of them.
    """
    if address.startswith(("http://", "https://")):
        return HttpTransport(address)
    if "/" in address or not address.rpartition(":")[2].isdigit():
        raise BadRequestError(
            "address: must be host:port of the server's gRPC service, or http://host:port of its "
            "HTTP service"
        )
    return GrpcTransport(address)


def ended_early(transport: Transport) -> ServerUnavailableError:
    """Return the error of a stream that ended without a reading."""
    return ServerUnavailableError(
        f"server {transport.address}: the stream ended before the reading; ask again"
    )

"""Requests over gRPC: the film travels as it is, and one stream carries one request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]
from tritonclient.grpc import service_pb2, service_pb2_grpc

from cxr_reason.client.exchange import GRACE_S, Exchange
from cxr_reason.client.transport import Call, Deliver, Request, Response, Transport
from cxr_reason.client.wire import make_request, read_response
from cxr_reason.contract import (
    CANCEL_PARAMETER,
    FINISH_REASON,
    PROMPT,
    READING,
    REASON_MODEL,
    TEXT,
)
from cxr_reason.errors import (
    CxrError,
    RequestCancelledError,
    ServerUnavailableError,
    from_wire,
)

# The server's own limits decide: gRPC's default of 4 MB is less than one film.
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


class GrpcTransport(Transport):
    """Talks to Triton's gRPC service.

    Args:
        address: "host:port".
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    @property
    def address(self) -> str:
        """See `Transport`."""
        return self._address

    def start(self, request: Request, deliver: Deliver) -> Call:
        """See `Transport`."""
        return _GrpcExchange(self._stub, self._address, request, deliver)

    def is_ready(self, timeout_s: float) -> bool:
        """See `Transport`."""
        request = service_pb2.ModelReadyRequest(name=REASON_MODEL.name)
        try:
            return bool(self._stub.ModelReady(request, timeout=timeout_s).ready)
        except grpc.RpcError:
            return False

    def close(self) -> None:
        """See `Transport`."""
        self._channel.close()


class _GrpcExchange(Exchange):
    def __init__(self, stub: Any, address: str, request: Request, deliver: Deliver) -> None:
        super().__init__(address, request, deliver)
        timeout_s = request.timeout_s + GRACE_S
        self._call: Any = stub.ModelStreamInfer(self._outgoing(), timeout=timeout_s)
        self._start()

    def abandon(self) -> None:
        call = self._call
        if call is not None:
            call.cancel()  # does nothing to a stream that has ended

    def _outgoing(self) -> Iterator[Any]:
        """Yield the messages to send; runs on a thread of gRPC, which waits in here."""
        message = make_request(REASON_MODEL, self._request.inputs)
        message.id = self._request.id
        yield message
        if self._is_stop_due():
            stop = make_request(REASON_MODEL, {PROMPT.name: b""})
            stop.id = self._request.id
            stop.parameters[CANCEL_PARAMETER].bool_param = True
            yield stop

    def _responses(self) -> Iterator[Response]:
        try:
            for message in self._call:
                if message.error_message:
                    raise from_wire(message.error_message)
                if message.infer_response.outputs:
                    outputs = read_response(message.infer_response)
                    yield Response(
                        outputs[TEXT.name].decode(),
                        outputs[FINISH_REASON.name].decode(),
                        outputs[READING.name],
                    )
        except grpc.RpcError as error:
            raise self._explain(error) from error
        finally:
            # Freed here and not as the interpreter exits: freeing it takes a lock that a thread of
            # gRPC may hold for ever then.
            self._call = None

    def _explain(self, error: Any) -> CxrError:
        code = error.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            return ServerUnavailableError(
                f"server {self._address}: cannot be reached or went away; "
                "is it running (`cxr-reason serve`) and is this its gRPC address?"
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return self._timeout()
        if code is grpc.StatusCode.CANCELLED:
            return RequestCancelledError(f"server {self._address}: the request was cancelled")
        return from_wire(error.details() or code.name)

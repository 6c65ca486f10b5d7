"""One request and its stream of responses, ended in a way that the server survives.

Cancelling a gRPC call while its responses are being written can crash tritonserver before 24.12
(https://github.com/triton-inference-server/server/pull/7840), and with it every other request. So a
caller who leaves, or whose time is over, sends a second message on the same stream that asks the
model to stop, and the stream ends in order. Only a server that does not react is cut off.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]

from cxr_reason.client.wire import make_request, read_response
from cxr_reason.contract import CANCEL_PARAMETER, FINISH_REASON, PROMPT, REASON_MODEL
from cxr_reason.errors import (
    CxrError,
    RequestCancelledError,
    RequestTimeoutError,
    ServerUnavailableError,
    from_wire,
)

GRACE_S = 5.0  # for the server to end a request that it was asked to end


class Exchange:
    """One request to `reason`. Iterate for the outputs of each response; then `end` it.

    Args:
        stub: `GRPCInferenceServiceStub` of the server.
        address: The server, for messages.
        request: A `ModelInferRequest`; gets an id here.
        timeout_s: Seconds until the request is given up.
    """

    def __init__(self, stub: Any, address: str, request: Any, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._timed_out = False
        self._finished = False
        self._leaving = threading.Event()
        # Cannot be guessed: nobody else can stop this request.
        request.id = uuid.uuid4().hex
        self._call = stub.ModelStreamInfer(self._outgoing(request), timeout=timeout_s + GRACE_S)
        self._received: SimpleQueue[dict[str, bytes] | CxrError | None] = SimpleQueue()
        # A thread reads the stream to its end whatever happens to the caller: gRPC cannot go on
        # with a call after Ctrl-C has interrupted the wait for its next message.
        self._reader = threading.Thread(target=self._read, name="exchange", daemon=True)
        self._reader.start()

    def __iter__(self) -> Iterator[dict[str, bytes]]:
        """Yield outputs by name.

        Raises:
            CxrError: What the server reports, `RequestTimeoutError` when the time is over, or
                `ServerUnavailableError` when the server cannot be reached or goes away.
        """
        while (received := self._received.get()) is not None:
            if isinstance(received, CxrError):
                raise received
            yield received

    def end(self) -> None:
        """Stop the request if it is not finished, and close the stream."""
        self._leaving.set()
        self._reader.join(GRACE_S)
        self._call.cancel()  # does nothing to a stream that has ended

    def _outgoing(self, request: Any) -> Iterator[Any]:
        """Yield the messages to send; runs on a thread of gRPC, which waits in here."""
        yield request
        is_leaving = self._leaving.wait(self._timeout_s)
        if not self._finished:
            self._timed_out = not is_leaving
            stop = make_request(REASON_MODEL, {PROMPT.name: b""})
            stop.id = request.id
            stop.parameters[CANCEL_PARAMETER].bool_param = True
            yield stop

    def _read(self) -> None:
        try:
            for message in self._call:
                if message.error_message:
                    self._finish()
                    self._received.put(self._explain_answer(from_wire(message.error_message)))
                elif message.infer_response.outputs:
                    outputs = read_response(message.infer_response)
                    if outputs[FINISH_REASON.name]:
                        self._finish()
                    self._received.put(outputs)
        except grpc.RpcError as error:
            explained = self._explain_transport(error)
            explained.__cause__ = error
            self._received.put(explained)
        finally:
            self._finish()
            self._received.put(None)

    def _finish(self) -> None:
        self._finished = True
        self._leaving.set()

    def _explain_answer(self, error: CxrError) -> CxrError:
        if self._timed_out and isinstance(error, RequestCancelledError):
            return self._timeout()
        return error

    def _explain_transport(self, error: Any) -> CxrError:
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

    def _timeout(self) -> RequestTimeoutError:
        return RequestTimeoutError(
            f"server {self._address}: no complete answer in {self._timeout_s:g} s; "
            "allow more time or fewer tokens"
        )

"""One request and its stream of responses, ended in a way that the server survives.

Cancelling a gRPC call while its responses are being written can crash tritonserver before 24.12
(https://github.com/triton-inference-server/server/pull/7840), and with it every other request. So a
caller who leaves, or whose time is over, sends a second message that asks the model to stop, and
the stream ends in order. Only a server that does not react is cut off.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator

from cxr_reason.client.transport import Call, Deliver, Request, Response
from cxr_reason.errors import CxrError, RequestCancelledError, RequestTimeoutError

GRACE_S = 5.0  # for the server to end a request that it was asked to end


class Exchange(Call):
    """What the exchanges over gRPC and HTTP share.

    A thread reads the stream to its end whatever happens to the caller: neither gRPC nor HTTP can
    go on with a stream after Ctrl-C has interrupted the wait for its next message.

    Args:
        address: The server, for messages.
        request: The request.
        deliver: See `Transport.start`.
    """

    def __init__(self, address: str, request: Request, deliver: Deliver) -> None:
        self._address = address
        self._request = request
        self._deliver = deliver
        self._is_timed_out = False
        self._finished = threading.Event()
        self._leaving = threading.Event()

    def stop(self) -> None:
        """See `Call`."""
        self._leaving.set()

    @abstractmethod
    def _responses(self) -> Iterator[Response]:
        """Yield the responses.

        Raises:
            CxrError: What the server reports, or what happened to the connection.
        """

    def _start(self) -> None:
        threading.Thread(target=self._read, name="exchange", daemon=True).start()

    def _is_stop_due(self) -> bool:
        """Wait until the request ends, its time is over or its caller leaves.

        Returns:
            Whether the server must be asked to stop.
        """
        is_leaving = self._leaving.wait(self._request.timeout_s)
        if self._finished.is_set():
            return False
        self._is_timed_out = not is_leaving
        return True

    def _read(self) -> None:
        try:
            for response in self._responses():
                if response.finish_reason:
                    self._finish()
                self._deliver(response)
        except CxrError as error:
            self._finish()
            is_late = self._is_timed_out and isinstance(error, RequestCancelledError)
            self._deliver(self._timeout() if is_late else error)
        finally:
            self._finish()
            self._deliver(None)

    def _finish(self) -> None:
        self._finished.set()
        self._leaving.set()

    def _timeout(self) -> RequestTimeoutError:
        return RequestTimeoutError(
            f"server {self._address}: no complete answer in {self._request.timeout_s:g} s; "
            "allow more time or fewer tokens"
        )

"""Requests to an engine in this process: no server, no port, the same answers."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_reason.client.transport import Call, Deliver, Request, Response, Transport
from cxr_reason.errors import (
    CapacityError,
    CxrError,
    RequestCancelledError,
    RequestTimeoutError,
)
from cxr_reason.extras import require
from cxr_reason.reading.consensus import UNCALIBRATED, read_calibration

if TYPE_CHECKING:
    from typing_extensions import Self

    from cxr_reason.engine.config import EngineConfig
    from cxr_reason.reader.local import LocalReader
    from cxr_reason.reader.reader import Part


class LocalTransport(Transport):
    """Calls a reader in this process, as httpx can call an application in the same process.

    Args:
        reader: The reader; closed with this object.
    """

    def __init__(self, reader: LocalReader) -> None:
        self._reader = reader
        self._live: set[_LocalCall] = set()
        self._is_closed = False

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        config: EngineConfig | None = None,
        calibration: str | os.PathLike[str] | None = None,
        film_gate: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Load an engine artifact.

        Args:
            folder: The artifact.
            config: How it runs.
            calibration: File of thresholds for readings with several traces.
            film_gate: File by which films that are no frontal chest film get a flag.

        Raises:
            MissingExtraError: The extra `engine` is not installed.
            ArtifactError: The folder is not an engine that this release can run.
            BadRequestError: A file is not a calibration, or no film gate of this checkpoint.
        """
        try:
            from cxr_reason.reader.film_gate import read_film_gate
            from cxr_reason.reader.local import LocalReader
        except ModuleNotFoundError:
            require("engine", what="load")
            raise

        meaning = UNCALIBRATED if calibration is None else read_calibration(Path(calibration))
        gate = None if film_gate is None else read_film_gate(Path(film_gate))
        return cls(LocalReader.open(Path(folder), config, calibration=meaning, film_gate=gate))

    @property
    def address(self) -> str:
        """See `Transport`."""
        return "in this process"

    def start(self, request: Request, deliver: Deliver) -> Call:
        """See `Transport`."""
        return _LocalCall(self._reader, request, deliver, self._live)

    def is_ready(self, timeout_s: float) -> bool:
        """See `Transport`."""
        return not self._is_closed

    def close(self) -> None:
        """See `Transport`."""
        self._is_closed = True
        for call in list(self._live):
            call.stop()
        self._reader.close()


class _LocalCall(Call):
    def __init__(
        self, reader: LocalReader, request: Request, deliver: Deliver, live: set[_LocalCall]
    ) -> None:
        # Its packages are needed only with a reader in this process.
        from cxr_reason.reader.cancellation import Cancellation

        self._timeout_s = request.timeout_s
        self._deliver = deliver
        self._live = live
        self._cancellation = Cancellation()
        self._is_timed_out = False
        self._timer = threading.Timer(request.timeout_s, self._give_up)
        self._timer.daemon = True
        live.add(self)
        self._timer.start()
        try:
            reader.start(request.inputs, self._cancellation, self._take, self._end)
        except CapacityError as error:
            self._end(error)

    def stop(self) -> None:
        self._cancellation.set()

    def abandon(self) -> None:
        self._cancellation.set()

    def _give_up(self) -> None:
        self._is_timed_out = True
        self._cancellation.set()

    def _take(self, part: Part) -> None:
        reading = part.reading.to_json().encode() if part.reading else b""
        self._deliver(Response(part.text, part.finish_reason or "", reading))

    def _end(self, error: Exception | None) -> None:
        self._timer.cancel()
        self._live.discard(self)
        if error is not None:
            self._deliver(self._explain(error))
        self._deliver(None)

    def _explain(self, error: Exception) -> CxrError:
        from cxr_reason.reader.failures import as_cxr_error

        if self._is_timed_out and isinstance(error, RequestCancelledError):
            return RequestTimeoutError(
                f"no complete answer in {self._timeout_s:g} s; allow more time or fewer tokens"
            )
        return as_cxr_error(error)

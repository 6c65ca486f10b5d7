"""An engine in this process, with what a server has around it: film cache, places, calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from cxr_reason.engine.base import Engine
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.registry import load_engine
from cxr_reason.reader.cancellation import Cancellation
from cxr_reason.reader.encoder import FilmEncoder
from cxr_reason.reader.film_cache import DEFAULT_FILM_CACHE_MIB, FilmCache
from cxr_reason.reader.film_gate import FilmGate
from cxr_reason.reader.reader import Part, Reader
from cxr_reason.reader.request import ReadRequest, Value, shorten
from cxr_reason.reader.threads import RequestThreads
from cxr_reason.reading.consensus import UNCALIBRATED, Calibration
from cxr_reason.usage import Usage


class LocalReader:
    """Answers requests with an engine in this process. Thread-safe.

    Args:
        engine: Loaded with both parts; closed with this object.
        config: Its places: requests that decode together, and that may wait.
        film_cache_mib: Memory for encoded films, in MiB; 0 keeps none.
        calibration: Thresholds for the states of findings with several traces.
        film_gate: Flags films that are no frontal chest film; None flags none.

    Raises:
        BadRequestError: The film gate was made with another checkpoint or pixel budget.
    """

    def __init__(
        self,
        engine: Engine,
        config: EngineConfig | None = None,
        *,
        film_cache_mib: int = DEFAULT_FILM_CACHE_MIB,
        calibration: Calibration = UNCALIBRATED,
        film_gate: FilmGate | None = None,
    ) -> None:
        self._engine = engine
        self._threads = RequestThreads(config or EngineConfig())
        self._reader = Reader(
            engine, FilmEncoder(engine), FilmCache(film_cache_mib * 2**20), calibration, film_gate
        )

    @classmethod
    def open(
        cls,
        folder: Path,
        config: EngineConfig | None = None,
        *,
        film_cache_mib: int = DEFAULT_FILM_CACHE_MIB,
        calibration: Calibration = UNCALIBRATED,
        film_gate: FilmGate | None = None,
    ) -> LocalReader:
        """Load an engine artifact. See `load_engine` and the class for arguments and errors."""
        engine = load_engine(folder, config)
        try:
            return cls(
                engine,
                config,
                film_cache_mib=film_cache_mib,
                calibration=calibration,
                film_gate=film_gate,
            )
        except BaseException:
            engine.close()
            raise

    def start(
        self,
        inputs: Mapping[str, Value],
        cancellation: Cancellation,
        on_part: Callable[[Part], None],
        on_end: Callable[[Exception | None], None],
    ) -> None:
        """Answer a request on a thread of its own, and return at once.

        Args:
            inputs: Values of `contract.REASON_MODEL` by name.
            cancellation: Ends the request within one decoding step.
            on_part: Called with each part of the answer.
            on_end: Called once at the end, with the error if there was one.

        Raises:
            CapacityError: All places are taken.
        """

        def answer() -> None:
            try:
                # As a server gets them, so that both give the same text.
                request = ReadRequest.from_inputs(
                    {
                        name: shorten(np.float32(value)) if isinstance(value, float) else value
                        for name, value in inputs.items()
                    }
                )
                for part in self._reader.answer(request, cancellation, _ignore):
                    on_part(part)
            except Exception as error:  # the caller must get an answer
                on_end(error)
            else:
                on_end(None)

        self._threads.start(answer)

    def close(self) -> None:
        """Cancel what runs and free the engine. Idempotent."""
        self._engine.close()
        self._threads.close()


def _ignore(_: Usage) -> None:
    """Tokens and times of a generation are in its reading."""

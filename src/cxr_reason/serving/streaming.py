"""Triton glue for the model that streams its response: `reason`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from cxr_reason.contract import (
    CANCEL_PARAMETER,
    DIGEST_PARAMETER,
    FILM,
    FINISH_REASON,
    GRID,
    IMAGE,
    PATCHES,
    PREPROCESS,
    READING,
    REASON_MODEL,
    TEXT,
    VISION,
    VISUAL_TOKENS,
)
from cxr_reason.engine.backend import DECODER
from cxr_reason.engine.base import Engine, VisualInput
from cxr_reason.engine.registry import load_engine
from cxr_reason.errors import (
    CapacityError,
    CxrError,
    GenerationError,
    InputError,
    RequestCancelledError,
    from_wire,
)
from cxr_reason.film.info import FilmInfo
from cxr_reason.reader.cancellation import Cancellation
from cxr_reason.reader.failures import as_cxr_error
from cxr_reason.reader.film_cache import EncodedFilm, FilmCache
from cxr_reason.reader.film_gate import read_film_gate
from cxr_reason.reader.reader import Part, Reader
from cxr_reason.reader.request import ReadRequest, Value
from cxr_reason.reader.threads import RequestThreads
from cxr_reason.reading.consensus import UNCALIBRATED, read_calibration
from cxr_reason.serving.cancellation import CancellationWatcher
from cxr_reason.serving.failures import log_through_triton, make_triton_error
from cxr_reason.serving.metrics import Metrics, RequestMetrics
from cxr_reason.serving.settings import ServingSettings
from cxr_reason.serving.tensors import make_array, make_tensors, read_inputs


class StreamingModel:
    """Answers each request on a thread of its own, as many as the engine takes.

    Args:
        pb_utils: The module `triton_python_backend_utils`.
        engine: Loaded with its part "decoder"; closed with this object.
        settings: The bounds of the queue and of the film cache.
    """

    def __init__(self, pb_utils: Any, engine: Engine, settings: ServingSettings) -> None:
        log_through_triton(pb_utils)
        self._pb_utils = pb_utils
        self._engine = engine
        self._films = FilmCache(settings.film_cache_mib * 2**20)
        path = settings.calibration
        calibration = read_calibration(path) if path else UNCALIBRATED
        gate = read_film_gate(settings.film_gate) if settings.film_gate else None
        self._reader = Reader(engine, self._encode_film, self._films, calibration, gate)
        self._threads = RequestThreads(settings.engine_config)
        self._watcher = CancellationWatcher()
        # By request id. An entry is removed when its request ends.
        self._cancellations: WeakValueDictionary[str, Cancellation] = WeakValueDictionary()
        self._metrics = Metrics(pb_utils)

    @classmethod
    def from_environment(cls, pb_utils: Any) -> StreamingModel:
        """Load the decoder of the engine that the environment names."""
        settings = ServingSettings.from_environment()
        engine = load_engine(settings.engine_dir, settings.engine_config, parts={DECODER})
        return cls(pb_utils, engine, settings)

    def execute(self, requests: Sequence[Any]) -> None:
        """Take the requests and return at once; the answers come from their threads."""
        for request in requests:
            self._accept(request)

    def close(self) -> None:
        """Cancel what runs and free the engine."""
        self._engine.close()
        self._threads.close()
        self._watcher.close()

    def _accept(self, request: Any) -> None:
        sender = request.get_response_sender()
        if CANCEL_PARAMETER in json.loads(request.parameters()):
            self._cancel(request.request_id())
            sender.send(flags=self._final)
            return
        cancellation = Cancellation()
        try:
            inputs = read_inputs(self._pb_utils, request, REASON_MODEL)
            self._cancellations[request.request_id()] = cancellation
            self._threads.start(lambda: self._answer(inputs, sender, cancellation))
        except Exception as error:  # the caller must get an answer
            failure = as_cxr_error(error)
            self._metrics.count(_outcome_of(failure))
            self._send_error(sender, failure)

    def _cancel(self, request_id: str) -> None:
        # Without an id there is nothing to tell one caller's request from another's.
        cancellation = self._cancellations.get(request_id) if request_id else None
        if cancellation is not None:
            cancellation.set()

    def _answer(self, inputs: Mapping[str, Value], sender: Any, cancellation: Cancellation) -> None:
        with self._metrics.request() as metrics:
            try:
                with self._watcher.watch(cancellation, sender.is_cancelled):
                    last = self._stream(inputs, sender, cancellation, metrics)
                metrics.outcome = str(last.finish_reason)
                sender.send(self._make_response(last), flags=self._final)
            except Exception as error:  # the caller must get an answer
                failure = as_cxr_error(error)
                metrics.outcome = _outcome_of(failure)
                self._send_error(sender, failure)
            finally:
                self._metrics.record_caches(
                    {**self._engine.cache_bytes(), "films": self._films.size_bytes}
                )

    def _stream(
        self,
        inputs: Mapping[str, Value],
        sender: Any,
        cancellation: Cancellation,
        metrics: RequestMetrics,
    ) -> Part:
        """Send every part but the last, and return that."""
        request = ReadRequest.from_inputs(inputs)
        parts = self._reader.answer(request, cancellation, self._metrics.record_usage)
        for part in parts:
            metrics.start_generating()
            if part.finish_reason is not None:
                return part
            sender.send(self._make_response(part))
        raise GenerationError("the engine ended without a finish reason")

    @property
    def _final(self) -> int:
        return int(self._pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _make_response(self, part: Part) -> Any:
        outputs: dict[str, Value] = {
            TEXT.name: part.text.encode(),
            FINISH_REASON.name: (part.finish_reason or "").encode(),
            READING.name: part.reading.to_json().encode() if part.reading else b"",
        }
        tensors = make_tensors(self._pb_utils, outputs, REASON_MODEL.outputs)
        return self._pb_utils.InferenceResponse(tensors)

    def _send_error(self, sender: Any, error: CxrError) -> None:
        response = self._pb_utils.InferenceResponse(error=make_triton_error(self._pb_utils, error))
        sender.send(response, flags=self._final)

    def _encode_film(self, image: bytes, digest: str) -> EncodedFilm:
        patches, grid, film = self._call(
            PREPROCESS,
            [self._pb_utils.Tensor(IMAGE.name, make_array(image, IMAGE))],
            [PATCHES.name, GRID.name, FILM.name],
            {DIGEST_PARAMETER: digest},
        )
        (tokens,) = self._call(VISION, [patches, grid], [VISUAL_TOKENS.name], {})
        height, width = grid.as_numpy().tolist()
        # Copied out of the shared memory that ends with the response; shared by later requests.
        visual_tokens = tokens.as_numpy().copy()
        visual_tokens.flags.writeable = False
        return EncodedFilm(
            VisualInput(visual_tokens, (height, width)),
            FilmInfo.from_json(bytes(film.as_numpy()[0])),
        )

    def _call(
        self, model: str, inputs: list[Any], outputs: list[str], parameters: dict[str, str]
    ) -> list[Any]:
        """Run another model of this server (BLS) and return its output tensors."""
        response = self._pb_utils.InferenceRequest(
            model_name=model,
            inputs=inputs,
            requested_output_names=outputs,
            parameters=parameters,
        ).exec()
        if response.has_error():
            raise from_wire(response.error().message())
        return [self._pb_utils.get_output_tensor_by_name(response, name) for name in outputs]


def _outcome_of(error: CxrError) -> str:
    if isinstance(error, RequestCancelledError):
        return "cancelled"
    if isinstance(error, CapacityError):
        return "busy"
    return "input_error" if isinstance(error, InputError) else "error"

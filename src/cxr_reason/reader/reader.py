"""Steps 4 to 7: a conversation about a film → streamed text, then the reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from cxr_reason import __version__
from cxr_reason.engine.base import (
    Engine,
    FinishReason,
    Generation,
    GenerationRequest,
    SamplingParams,
)
from cxr_reason.errors import RequestCancelledError, UnknownFilmError
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.source import hash_film
from cxr_reason.reader.cancellation import Cancellation
from cxr_reason.reader.film_cache import EncodedFilm, FilmCache
from cxr_reason.reader.film_gate import NOT_FRONTAL_CHEST, FilmGate
from cxr_reason.reader.request import ReadRequest
from cxr_reason.reading.consensus import UNCALIBRATED, Calibration
from cxr_reason.reading.reading import Provenance, Reading, make_reading
from cxr_reason.reading.trace import parse_trace
from cxr_reason.settings import LABEL_ANSWER
from cxr_reason.usage import Usage


@dataclass(frozen=True)
class Part:
    """One response to a request.

    Attributes:
        text: New text only.
        finish_reason: In the last part, "stop" or "length"; None before.
        reading: In the last part only.
    """

    text: str
    finish_reason: str | None = None
    reading: Reading | None = None


class Reader:
    """Answers requests about films with one engine. Thread-safe.

    Args:
        engine: Loaded with its part "decoder".
        encode_film: Turns the bytes of a film's file, and their digest, into visual tokens: a
            `FilmEncoder`, or the models of a server that do the same.
        cache: Films that came as a file.
        calibration: Thresholds for the states of findings with several traces.
        film_gate: Flags films that are no frontal chest film; None flags none.

    Raises:
        BadRequestError: The film gate was made with another checkpoint or pixel budget.
    """

    def __init__(
        self,
        engine: Engine,
        encode_film: Callable[[bytes, str], EncodedFilm],
        cache: FilmCache,
        calibration: Calibration = UNCALIBRATED,
        film_gate: FilmGate | None = None,
    ) -> None:
        if film_gate is not None:
            film_gate.check_engine(engine.manifest)
        self._engine = engine
        self._encode_film = encode_film
        self._cache = cache
        self._calibration = calibration
        self._film_gate = film_gate

    def answer(
        self,
        request: ReadRequest,
        cancellation: Cancellation,
        on_usage: Callable[[Usage], None],
    ) -> Iterator[Part]:
        """Generate the answer to one request.

        Args:
            request: What is asked.
            cancellation: Ends the generation within one decoding step.
            on_usage: Called once with tokens and times when a generation ends, however it ends.

        Yields:
            Parts with text, and a last one with finish reason and reading.

        Raises:
            UnknownFilmError: The film's digest is not that of a film in the cache.
            BadRequestError: The prompt does not fit.
            InputError: The film cannot be used.
            CapacityError: The queue is full.
            RequestCancelledError: Cancelled.
            GenerationError: A step of the model failed.
        """
        film = self._find_film(request)
        if cancellation.is_set:
            raise _cancelled()
        generations: list[Generation] = []
        try:
            # They share the prompt: the engine prefills it once and decodes them as one batch.
            for sampling in _samplings(request):
                generations.append(
                    self._engine.submit(
                        GenerationRequest(
                            request.messages,
                            film.visual if film else None,
                            sampling,
                            request.settings.answer_format,
                        )
                    )
                )
            cancellation.on_set(lambda: _cancel(generations))
            yield from self._stream(request, film, generations)
        finally:
            # Also when the caller stops iterating: the slots must not stay taken.
            _cancel(generations)
            if generations:
                on_usage(_sum_usage(generations))

    def _stream(
        self, request: ReadRequest, film: EncodedFilm | None, generations: Sequence[Generation]
    ) -> Iterator[Part]:
        """Yield the text of the first trace, and when all have ended the last part."""
        texts: list[str] = []
        for event in generations[0]:
            texts.append(event.text)
            if event.finish_reason is not None:
                outputs = [_Output("".join(texts), event.finish_reason)]
                outputs += [_collect(generation) for generation in generations[1:]]
                if any(output.reason is FinishReason.CANCELLED for output in outputs):
                    raise _cancelled()
                yield Part(
                    event.text,
                    event.finish_reason.value,
                    self._make_reading(request, film, generations, outputs),
                )
            elif event.text:
                yield Part(event.text)

    def _make_reading(
        self,
        request: ReadRequest,
        film: EncodedFilm | None,
        generations: Sequence[Generation],
        outputs: Sequence[_Output],
    ) -> Reading:
        has_labels = request.settings.answer_format in ("", LABEL_ANSWER)
        return make_reading(
            [
                parse_trace(
                    output.text,
                    truncated=output.reason is FinishReason.LENGTH,
                    has_labels=has_labels,
                )
                for output in outputs
            ],
            film=self._look_at(film) if film else None,
            usage=_sum_usage(generations),
            provenance=self._provenance(request),
            calibration=self._calibration,
        )

    def _find_film(self, request: ReadRequest) -> EncodedFilm | None:
        if request.image is not None:
            image = request.image
            digest = hash_film(image)
            return self._cache.get_or_encode(digest, lambda: self._encode_film(image, digest))
        if request.image_digest is not None:
            film = self._cache.get(request.image_digest)
            if film is None:
                raise UnknownFilmError("image_digest: this film is not held (any more); send it")
            return film
        # Not kept: here the caller says which film the visual tokens belong to, and a wrong
        # record must not answer for another caller's film.
        return request.encoded

    def _look_at(self, film: EncodedFilm) -> FilmInfo:
        """Return the film's record, with the flag of the gate where its tokens lie outside."""
        gate, info = self._film_gate, film.info
        if gate is None or not gate.is_outside(film.visual.tokens):
            return info
        return replace(info, flags=(*info.flags, NOT_FRONTAL_CHEST))

    def _provenance(self, request: ReadRequest) -> Provenance:
        manifest, settings = self._engine.manifest, request.settings
        return Provenance(
            software_version=__version__,
            backend=manifest.backend,
            precision=manifest.precision,
            engine_digest=manifest.digest,
            checkpoint_digest=manifest.checkpoint_digest,
            model_notice=manifest.model_notice,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=settings.seed,
            num_traces=settings.num_traces,
            answer_format=settings.answer_format,
            calibration=self._calibration.source if settings.num_traces > 1 else "",
        )


@dataclass(frozen=True)
class _Output:
    text: str
    reason: FinishReason


def _samplings(request: ReadRequest) -> Iterator[SamplingParams]:
    settings = request.settings
    for index in range(settings.num_traces):
        seed = (settings.seed + index) % 2**64
        yield SamplingParams(settings.max_tokens, settings.temperature, settings.top_p, seed)


def _collect(generation: Generation) -> _Output:
    texts = []
    for event in generation:
        texts.append(event.text)
        if event.finish_reason is not None:
            return _Output("".join(texts), event.finish_reason)
    raise AssertionError("a generation ends with a finish reason")


def _cancel(generations: Sequence[Generation]) -> None:
    for generation in generations:
        generation.cancel()


def _sum_usage(generations: Sequence[Generation]) -> Usage:
    """Return the first trace's usage, with the tokens of all and the time of the last."""
    usages = [generation.usage() for generation in generations]
    return replace(
        usages[0],
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        generation_s=max(usage.generation_s for usage in usages),
    )


def _cancelled() -> RequestCancelledError:
    return RequestCancelledError("the caller cancelled the request")

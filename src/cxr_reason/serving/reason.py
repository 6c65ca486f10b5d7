"""Steps 4 to 7: a conversation about a film → streamed text, then the reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cxr_reason import __version__
from cxr_reason.engine.base import Engine, FinishReason, GenerationRequest, SamplingParams
from cxr_reason.errors import BadRequestError, RequestCancelledError
from cxr_reason.reading import Provenance, Reading, Usage, make_reading
from cxr_reason.serving.cancellation import Cancellation
from cxr_reason.serving.film_cache import EncodedFilm, FilmCache
from cxr_reason.serving.reason_request import ReasonRequest, hash_image
from cxr_reason.trace import parse_trace


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


class Reasoner:
    """The model `reason`, without Triton. Thread-safe.

    Args:
        engine: Loaded with its part "decoder".
        encode_film: Runs `preprocess` and `vision` on the bytes of a film's file.
        cache: Films that came through the direct door.
    """

    def __init__(
        self, engine: Engine, encode_film: Callable[[bytes], EncodedFilm], cache: FilmCache
    ) -> None:
        self._engine = engine
        self._encode_film = encode_film
        self._cache = cache

    def answer(
        self,
        request: ReasonRequest,
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
            BadRequestError: An unknown digest, or a prompt that does not fit.
            InputError: The film cannot be used.
            CapacityError: The queue is full.
            RequestCancelledError: Cancelled.
            GenerationError: A step of the model failed.
        """
        film = self._find_film(request)
        if cancellation.is_set:
            raise _cancelled()
        visual = film.visual if film else None
        generation = self._engine.submit(
            GenerationRequest(request.messages, visual, request.sampling)
        )
        cancellation.on_set(generation.cancel)
        texts = []
        try:
            for event in generation:
                if event.finish_reason is FinishReason.CANCELLED:
                    raise _cancelled()
                texts.append(event.text)
                if event.finish_reason is not None:
                    truncated = event.finish_reason is FinishReason.LENGTH
                    reading = make_reading(
                        parse_trace("".join(texts), truncated=truncated),
                        film=film.info if film else None,
                        usage=generation.usage(),
                        provenance=self._provenance(request.sampling),
                    )
                    yield Part(event.text, event.finish_reason.value, reading)
                elif event.text:
                    yield Part(event.text)
        finally:
            # Also when the caller stops iterating: the slot must not stay taken.
            generation.cancel()
            on_usage(generation.usage())

    def _find_film(self, request: ReasonRequest) -> EncodedFilm | None:
        if request.image is not None:
            image = request.image
            return self._cache.get_or_encode(hash_image(image), lambda: self._encode_film(image))
        if request.image_digest is not None:
            film = self._cache.get(request.image_digest)
            if film is None:
                raise BadRequestError(
                    "image_digest: this server does not hold the film (any more); send `image`"
                )
            return film
        # Not kept: a caller of this door says itself which film the visual tokens belong to, and
        # a wrong record must not answer for another caller's film.
        return request.encoded

    def _provenance(self, sampling: SamplingParams) -> Provenance:
        manifest = self._engine.manifest
        return Provenance(
            software_version=__version__,
            backend=manifest.backend,
            precision=manifest.precision,
            engine_digest=manifest.digest,
            checkpoint_digest=manifest.checkpoint_digest,
            model_notice=manifest.model_notice,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
        )


def _cancelled() -> RequestCancelledError:
    return RequestCancelledError("the caller cancelled the request")

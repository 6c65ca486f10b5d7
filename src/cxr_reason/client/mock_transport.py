r"""A server for tests of programs that use this client: no Triton, no model.

client = Client(transport=MockTransport("<think> Clear. </think>\n<answer> No Finding </answer>"))
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from cxr_reason import __version__
from cxr_reason.client.transport import Call, Deliver, Request, Response, Transport
from cxr_reason.contract import (
    IMAGE,
    IMAGE_DIGEST,
    SETTING_TENSORS,
)
from cxr_reason.errors import (
    CxrError,
    GenerationError,
    RequestCancelledError,
    RequestTimeoutError,
    UnknownFilmError,
)
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.source import hash_film
from cxr_reason.reading.reading import Provenance, make_reading
from cxr_reason.reading.trace import parse_trace
from cxr_reason.settings import ReadingSettings
from cxr_reason.usage import Usage

Reply: TypeAlias = str | Iterable[str]

TRAINED_FORM = "<think> The heart is large. </think>\n<answer> Cardiomegaly </answer>"


class MockTransport(Transport):
    """Answers with given text as a server would, a word at a time.

    Args:
        reply: The whole output of the model, tags included; or a function of the request that
            returns it, or its pieces, or raises the `CxrError` that the server reports.

    Attributes:
        requests: Requests so far, in their order.
    """

    def __init__(self, reply: str | Callable[[Request], Reply] = TRAINED_FORM) -> None:
        self._reply = reply
        self._digests: set[str] = set()
        self.requests: list[Request] = []

    @property
    def address(self) -> str:
        """See `Transport`."""
        return "mock"

    def start(self, request: Request, deliver: Deliver) -> Call:
        """See `Transport`."""
        self.requests.append(request)
        return _MockCall(request, deliver, self._answer)

    def is_ready(self, timeout_s: float) -> bool:
        """See `Transport`."""
        return True

    def close(self) -> None:
        """See `Transport`."""

    def forget_films(self) -> None:
        """Drop the films sent so far, as a server does when its cache is full."""
        self._digests.clear()

    def _answer(self, request: Request) -> Iterator[Response]:
        film = self._find_film(request)
        reply = self._reply(request) if callable(self._reply) else self._reply
        words = re.findall(r"\S+\s*|\s+", reply) if isinstance(reply, str) else reply
        settings = _settings(request)
        said: list[str] = []
        truncated = False
        for word in words:
            if len(said) == settings.max_tokens:
                truncated = True
                break
            said.append(word)
            yield Response(word)
        trace = parse_trace("".join(said), truncated=truncated)
        reading = make_reading(
            [trace] * settings.num_traces,
            film=film,
            usage=_usage(len(said), has_film=film is not None),
            provenance=_provenance(settings),
        )
        yield Response("", trace.finish_reason, reading.to_json().encode())

    def _find_film(self, request: Request) -> FilmInfo | None:
        image, digest = request.inputs.get(IMAGE.name), request.inputs.get(IMAGE_DIGEST.name)
        if isinstance(image, bytes):
            known = hash_film(image)
            self._digests.add(known)
        elif isinstance(digest, bytes):
            known = digest.decode()
            if known not in self._digests:
                raise UnknownFilmError("image_digest: this film is not held (any more); send it")
        else:
            return None
        return FilmInfo(known, "png", 128, 128, 8, flags=("window_estimated",))


class _MockCall(Call):
    def __init__(
        self,
        request: Request,
        deliver: Deliver,
        answer: Callable[[Request], Iterator[Response]],
    ) -> None:
        self._request = request
        self._deliver = deliver
        self._answer = answer
        self._is_stopped = False
        threading.Thread(target=self._run, name="mock", daemon=True).start()

    def stop(self) -> None:
        self._is_stopped = True

    def abandon(self) -> None:
        self._is_stopped = True

    def _run(self) -> None:
        deadline_s = time.monotonic() + self._request.timeout_s
        try:
            for response in self._answer(self._request):
                if self._is_stopped:
                    raise RequestCancelledError("the caller cancelled the request")
                if time.monotonic() > deadline_s:
                    raise RequestTimeoutError("server mock: no complete answer in time")
                self._deliver(response)
        except CxrError as error:
            self._deliver(error)
        except Exception as error:  # a fault of the test's own reply shows where it is waited for
            fault = GenerationError(f"the reply of the mock failed: {error!r}")
            fault.__cause__ = error
            self._deliver(fault)
        finally:
            self._deliver(None)


def _usage(completion_tokens: int, *, has_film: bool) -> Usage:
    visual_tokens = 25 if has_film else 0
    return Usage(10 + visual_tokens, visual_tokens, completion_tokens, 0.0, 0.0, 0.0)


def _settings(request: Request) -> ReadingSettings:
    given: dict[str, Any] = {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in request.inputs.items()
        if name in SETTING_TENSORS
    }
    return ReadingSettings(**given)


def _provenance(settings: ReadingSettings) -> Provenance:
    return Provenance(
        software_version=__version__,
        backend="mock",
        precision="",
        engine_digest="0" * 64,
        checkpoint_digest="0" * 64,
        model_notice="a mock: no model read the film",
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=settings.seed,
        num_traces=settings.num_traces,
        answer_format=settings.answer_format,
        calibration="",
    )

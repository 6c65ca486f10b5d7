"""The readers that an evaluation can use: the bytes of a film in, outputs out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cxr_reason.client import Client, DoneEvent
from cxr_reason.engine.base import SamplingParams
from cxr_reason.errors import CapacityError, RequestCancelledError
from cxr_reason.evaluation.occlusion import make_blank
from cxr_reason.reading.reading import Reading
from cxr_reason.reading.trace import Outcome

# Others may use the server too: a busy one is called again after 1, 2, 4, 8 and 16 seconds.
_WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True)
class Output:
    """One generated text.

    Attributes:
        text: As generated, special tokens removed.
        truncated: The token limit ended it.
        num_tokens: Generated tokens.
    """

    text: str
    truncated: bool
    num_tokens: int


class FilmReader(Protocol):
    """Reads films. `read` is called by several threads at once.

    Attributes:
        concurrency: Films that keep it busy.
        provenance: What it is: backend, precision, digests, version.
    """

    concurrency: int
    provenance: dict[str, str]

    def read(self, film: bytes, samplings: Sequence[SamplingParams]) -> list[Output]:
        """Return one output for each of the samplings.

        Raises:
            CxrError: The film cannot be read; its subclasses say why.
        """

    def stop(self) -> None:
        """End every `read` under way with `RequestCancelledError`."""

    def close(self) -> None:
        """Free what it holds; after `stop` or when all is read."""


class ClientReader:
    """Reads with a client: of a server, or of an engine or a checkpoint in this process.

    Args:
        client: Closed with this object.
        prompt: Plain text, or a JSON list of chat messages.
        concurrency: Requests at a time.
        place: Put before the backend's name in `provenance`, for example "server, ".

    Raises:
        CxrError: There is no answer to a test request for one token about a blank film.
    """

    def __init__(self, client: Client, *, prompt: str, concurrency: int, place: str = "") -> None:
        self.concurrency = concurrency
        self._client = client
        self._prompt = prompt
        self._is_stopped = False
        made_by = self._ask(make_blank(128, 128), SamplingParams(max_tokens=1)).provenance
        self.provenance = {
            "backend": f"{place}{made_by.backend}",
            "precision": made_by.precision,
            "engine_digest": made_by.engine_digest,
            "checkpoint_digest": made_by.checkpoint_digest,
            "model_notice": made_by.model_notice,
            "software_version": made_by.software_version,
        }

    def read(self, film: bytes, samplings: Sequence[SamplingParams]) -> list[Output]:
        """See `FilmReader`."""
        outputs = []
        for sampling in samplings:
            reading = self._ask_patiently(film, sampling)
            is_truncated = reading.outcome == Outcome.TRUNCATED.value
            outputs.append(Output(reading.text, is_truncated, reading.usage.completion_tokens))
        return outputs

    def stop(self) -> None:
        """See `FilmReader`."""
        self._is_stopped = True

    def close(self) -> None:
        """See `FilmReader`."""
        self._client.close()

    def _ask_patiently(self, film: bytes, sampling: SamplingParams) -> Reading:
        for wait_s in _WAITS_S:
            try:
                return self._ask(film, sampling)
            except CapacityError:
                time.sleep(wait_s)
        return self._ask(film, sampling)

    def _ask(self, film: bytes, sampling: SamplingParams) -> Reading:
        events = self._client.stream(
            film,
            prompt=self._prompt,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
        )
        try:
            for event in events:
                if self._is_stopped:
                    break
                if isinstance(event, DoneEvent):
                    return event.reading
        finally:
            events.close()  # stops what is not finished
        raise _cancelled()


def _cancelled() -> RequestCancelledError:
    return RequestCancelledError("the evaluation was interrupted")

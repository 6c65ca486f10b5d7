"""Events and readings → the objects of OpenAI's chat completions.

The reasoning stands in `reasoning` and, for clients that know only the older name, in
`reasoning_content` too. `content` is everything else that the model wrote, without its tags.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from cxr_reason.client import DoneEvent, Event, TextEvent
from cxr_reason.errors import CxrError
from cxr_reason.gateway.api_errors import as_api_error, error_object
from cxr_reason.gateway.sse import make_event
from cxr_reason.reading.reading import Reading
from cxr_reason.reading.trace import Section, split_sections


def completion(reading: Reading, *, request_id: str, model: str) -> dict[str, Any]:
    """Return the object `chat.completion` for a reading; a choice for each trace."""
    choices = []
    for index, trace in enumerate(reading.traces):
        reasoning, content = split_message(trace.text)
        message = {"role": "assistant", "content": content, **_reasoning(reasoning or None)}
        choices.append(
            {
                "index": index,
                "message": message,
                "finish_reason": trace.finish_reason,
                "logprobs": None,
            }
        )
    return {
        "id": _completion_id(request_id),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        "usage": _usage(reading),
        **_film_flags(reading),
    }


async def completion_chunks(
    events: AsyncGenerator[Event, None], *, request_id: str, model: str, include_usage: bool
) -> AsyncGenerator[str, None]:
    """Yield server-sent events with objects `chat.completion.chunk`, and `[DONE]`.

    The first trace comes as it is generated, the others whole at the end.

    Raises:
        CxrError: As the stream, before anything was yielded. Later errors become an event.
    """
    head = {
        "id": _completion_id(request_id),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }

    def chunk(
        index: int,
        delta: dict[str, Any],
        finish_reason: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> str:
        choice = {
            "index": index,
            "delta": delta,
            "finish_reason": finish_reason,
            "logprobs": None,
        }
        usage = {"usage": None} if include_usage else {}
        return make_event({**head, "choices": [choice], **usage, **(extra or {})})

    content = _ContentJoiner()
    has_begun = False
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, TextEvent | DoneEvent) and not has_begun:
                    has_begun = True
                    yield chunk(0, {"role": "assistant", "content": ""})
                if isinstance(event, TextEvent):
                    is_reasoning = event.section == "reasoning"
                    text = event.text if is_reasoning else content.add(event)
                    yield chunk(0, _reasoning(text) if is_reasoning else {"content": text})
                elif isinstance(event, DoneEvent):
                    reading = event.reading
                    yield chunk(0, {}, reading.traces[0].finish_reason, extra=_film_flags(reading))
                    for index, trace in enumerate(reading.traces[1:], 1):
                        reasoning, answer = split_message(trace.text)
                        delta = {
                            "role": "assistant",
                            "content": answer,
                            **_reasoning(reasoning or None),
                        }
                        yield chunk(index, delta, trace.finish_reason)
                    if include_usage:
                        yield make_event({**head, "choices": [], "usage": _usage(reading)})
    except CxrError as error:
        if not has_begun:
            raise
        yield make_event(error_object(as_api_error(error)))
        return
    yield make_event("[DONE]")


def split_message(text: str) -> tuple[str, str]:
    """Return the reasoning of a whole output, and all other text, both without tags."""
    parts = [(section, part.strip()) for section, part in split_sections(text) if part.strip()]
    reasoning = "\n".join(part for section, part in parts if section == "reasoning")
    return reasoning, "\n".join(part for section, part in parts if section != "reasoning")


class _ContentJoiner:
    """Joins streamed text of the sections that make up the content, as `split_message` does."""

    def __init__(self) -> None:
        self._section: Section | None = None

    def add(self, event: TextEvent) -> str:
        is_new = self._section not in (None, event.section)
        self._section = event.section
        return "\n" + event.text.lstrip("\n") if is_new else event.text


def _film_flags(reading: Reading) -> dict[str, list[str]]:
    # OpenAI's objects have no place for it, and clients pass over what they do not know.
    return {"film_flags": list(reading.film.flags)} if reading.film else {}


def _reasoning(text: str | None) -> dict[str, str | None]:
    return {"reasoning": text, "reasoning_content": text}


def _usage(reading: Reading) -> dict[str, Any]:
    usage = reading.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _completion_id(request_id: str) -> str:
    return f"chatcmpl-{request_id}"

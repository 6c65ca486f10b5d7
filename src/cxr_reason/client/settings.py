"""The settings of one request, and the request that they make."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, TypedDict

from cxr_reason.client.images import Image, SentFilm, encode_image
from cxr_reason.client.transport import Request, Value
from cxr_reason.client.wire import encode_value
from cxr_reason.contract import (
    ANSWER_FORMAT,
    IMAGE,
    IMAGE_DIGEST,
    MAX_TOKENS,
    NUM_TRACES,
    PROMPT,
    SEED,
    TEMPERATURE,
    TOP_P,
)
from cxr_reason.prompts import FIND_ABNORMALITIES

DEFAULT_TIMEOUT_S = 600.0  # 2,048 tokens of a 3B model on two CPU cores take about four minutes

_SAMPLING = (MAX_TOKENS, TEMPERATURE, TOP_P, SEED, NUM_TRACES)


class TurnSettings(TypedDict, total=False):
    """What a turn of a conversation may say beside its prompt; None is the same as left out.

    Attributes:
        max_tokens: Limit of generated tokens, at least 1. Without it, and the next five, the server
            decides.
        temperature: 0 is greedy; at most 2.
        top_p: Nucleus probability, over 0 to 1.
        seed: Same seed, same text; 0 to 2^64 - 1.
        num_traces: Sampled traces of the film, 1 to 16; more than one gives probabilities.
        answer_format: What the answer is held to: "labels", or a JSON schema, as text or mapping.
        bits_stored: Significant bits of a film given as an array (`images.encode_image`).
        timeout_s: Seconds for the request, from sending the film to the last token, retries
            included; else the client's.
        request_id: Name of the request; random unless given. Who knows it can stop the request:
            it must not be guessable.
    """

    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    num_traces: int | None
    answer_format: str | Mapping[str, Any] | None
    bits_stored: int | None
    timeout_s: float | None
    request_id: str | None


class Settings(TurnSettings, total=False):
    """What a request may say beside its film.

    Attributes:
        prompt: Plain text, or a JSON list of chat messages.
    """

    prompt: str


def check_settings(settings: Mapping[str, object]) -> None:
    """Refuse names that are not settings, as Python does for a function's arguments.

    Raises:
        TypeError: A name is not that of a setting.
    """
    allowed = Settings.__optional_keys__
    if unknown := sorted(settings.keys() - allowed):
        raise TypeError(f"unknown setting {unknown[0]!r}; allowed: {', '.join(sorted(allowed))}")


def make_call(image: Image | None, settings: Settings, *, default_timeout_s: float) -> Request:
    """Put film and settings together.

    Args:
        image: The film (`images.encode_image`), a film sent before, or None for a conversation
            without one.
        settings: The settings.
        default_timeout_s: Seconds, unless the settings say.

    Raises:
        InputError: The film or a setting cannot be used; its subclasses say why.
    """
    inputs: dict[str, Value] = {PROMPT.name: settings.get("prompt", FIND_ABNORMALITIES).encode()}
    bits_stored = settings.get("bits_stored")
    if isinstance(image, SentFilm):
        inputs[IMAGE_DIGEST.name] = image.digest.encode()
    elif image is not None:
        inputs[IMAGE.name] = encode_image(image, bits_stored=bits_stored)
    for tensor in _SAMPLING:
        value = settings.get(tensor.name)
        if value is not None:
            assert isinstance(value, int | float)
            encode_value(value, tensor)  # what no transport could send is refused here
            inputs[tensor.name] = value
    answer_format = settings.get("answer_format")
    if answer_format is not None:
        if not isinstance(answer_format, str):
            answer_format = json.dumps(answer_format)
        inputs[ANSWER_FORMAT.name] = answer_format.encode()
    timeout_s = settings.get("timeout_s")
    return Request(
        inputs,
        settings.get("request_id") or uuid.uuid4().hex,
        default_timeout_s if timeout_s is None else timeout_s,
    )

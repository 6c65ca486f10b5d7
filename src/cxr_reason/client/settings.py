"""The settings of one request, and the request that they make."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, TypedDict

from cxr_reason.client.images import Image, SentFilm, encode_image
from cxr_reason.client.transport import Request, Value
from cxr_reason.contract import IMAGE, IMAGE_DIGEST, PROMPT, SETTING_TENSORS
from cxr_reason.errors import BadRequestError
from cxr_reason.prompts import FIND_ABNORMALITIES
from cxr_reason.settings import SETTINGS, ReadingSettings


class TurnSettings(TypedDict, total=False):
    """Settings of a turn besides its prompt; None is the same as left out.

    The first seven are those of `cxr_reason.settings.ReadingSettings`: their bounds and meanings
    are given there. The server decides what is left out, and the client `timeout_s`.

    Attributes:
        max_tokens: Limit of generated tokens of each trace.
        temperature: 0 is greedy.
        top_p: Nucleus probability.
        seed: Same seed, same text.
        num_traces: Sampled traces of the film; more than one gives probabilities.
        answer_format: What the answer is held to: "labels", or a JSON schema, as text or mapping.
        timeout_s: Seconds for the request.
        bits_stored: Significant bits of a film given as an array (`images.encode_image`).
        request_id: Name of the request; random unless given. Anyone who knows it can stop the
            request, so it must not be guessable.
    """

    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    num_traces: int | None
    answer_format: str | Mapping[str, Any] | None
    timeout_s: float | None
    bits_stored: int | None
    request_id: str | None


class Settings(TurnSettings, total=False):
    """Settings of a request besides its film.

    Attributes:
        prompt: Plain text, or a JSON list of chat messages.
    """

    prompt: str


def check_settings(settings: Mapping[str, object]) -> ReadingSettings:
    """Refuse what is no setting, as Python does for a function's arguments, and wrong values.

    Returns:
        The settings of the reading, with the default of each that is left out.

    Raises:
        TypeError: A name is not that of a setting.
        BadRequestError: A value cannot be used.
    """
    allowed = Settings.__optional_keys__
    if unknown := sorted(settings.keys() - allowed):
        raise TypeError(f"unknown setting {unknown[0]!r}; allowed: {', '.join(sorted(allowed))}")
    given: dict[str, Any] = {name: settings[name] for name in _given(settings)}
    return ReadingSettings(**given)


def make_call(image: Image | None, settings: Settings, *, default_timeout_s: float) -> Request:
    """Put film and settings together.

    Args:
        image: The film (`images.encode_image`), a film sent before, or None for a conversation
            without one.
        settings: The settings.
        default_timeout_s: Seconds, unless the settings say.

    Raises:
        TypeError: A name is not that of a setting.
        InputError: The film or a setting cannot be used; its subclasses say why.
    """
    checked = check_settings(settings)
    inputs: dict[str, Value] = {PROMPT.name: _encode_prompt(settings)}
    if isinstance(image, SentFilm):
        inputs[IMAGE_DIGEST.name] = image.digest.encode()
    elif image is not None:
        inputs[IMAGE.name] = encode_image(image, bits_stored=settings.get("bits_stored"))
    # What is left out is not sent: its default is the server's.
    for name in _given(settings) & SETTING_TENSORS.keys():
        value = getattr(checked, name)
        inputs[name] = value.encode() if isinstance(value, str) else value
    has_timeout = settings.get("timeout_s") is not None
    return Request(
        inputs,
        settings.get("request_id") or uuid.uuid4().hex,
        checked.timeout_s if has_timeout else default_timeout_s,
    )


def _encode_prompt(settings: Settings) -> bytes:
    try:
        return settings.get("prompt", FIND_ABNORMALITIES).encode()
    except (AttributeError, UnicodeEncodeError):  # without the cause: it quotes the prompt
        raise BadRequestError("prompt: must be valid Unicode text", param="prompt") from None


def _given(settings: Mapping[str, object]) -> set[str]:
    return {name for name in SETTINGS if settings.get(name) is not None}

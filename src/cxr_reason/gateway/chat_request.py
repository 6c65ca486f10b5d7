"""The body of `POST /v1/chat/completions` → a film's URL and the settings of a request.

OpenAI's parameters are accepted where they have a meaning here. One that would change the answer
but is not supported is refused, never silently ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cxr_reason.client import Settings
from cxr_reason.gateway.api_errors import ApiError, bad_request
from cxr_reason.settings import check_setting

# They describe the request or its storage, and change no answer here.
_IGNORED = frozenset(
    ("metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user")
)
# Accepted only with the value that changes nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (None, 0),
    "function_call": (None, "none"),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "parallel_tool_calls": (None, True, False),
    "presence_penalty": (None, 0),
    "stop": (None, []),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "top_logprobs": (None, 0),
}

# OpenAI's names of the settings of a reading; of two names of one setting the later counts.
_SETTINGS = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "n": "num_traces",
}


class _Text(BaseModel):
    type: Literal["text"]
    text: str


class _Url(BaseModel):
    url: str


class _Image(BaseModel):
    type: Literal["image_url"]
    image_url: _Url


_Part = Annotated[_Text | _Image, Field(discriminator="type")]


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class _Schema(BaseModel):
    model_config = ConfigDict(protected_namespaces=())
    json_schema: dict[str, Any] = Field(alias="schema")


class _ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow")
    model: str
    messages: list[_Message] = Field(min_length=1)
    stream: bool = False
    stream_options: _StreamOptions | None = None
    # Settings of a reading are checked where they are declared.
    max_tokens: Any = None
    max_completion_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    seed: Any = None
    n: Any = None
    response_format: _ResponseFormat | None = None


@dataclass(frozen=True)
class ChatRequest:
    """What a caller of chat completions asks for.

    Attributes:
        image_url: URL of the film, or None.
        settings: For the client.
        stream: Answer in pieces.
        include_usage: End the pieces with the usage.
    """

    image_url: str | None
    settings: Settings
    stream: bool
    include_usage: bool


def parse_chat(data: bytes, *, model: str) -> ChatRequest:
    """Read the body of a request.

    Args:
        data: JSON.
        model: Name of the only model.

    Raises:
        ApiError: Not such a body, or another model; the message never quotes the content.
        BadRequestError: A setting cannot be used.
    """
    try:
        body = _Body.model_validate_json(data)
    except ValidationError as error:
        raise _explain(error) from None  # the cause quotes the input
    if body.model != model:
        raise ApiError(
            404,
            f"model: there is one, {model!r}; ask for it",
            code="model_not_found",
            param="model",
        )
    _check_extra(body.model_extra or {})
    messages, urls = _read_messages(body.messages)
    if len(urls) > 1:
        raise bad_request(
            f"messages: {len(urls)} images; a reading is of one film, and its image stands in the "
            "first user message",
            param="messages",
        )
    settings: dict[str, Any] = {
        setting: check_setting(setting, value, given_as=name)
        for name, setting in _SETTINGS.items()
        if (value := getattr(body, name)) is not None
    }
    if (answer_format := _answer_format(body.response_format)) is not None:
        settings["answer_format"] = answer_format
    settings["prompt"] = json.dumps(messages)
    options = body.stream_options
    return ChatRequest(
        urls[0] if urls else None,
        cast(Settings, settings),
        body.stream,
        options is not None and options.include_usage,
    )


def _read_messages(messages: list[_Message]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the messages in the form that the server takes, and the URLs of the images."""
    turns: list[dict[str, Any]] = []
    urls = []
    for message in messages:
        parts = (
            [_Text(type="text", text=message.content)]
            if isinstance(message.content, str)
            else message.content or []
        )
        content: list[dict[str, str]] = []
        for part in parts:
            if isinstance(part, _Image):
                urls.append(part.image_url.url)
                content.append({"type": "image"})
            else:
                content.append({"type": "text", "text": part.text})
        reasoning = message.reasoning or message.reasoning_content
        if message.role == "assistant" and reasoning:
            content = [{"type": "text", "text": _as_generated(reasoning, content)}]
        role = "system" if message.role == "developer" else message.role
        turns.append({"role": role, "content": content})
    return turns, urls


def _as_generated(reasoning: str, content: list[dict[str, str]]) -> str:
    """An earlier answer in the form that the model gave it, and was trained on."""
    answer = "\n".join(part.get("text", "") for part in content)
    return f"<think> {reasoning} </think>\n<answer> {answer} </answer>"


def _answer_format(response_format: _ResponseFormat | None) -> str | None:
    if response_format is None or response_format.type == "text":
        return None
    if response_format.type == "json_object":
        return json.dumps({"type": "object"})
    if response_format.json_schema is None:
        raise bad_request(
            "response_format: json_schema is missing", param="response_format.json_schema"
        )
    return json.dumps(response_format.json_schema.json_schema)


def _check_extra(extra: dict[str, Any]) -> None:
    for name, value in extra.items():
        if name in _IGNORED or (name in _NEUTRAL and value in _NEUTRAL[name]):
            continue
        if name in _NEUTRAL:
            raise bad_request(
                f"{name}: not supported; leave it out", param=name, code="unsupported_parameter"
            )
        # Its name is the caller's text: it is not repeated.
        raise bad_request(
            "unknown parameter; docs/gateway.md lists those that are taken",
            code="unknown_parameter",
        )


def _explain(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return bad_request("body: not valid JSON")
    message = "not one of the allowed kinds" if "tag" in first["type"] else first["msg"]
    return bad_request(f"{place}: {message}", param=place or None)

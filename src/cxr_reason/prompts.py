"""Prompt text or chat messages → the text that the tokenizer gets.

The film belongs to the first user turn and to that turn only; later turns are text. The canonical
prompt and the follow-ups are those of NVIDIA-Medtech/NV-Reason-CXR (README, `datalists/`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from cxr_reason.contract import MAX_PROMPT_CHARS
from cxr_reason.errors import BadRequestError

FIND_ABNORMALITIES = "Find abnormalities and support devices."
# What the model was trained to say to a picture that is not a chest film.
REFUSAL = "Please provide a frontal chest X-ray image."

IMAGE_PAD = "<|image_pad|>"
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: text only.

    Attributes:
        role: "system", "user" or "assistant".
        text: What was said.
    """

    role: str
    text: str


def parse_prompt(prompt: str) -> tuple[Message, ...]:
    """Read plain text, or a JSON list of chat messages.

    Args:
        prompt: Text for one user turn; or `[{"role": …, "content": …}, …]` where content is text
            or a list of `{"type": "text", "text": …}` parts. A part `{"type": "image"}` is allowed
            in the first user turn, where the film goes in any case.

    Raises:
        BadRequestError: Empty, too long, or messages that are not of that form.
    """
    if len(prompt) > MAX_PROMPT_CHARS:
        raise _bad_prompt(f"{len(prompt)} characters; at most {MAX_PROMPT_CHARS} are allowed")
    if not prompt.strip():
        raise _bad_prompt(f"empty; for example {FIND_ABNORMALITIES!r}")
    is_json = re.match(r"\s*\[\s*\{", prompt) is not None
    messages = _parse_turns(prompt) if is_json else (Message("user", prompt),)
    # JSON can spell half a surrogate pair; no tokenizer takes it.
    if any(re.search("[\ud800-\udfff]", message.text) for message in messages):
        raise _bad_prompt("holds half a surrogate pair; send valid Unicode text")
    return messages


def _parse_turns(prompt: str) -> tuple[Message, ...]:
    try:
        turns = json.loads(prompt)
    except (ValueError, RecursionError) as error:
        raise _bad_prompt(
            "begins like a JSON list of messages but is not valid JSON; plain text is allowed too"
        ) from error
    if not all(isinstance(turn, dict) for turn in turns):
        raise _bad_prompt("every message must be an object with role and content")
    first_user = next((i for i, turn in enumerate(turns) if turn.get("role") == "user"), None)
    messages = tuple(
        _parse_turn(turn, index, takes_film=index == first_user) for index, turn in enumerate(turns)
    )
    if messages[-1].role != "user":
        raise _bad_prompt("the last message must have the role `user`")
    return messages


def _parse_turn(turn: dict[str, Any], index: int, *, takes_film: bool) -> Message:
    role, content = turn.get("role"), turn.get("content")
    if role not in _ROLES:
        raise _bad_prompt(f"message {index}: role must be one of {', '.join(_ROLES)}")
    if isinstance(content, str):
        return Message(role, content)
    if not isinstance(content, list):
        raise _bad_prompt(f"message {index}: content must be text or a list of parts")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image":
            if not takes_film:
                raise _bad_prompt(
                    f"message {index}: only one image, in the first user message, is "
                    "allowed; a reading is of one film"
                )
            takes_film = False
        else:
            raise _bad_prompt(f"message {index}: a part must be of type text (with text) or image")
    return Message(role, "\n".join(texts))


def template_messages(messages: tuple[Message, ...], *, with_film: bool) -> list[dict[str, Any]]:
    """Return the messages in the form that chat templates of Hugging Face take.

    Args:
        messages: The conversation.
        with_film: Put the film before the text of the first user turn.
    """
    turns: list[dict[str, Any]] = []
    film_is_due = with_film
    for message in messages:
        parts: list[dict[str, str]] = [{"type": "text", "text": message.text}]
        if film_is_due and message.role == "user":
            parts.insert(0, {"type": "image"})
            film_is_due = False
        turns.append({"role": message.role, "content": parts})
    return turns


def _bad_prompt(message: str) -> BadRequestError:
    return BadRequestError(f"prompt: {message}", param="prompt")

"""Prompt text and chat messages: what is read, what is refused, where the film goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cxr_reason.contract import MAX_PROMPT_CHARS
from cxr_reason.errors import BadRequestError
from cxr_reason.prompts import FIND_ABNORMALITIES, Message, parse_prompt, template_messages

TEXT_PART = {"type": "text", "text": "a"}
IMAGE_PART = {"type": "image"}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    "prompt",
    [
        FIND_ABNORMALITIES,
        " spaces and\nlines stay ",
        "[Edema] or not?",
        "[1, 2]",
        "[",
        "{}",
        '{"role": "user", "content": "an object is no list"}',
        '"[{}]"',
        "see [{role}]",
        "肺水肿",
        "x" * MAX_PROMPT_CHARS,
    ],
    ids=lambda prompt: prompt[:20],
)
def test_plain_text_is_one_user_turn(prompt: str) -> None:
    assert parse_prompt(prompt) == (Message("user", prompt),)


def test_conversation_is_read_in_order() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        user([IMAGE_PART, TEXT_PART, {"type": "text", "text": "b"}]),
        {"role": "assistant", "content": [{"type": "text", "text": "c"}]},
        user("d"),
    ]
    expected = (
        Message("system", "Be brief."),
        Message("user", "a\nb"),
        Message("assistant", "c"),
        Message("user", "d"),
    )
    assert parse_prompt(json.dumps(turns)) == expected
    assert parse_prompt(" \n" + json.dumps(turns, indent=2) + "\n") == expected


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param([], "", id="no-parts"),
        pytest.param([IMAGE_PART], "", id="film-only"),
        pytest.param([TEXT_PART, IMAGE_PART], "a", id="film-after-text"),
        pytest.param([IMAGE_PART, TEXT_PART], "a", id="film-before-text"),
    ],
)
def test_parts_of_one_turn(content: list[Any], text: str) -> None:
    assert parse_prompt(json.dumps([user(content)])) == (Message("user", text),)


@pytest.mark.parametrize("prompt", ["", " ", "\n\t"], ids=repr)
def test_empty_prompt_is_refused_with_an_example(prompt: str) -> None:
    with pytest.raises(BadRequestError, match=FIND_ABNORMALITIES):
        parse_prompt(prompt)


def test_long_prompt_is_refused_with_both_numbers() -> None:
    with pytest.raises(BadRequestError, match=f"{MAX_PROMPT_CHARS + 1} characters.*at most"):
        parse_prompt("x" * (MAX_PROMPT_CHARS + 1))


@pytest.mark.parametrize(
    "prompt",
    [
        '[{"role": "user"',
        "[{role: user}]",
        '[{"role": "user", "content": "a"}] and more',
        "[{" + "}" * 50,
        '[{"content":' + "[" * 30_000,
    ],
    ids=["cut", "unquoted", "text-after", "braces", "deep"],
)
def test_damaged_json_is_refused(prompt: str) -> None:
    with pytest.raises(BadRequestError, match="not valid JSON"):
        parse_prompt(prompt)


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        pytest.param([user("a"), "b"], "every message must be an object", id="text-as-message"),
        pytest.param([user("a"), None], "every message must be an object", id="null-as-message"),
        pytest.param([{}], "message 0: role", id="no-role"),
        pytest.param([{"role": "tool", "content": "a"}], "message 0: role", id="unknown-role"),
        pytest.param([{"role": ["user"], "content": "a"}], "message 0: role", id="role-as-list"),
        pytest.param([user("a"), {"role": "User"}], "message 1: role", id="role-in-other-case"),
        pytest.param([user(None)], "message 0: content", id="no-content"),
        pytest.param([user(5)], "message 0: content", id="number-as-content"),
        pytest.param([user(TEXT_PART)], "message 0: content", id="object-as-content"),
        pytest.param([user(["a"])], "message 0: a part", id="text-as-part"),
        pytest.param([user([{"type": "text"}])], "message 0: a part", id="text-part-without-text"),
        pytest.param([user([{"type": "text", "text": 5}])], "message 0: a part", id="text-as-5"),
        pytest.param([user([{"type": "video"}])], "message 0: a part", id="video"),
        pytest.param([user([{"text": "a"}])], "message 0: a part", id="part-without-type"),
        pytest.param(
            [user("a"), {"role": "assistant", "content": "b"}], "last message", id="assistant-last"
        ),
        pytest.param([{"role": "system", "content": "a"}], "last message", id="system-only"),
    ],
)
def test_other_messages_are_refused(turns: list[Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        parse_prompt(json.dumps(turns))


@pytest.mark.parametrize(
    "turns",
    [
        pytest.param([user([IMAGE_PART, IMAGE_PART])], id="two-in-one-turn"),
        pytest.param([user("a"), user([IMAGE_PART])], id="second-user-turn"),
        pytest.param([user([IMAGE_PART]), user([IMAGE_PART])], id="one-a-turn"),
        pytest.param([{"role": "system", "content": [IMAGE_PART]}, user("a")], id="system"),
        pytest.param([{"role": "assistant", "content": [IMAGE_PART]}, user("a")], id="assistant"),
    ],
)
def test_film_in_another_place_is_refused_and_not_dropped(turns: list[Any]) -> None:
    with pytest.raises(BadRequestError, match="only one image, in the first user message"):
        parse_prompt(json.dumps(turns))


@pytest.mark.parametrize(
    "prompt", [json.dumps([user("a\ud800b")]), "a\udfffb"], ids=["escaped-in-json", "plain"]
)
def test_half_a_surrogate_pair_is_refused(prompt: str) -> None:
    """No tokenizer takes it."""
    with pytest.raises(BadRequestError, match="surrogate"):
        parse_prompt(prompt)


def test_whole_surrogate_pair_is_a_character() -> None:
    assert parse_prompt(json.dumps([user("\U0001fa7b")])) == (Message("user", "\U0001fa7b"),)


def test_errors_do_not_repeat_the_prompt() -> None:
    for prompt in (
        '[{"role": "Mustermann", "content": "a"}]',
        '[{"role": "user", "content": [{"type": "Mustermann"}]}]',
        '[{"role": "user", "content": "Mustermann',
        "Mustermann" * MAX_PROMPT_CHARS,
    ):
        with pytest.raises(BadRequestError) as caught:
            parse_prompt(prompt)
        assert "Mustermann" not in caught.value.message


CONVERSATION = (
    Message("system", "s"),
    Message("user", "a"),
    Message("assistant", "b"),
    Message("user", "c"),
)


def text_turn(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": [{"type": "text", "text": message.text}]}


def test_film_goes_before_the_text_of_the_first_user_turn_only() -> None:
    turns = template_messages(CONVERSATION, with_film=True)
    expected = [text_turn(message) for message in CONVERSATION]
    expected[1]["content"].insert(0, {"type": "image"})
    assert turns == expected


def test_conversation_without_film() -> None:
    turns = template_messages(CONVERSATION, with_film=False)
    assert turns == [text_turn(message) for message in CONVERSATION]

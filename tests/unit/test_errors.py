"""The exception tree and its one line on the wire."""

from __future__ import annotations

import re

import pytest

from cxr_reason import errors
from cxr_reason.errors import CxrError, ServerError, TooLargeError, from_wire, to_wire


def classes_of(cls: type[CxrError]) -> list[type[CxrError]]:
    below = [deeper for child in cls.__subclasses__() for deeper in classes_of(child)]
    return [cls, *(found for found in below if found.__module__ == errors.__name__)]


CLASSES = classes_of(CxrError)

# What Triton 2.51 puts around the message of a model, by the way in which it was called.
WRAPPERS = {
    "bare": "{}",
    "model": "Failed to process the request(s) for model 'reason_0_0', message: {}",
    "ensemble": (
        "in ensemble 'cxr_reasoning', Failed to process the request(s) for model instance "
        "'preprocess_0_0', message: {}"
    ),
    "python": "TritonModelException: {}\n\nAt:\n  model.py(21): execute\n",
}


def drawn_tree() -> dict[str, str]:
    """Read parent by child from the drawing in the module's docstring."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r"    (?P<branches>[│├└─ ]*)(?P<name>[A-Z]\w+Error)\b.*", line)
        if match is None:
            continue
        depth = len(match["branches"]) // 4
        assert depth <= len(above), f"{match['name']} hangs in the air"
        del above[depth:]
        parents[match["name"]] = above[-1] if above else "Exception"
        above.append(match["name"])
    return parents


def test_tree_is_the_one_in_the_docstring() -> None:
    assert drawn_tree() == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


def test_every_class_has_one_base() -> None:
    assert all(len(cls.__bases__) == 1 for cls in CLASSES)


def test_codes_are_unique_and_each_class_declares_its_own() -> None:
    codes = [cls.__dict__["code"] for cls in CLASSES]
    assert len(set(codes)) == len(codes) == 18
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)
@pytest.mark.parametrize("wrapper", [WRAPPERS["bare"], WRAPPERS["model"], WRAPPERS["ensemble"]])
@pytest.mark.parametrize("param", [None, "max_tokens"])
def test_wire_round_trip(cls: type[CxrError], wrapper: str, param: str | None) -> None:
    sent = cls("image: 70 MiB; at most 64 MiB: send a smaller file [see README]", param=param)
    received = from_wire(wrapper.format(to_wire(sent)))
    assert type(received) is cls
    assert received.message == str(received) == sent.message
    assert received.param == (param or cls.default_param)


def test_text_after_the_message_is_part_of_it() -> None:
    received = from_wire(WRAPPERS["python"].format(to_wire(TooLargeError("image: too large"))))
    assert type(received) is TooLargeError
    assert received.message.startswith("image: too large\n")


def test_message_of_several_lines_is_kept() -> None:
    message = "prompt: first line\nsecond line"
    assert from_wire(to_wire(errors.BadRequestError(message))).message == message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Request for unknown model: 'reason' is not found",
        "unexpected error: list index out of range",
        "[cxr:] no code",
        "[CXR:too_large] other case",
        "cxr:too_large without brackets",
    ],
)
def test_unknown_text_is_a_server_error(text: str) -> None:
    received = from_wire(text)
    assert type(received) is ServerError
    assert received.message == text


def test_code_of_a_newer_server_is_a_server_error_with_its_message() -> None:
    received = from_wire("[cxr:quota_exceeded] quota: 10 films an hour")
    assert type(received) is ServerError
    assert received.message == "quota: 10 films an hour"


def test_first_error_wins_where_a_message_quotes_another() -> None:
    inner = to_wire(errors.CapacityError("queue: full"))
    received = from_wire(to_wire(errors.GenerationError(f"vision failed: {inner}")))
    assert type(received) is errors.GenerationError

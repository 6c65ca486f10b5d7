"""What a caller may set for one reading, declared once.

The tensors of the contract, the keywords of the client, the form fields of the gateway and the
options of the command line take their names, kinds, bounds, defaults and meanings from here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal

from cxr_reason.errors import BadRequestError

DataType = Literal["BYTES", "FP32", "INT32", "UINT64"]

# As `answer_format`: names of `findings.LABELS`. Anything else is a JSON schema.
LABEL_ANSWER = "labels"
TEMPERATURE_OF_ONE_TRACE = 0.0  # greedy
TEMPERATURE_OF_SEVERAL_TRACES = 1.0  # shares of traces are calibrated at it

_NUMBERS: Mapping[type, type] = {int: Integral, float: Real}  # numpy's are of these too
_MAX_INT32 = 2**31 - 1
_WEEK_S = 604_800.0


@dataclass(frozen=True)
class Setting:
    """What one setting may be.

    Attributes:
        kind: int, float or str.
        meaning: One line, for documentation and help.
        dtype: Its tensor's data type; None if it is not sent.
        minimum: Least number allowed.
        maximum: Greatest number allowed.
        is_minimum_excluded: A number must be over `minimum`.
    """

    kind: type[int] | type[float] | type[str]
    meaning: str
    dtype: DataType | None = None
    minimum: float = -math.inf
    maximum: float = math.inf
    is_minimum_excluded: bool = False

    @property
    def allowed(self) -> str:
        """What a value must be, in words."""
        if self.kind is str:
            return f"{LABEL_ANSWER!r} or a JSON schema (an object)"
        noun = "a whole number" if self.kind is int else "a number"
        # A float is exact only up to 2^53.
        high = "2^64 - 1" if self.dtype == "UINT64" else f"{self.maximum:.10g}"
        if self.is_minimum_excluded:
            return f"{noun} over {self.minimum:g} and at most {high}"
        return f"{noun} from {self.minimum:g} to {high}"


def _declare(default: object, kind: type, meaning: str, **bounds: Any) -> Any:
    return field(default=default, metadata={"setting": Setting(kind, meaning, **bounds)})


@dataclass(frozen=True)
class ReadingSettings:
    """How a film is read. Numbers of numpy are taken; a wrong value is refused.

    Attributes:
        max_tokens: Limit of generated tokens of each trace.
        temperature: 0 takes the most likely token each time; None is 0, and 1 with several traces.
        top_p: Nucleus probability: tokens are drawn from the most likely ones that together have
            it.
        seed: Same seed, same text; trace k has the seed after it by k.
        num_traces: Sampled traces of the film; more than one gives each finding a probability.
        answer_format: What the answer after the reasoning is held to: `LABEL_ANSWER`, a JSON
            schema (text or mapping), or "" for nothing.
        timeout_s: Seconds for the request, from sending the film to the last token, retries
            included.

    Raises:
        BadRequestError: A value of another kind or outside its bounds, or several traces with
            temperature 0; `param` names the setting.
    """

    max_tokens: int = _declare(
        2_048,  # the traces the model was trained on end before 1,800
        int,
        "limit of generated tokens of each trace",
        dtype="INT32",
        minimum=1,
        maximum=_MAX_INT32,
    )
    temperature: float = _declare(
        None, float, "0 takes the most likely token each time", dtype="FP32", minimum=0, maximum=2
    )
    top_p: float = _declare(
        1.0,
        float,
        "nucleus probability",
        dtype="FP32",
        minimum=0,
        maximum=1,
        is_minimum_excluded=True,
    )
    seed: int = _declare(
        0, int, "same seed, same text", dtype="UINT64", minimum=0, maximum=2**64 - 1
    )
    num_traces: int = _declare(
        1,
        int,
        "traces to sample; more than one gives each finding a probability",
        dtype="INT32",
        minimum=1,
        maximum=16,
    )
    answer_format: str = _declare("", str, "what the answer is held to", dtype="BYTES")
    timeout_s: float = _declare(
        600.0,  # 2,048 tokens of a 3B model on two CPU cores take about four minutes
        float,
        "seconds for a film, from sending it to the last token",
        minimum=0,
        maximum=_WEEK_S,
        is_minimum_excluded=True,
    )

    def __post_init__(self) -> None:
        for name in SETTINGS:
            value = getattr(self, name)
            if value is None and name == "temperature":
                value = TEMPERATURE_OF_ONE_TRACE
                if self.num_traces > 1:
                    value = TEMPERATURE_OF_SEVERAL_TRACES
            object.__setattr__(self, name, check_setting(name, value))
        if self.num_traces > 1 and self.temperature == 0.0:
            raise BadRequestError(
                "temperature: 0 with several traces, which would all be the same; give more than 0",
                param="temperature",
            )


SETTINGS: Mapping[str, Setting] = {
    entry.name: entry.metadata["setting"] for entry in fields(ReadingSettings)
}
DEFAULTS: Mapping[str, Any] = {entry.name: entry.default for entry in fields(ReadingSettings)}


def check_setting(name: str, value: object, *, given_as: str | None = None) -> Any:
    """Return the value of one setting in the kind that it is declared with.

    Args:
        name: Of `SETTINGS`.
        value: A Python or numpy number, a text or, for a schema, a mapping.
        given_as: The caller's name of it, for the message.

    Raises:
        BadRequestError: Another kind, not finite, or outside the bounds.
    """
    setting = SETTINGS[name]
    shown = given_as or name
    checked: Any = None
    if setting.kind is str:
        checked = _check_answer_format(value)
    # Python's True is the integer 1; nobody means it here.
    elif not isinstance(value, bool) and isinstance(value, _NUMBERS[setting.kind]):
        number: Any = value
        checked = setting.kind(number)
    if checked is None:
        given = type(value).__name__
        raise BadRequestError(f"{shown}: of type {given}; must be {setting.allowed}", param=shown)
    if setting.kind is not str and not _is_inside(checked, setting):
        raise BadRequestError(f"{shown}: {checked}; must be {setting.allowed}", param=shown)
    return checked


def parse_setting(name: str, text: str) -> Any:
    """Return the value of one setting that is written as text, as a form sends it.

    Raises:
        BadRequestError: Not such a value.
    """
    setting = SETTINGS[name]
    try:
        value = setting.kind(text)
    except ValueError:
        # Without the text: it is the caller's.
        raise BadRequestError(f"{name}: must be {setting.allowed}", param=name) from None
    return check_setting(name, value)


def parse_schema(answer_format: str) -> dict[str, Any]:
    """Return the JSON schema that a request gives instead of `LABEL_ANSWER`.

    Raises:
        BadRequestError: Not a JSON object.
    """
    try:
        schema = json.loads(answer_format)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise BadRequestError(
            f"answer_format: must be {SETTINGS['answer_format'].allowed}", param="answer_format"
        )
    return schema


def _is_inside(value: float, setting: Setting) -> bool:
    # A comparison with NaN is false.
    if setting.is_minimum_excluded:
        return setting.minimum < value <= setting.maximum
    return setting.minimum <= value <= setting.maximum


def _check_answer_format(value: object) -> str | None:
    if isinstance(value, Mapping):
        try:
            value = json.dumps(value)
        except (TypeError, ValueError, RecursionError):
            return None
    if not isinstance(value, str):
        return None
    if value not in ("", LABEL_ANSWER):
        parse_schema(value)
    return value

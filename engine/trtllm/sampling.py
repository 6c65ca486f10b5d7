"""Our request → `SamplingParams` of TensorRT-LLM, guided decoding included."""

from __future__ import annotations

import json
from typing import Any

from cxr_reason.engine.answer_format import (
    ANSWER_END,
    ANSWER_START,
    LABEL_CHOICE,
    REASONING_END,
)
from cxr_reason.engine.base import GenerationRequest
from cxr_reason.errors import BadRequestError
from cxr_reason.settings import LABEL_ANSWER, parse_schema

GUIDE_BACKEND = "xgrammar"

# The label grammar in the EBNF of xgrammar.
_LABEL_GRAMMAR = f'root ::= label (", " label)*\nlabel ::= {LABEL_CHOICE}\n'


def make_sampling_params(
    request: GenerationRequest, *, max_tokens: int, stop_token_ids: tuple[int, ...]
) -> Any:
    """Return the parameters of one request.

    Args:
        request: Temperature 0 is greedy: the most likely token alone.
        max_tokens: What the context has room for, at most what the request allows.
        stop_token_ids: Tokens that end a turn.

    Raises:
        BadRequestError: An answer format that is neither `labels` nor a JSON schema.
    """
    from tensorrt_llm import SamplingParams
    from tensorrt_llm.llmapi import GuidedDecodingParams

    sampling = request.sampling
    choice: dict[str, Any] = (
        {"top_k": 1}
        if sampling.temperature == 0.0
        else {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed}
    )
    if stop_token_ids:
        choice |= {
            "end_id": stop_token_ids[0],
            "pad_id": stop_token_ids[0],
            "stop_token_ids": list(stop_token_ids[1:]) or None,
        }
    if request.answer_format:
        choice["guided_decoding"] = GuidedDecodingParams(
            structural_tag=make_structural_tag(request.answer_format)
        )
    return SamplingParams(
        max_tokens=max_tokens,
        ignore_eos=not stop_token_ids,
        # Text comes from our own tokenizer, as with every backend; the template has all tokens.
        detokenize=False,
        add_special_tokens=False,
        **choice,
    )


def make_structural_tag(answer_format: str) -> str:
    """Return the structural tag that constrains the answer after `</think>` to a format.

    Text is free up to `</think>`. From there on only the answer is allowed, and after
    `</answer>` only the end.

    Source: https://xgrammar.mlc.ai/docs/tutorials/structural_tag.html

    Args:
        answer_format: `settings.LABEL_ANSWER`, or a JSON schema.

    Raises:
        BadRequestError: Neither of them, or a schema with what xgrammar does not support.
    """
    is_labels = answer_format == LABEL_ANSWER
    grammar = _LABEL_GRAMMAR if is_labels else _translate_schema(answer_format)
    tag = {
        "begin": REASONING_END + ANSWER_START,
        "content": {"type": "grammar", "grammar": grammar},
        "end": ANSWER_END,
    }
    return json.dumps(
        {
            "type": "structural_tag",
            "format": {
                "type": "triggered_tags",
                "triggers": [REASONING_END],
                "tags": [tag],
                "at_least_one": False,
                "stop_after_first": True,
            },
        }
    )


def _translate_schema(text: str) -> str:
    import xgrammar  # comes with TensorRT-LLM

    schema = parse_schema(text)
    try:
        # One way of writing a value, so that a model cannot generate endless spaces.
        return str(xgrammar.Grammar.from_json_schema(json.dumps(schema), any_whitespace=False))
    except RuntimeError:  # without the cause: its message quotes the schema
        raise BadRequestError(
            "answer_format: xgrammar does not support this JSON schema; simplify it",
            param="answer_format",
        ) from None

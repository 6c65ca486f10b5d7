"""What may stand behind the reasoning, for the grammars of every backend."""

from __future__ import annotations

import json
from typing import Any

from cxr_reason.contract import LABEL_ANSWER
from cxr_reason.errors import BadRequestError
from cxr_reason.findings import LABELS

REASONING_END = "</think>"
ANSWER_START = "\n<answer> "
ANSWER_END = " </answer>"
LABEL_CHOICE = " | ".join(json.dumps(label) for label in LABELS)  # of a grammar: quoted words


def parse_schema(answer_format: str) -> dict[str, Any]:
    """Return the JSON schema that a request gives instead of `contract.LABEL_ANSWER`.

    Raises:
        BadRequestError: Not a JSON object.
    """
    try:
        schema = json.loads(answer_format)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise BadRequestError(
            f"answer_format: neither {LABEL_ANSWER!r} nor a JSON schema (an object)"
        )
    return schema

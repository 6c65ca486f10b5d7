"""Rows of a prepared data set → the columns that TRL's trainers take.

Phrases of a rules-written trace are chosen by the film's name, so that a run can be repeated and
every epoch shows a film with the same words.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from datasets import Dataset

from cxr_reason.errors import DataError
from cxr_reason.prompts import FIND_ABNORMALITIES
from cxr_reason.training.augmentation import vary
from cxr_reason.training.traces import Facts, Sign, gold_answer, write_trace

# What `Dataset.with_transform` hands over and takes back: columns of a batch of rows.
_Columns = Mapping[str, list[Any]]


def read_facts(text: str) -> Facts:
    """Read the column `facts`."""
    fields = json.loads(text)
    signs = tuple(Sign(**sign) for sign in fields["signs"])
    return Facts(states=fields["states"], signs=signs, view=fields["view"])


def sft_columns(data: Dataset, *, vary_films: bool) -> Dataset:
    """Return film, prompt and completion; the completion alone carries the loss.

    Args:
        data: From `prepared.load_prepared`.
        vary_films: Shift films and bend their gray scale, anew in every epoch.
    """

    def transform(rows: _Columns) -> dict[str, list[Any]]:
        return {
            "image": [_film(image, vary_films=vary_films) for image in rows["image"]],
            "prompt": [_ask() for _ in rows["image"]],
            "completion": [
                [{"role": "assistant", "content": _trace(*row)}]
                for row in zip(rows["trace"], rows["facts"], rows["patient"], strict=True)
            ],
        }

    return data.with_transform(transform)


def grpo_columns(data: Dataset, *, vary_films: bool) -> Dataset:
    """Return film, prompt and solution, for rows of which every label is known.

    A label that is unknown could be neither rewarded nor punished, so films that have one are left
    out; so are those with a fixed trace (refusals).

    Raises:
        DataError: No film is left.
    """
    known = [
        index
        for index, states in enumerate(data.with_format("numpy")["states"])
        if min(states) >= 0
    ]

    if not known:
        raise DataError(
            "data: no film of which every label is known; rewards need all fourteen: phantoms "
            "have them, reports and most label tables do not"
        )

    def transform(rows: _Columns) -> dict[str, list[Any]]:
        return {
            "image": [_film(image, vary_films=vary_films) for image in rows["image"]],
            "prompt": [_ask() for _ in rows["image"]],
            "solution": [gold_answer(read_facts(facts).states) for facts in rows["facts"]],
        }

    return data.select(known).with_transform(transform)


def _film(image: Any, *, vary_films: bool) -> Any:
    return (vary(image)[0] if vary_films else image).convert("RGB")


def _ask() -> list[dict[str, str]]:
    return [{"role": "user", "content": FIND_ABNORMALITIES}]


def _trace(trace: str, facts: str, patient: str) -> str:
    return trace or write_trace(read_facts(facts), seed=zlib.crc32(patient.encode()))

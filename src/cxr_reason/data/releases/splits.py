"""Splits by patient: two films of one person are never in two parts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

from cxr_reason.data.releases.example import Example
from cxr_reason.data.releases.tables import Problems


def split_by_patient(
    examples: Iterable[Example], fractions: Mapping[str, float], seed: int
) -> dict[str, list[Example]]:
    """Split examples so that every patient is in one part.

    A patient's part follows from name and seed alone: it does not change with more data or order.

    Args:
        examples: In any order, which the parts keep.
        fractions: Share of the patients by name of the part; together 1.
        seed: Another seed is another split.

    Raises:
        ValueError: Shares that are negative or do not add up to 1.
    """
    if min(fractions.values(), default=-1) < 0 or not math.isclose(sum(fractions.values()), 1):
        raise ValueError(f"fractions: {dict(fractions)}; shares from 0 that add up to 1 are needed")
    parts: dict[str, list[Example]] = {name: [] for name in fractions}
    for example in examples:
        parts[_choose(example.patient, fractions, seed)].append(example)
    return parts


def _choose(patient: str, fractions: Mapping[str, float], seed: int) -> str:
    digest = blake2b(f"{seed}/{patient}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    names = [name for name, fraction in fractions.items() if fraction > 0]
    end = 0.0
    for name in names:
        end += fractions[name]
        if share < end:
            return name
    return names[-1]  # the sum of the shares may fall short of 1 by a rounding


def official_splits(examples: Iterable[Example]) -> dict[str, list[Example]]:
    """Group examples by the split of their release; what has none is left out."""
    parts: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if example.split is not None:
            parts[example.split].append(example)
    return dict(parts)


def check_splits(splits: Mapping[str, Sequence[Example]]) -> None:
    """Check that no patient is in two parts.

    Raises:
        DataError: Names the rows of the patients that are.
    """
    problems = Problems()
    _add_leaks(problems, splits)
    problems.raise_if_any()


def add_leaks(problems: Problems, examples: Iterable[Example]) -> None:
    """Add the rows of patients that the official split has in two parts."""
    _add_leaks(problems, official_splits(examples))


def _add_leaks(problems: Problems, splits: Mapping[str, Sequence[Example]]) -> None:
    first: dict[str, tuple[str, str]] = {}
    for part, examples in splits.items():
        for example in examples:
            other, origin = first.setdefault(example.patient, (part, example.origin))
            if other != part:
                problems.add(
                    example.origin,
                    f"the patient is in the split {part!r} and, at {origin}, in {other!r}",
                )

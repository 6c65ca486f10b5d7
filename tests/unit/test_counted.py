"""A header is parsed with bounded work: reads are counted, not seconds."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from support.chest_files import EXPLICIT, chest_dataset, chest_file, chest_pixels

from cxr_reason.errors import TooLargeError
from cxr_reason.film import counted, header
from cxr_reason.film.counted import CountedBytes, ReadBudget
from cxr_reason.film.radiograph import decode_radiograph

ITEM = b"\xfe\xff\x00\xe0"
FILM = chest_file(chest_dataset(chest_pixels(), 12), EXPLICIT)
MODALITY = b"\x08\x00\x60\x00CS"
ITEMS = 120_000 * (ITEM + bytes(4))
ELEMENTS = ITEM + b"\xff\xff\xff\xff" + 120_000 * b"\x08\x00\x50\x11UI\0\0"
OPEN = b"\xff\xff\xff\xff"


def with_sequence(tag: bytes, length: bytes, value: bytes) -> bytes:
    at = FILM.index(MODALITY) if tag < b"\x09" else FILM.index(b"\xe0\x7f\x10\x00")
    return FILM[:at] + tag + b"SQ\0\0" + length + value + FILM[at:]


@pytest.mark.parametrize("filler", [ITEMS, ELEMENTS])
@pytest.mark.parametrize("tag", [b"\x08\x00\x40\x11", b"\x28\x00\x10\x30"])
@pytest.mark.parametrize("is_open", [True, False])
def test_nothing_but_elements_is_bounded(
    filler: bytes, tag: bytes, is_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = []

    def budget_of(*args: Any) -> ReadBudget:
        budgets.append(ReadBudget(*args))
        return budgets[-1]

    monkeypatch.setattr(header, "ReadBudget", budget_of)
    length = OPEN if is_open else struct.pack("<I", len(filler))
    data = with_sequence(tag, length, filler)
    if not is_open and tag[0] == 8:  # passed over as a whole
        decode_radiograph(data)
        assert counted.MOST_READS - budgets[0].reads_left < 100
        return
    with pytest.raises(TooLargeError, match="more elements and items"):
        decode_radiograph(data)
    assert budgets[0].reads_left == -1


def test_elements_at_the_top_are_bounded() -> None:
    at = FILM.index(MODALITY)
    with pytest.raises(TooLargeError, match="more elements and items"):
        decode_radiograph(FILM[:at] + 120_000 * b"\x08\x00\x50\x00SH\0\0" + FILM[at:])


def test_a_budget_is_shared() -> None:
    budget = ReadBudget(2)
    first, second = CountedBytes(b"abcd", budget), CountedBytes(b"efgh", budget)
    assert (first.read(1), second.read()) == (b"a", b"efgh")
    with pytest.raises(TooLargeError):
        first.read(1)

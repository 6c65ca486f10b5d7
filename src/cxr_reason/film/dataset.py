"""The elements of a data set: read with pydicom, and leniently where that fails."""

from __future__ import annotations

import re
import struct
from collections.abc import Collection
from typing import Any

from pydicom.charset import default_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_sequence
from pydicom.tag import Tag

from cxr_reason.errors import TooLargeError
from cxr_reason.film.counted import CountedBytes, ReadBudget
from cxr_reason.film.elements import PIXEL_DATA, UNDEFINED_LENGTH, read_elements
from cxr_reason.film.syntaxes import BIG_ENDIAN, IMPLICIT

_DELIMITER_WITH_LENGTH = re.compile(rb"\xfe\xff[\x0d\xdd]\xe0(?!\0\0\0\0)", re.DOTALL)


def read_named(
    source: CountedBytes,
    syntax: str,
    *,
    budget: ReadBudget,
    named: Collection[str],
    sequences: Collection[str],
    needed: Collection[str],
) -> tuple[Dataset, bool]:
    """Read elements by keyword.

    Args:
        source: At the start of the data set.
        syntax: Transfer syntax of the elements; not the deflated one.
        budget: For pydicom; the one of `source`.
        named: What is kept.
        sequences: Those of them that are sequences.
        needed: Those of them without which the data set is read again, leniently.

    Returns:
        The elements, with their values as bytes, and whether they break the standard.

    Raises:
        TooLargeError: Far more elements and items than a film has.
        Exception: Whatever pydicom raises; its text may quote the file.
    """
    start = source.tell()
    is_implicit, is_little_endian = syntax == IMPLICIT, syntax != BIG_ENDIAN
    failure: Exception | None = None
    dataset = Dataset()
    try:
        dataset = read_dataset(
            source,
            is_implicit_VR=is_implicit,
            is_little_endian=is_little_endian,
            specific_tags=[Tag(keyword) for keyword in named],
        )
        for keyword in sequences:
            _parse_sequence(dataset, keyword, budget)  # it may be damaged too
    except (MemoryError, TooLargeError):
        raise
    except Exception as error:
        budget.check()
        failure = error
    is_whole = all(Tag(keyword) in dataset for keyword in needed) and not (
        isinstance(dataset.get_item(PIXEL_DATA, keep_deferred=True), DataElement)  # read as SQ
    )
    if failure is None and is_whole:
        return dataset, _has_wrong_lengths(source.getvalue(), dataset)
    repaired = _read_leniently(
        source.getvalue()[start:],
        is_implicit,
        is_little_endian,
        {Tag(keyword) for keyword in named},
        {Tag(keyword) for keyword in sequences},
    )
    if repaired is not None and (
        failure is not None or len(repaired) > len(dataset) or PIXEL_DATA in dataset
    ):
        return repaired, True
    # An empty data set is what pydicom returns when the file ends inside an element.
    if failure is not None or not dataset:
        raise failure or EOFError
    return dataset, False


def _parse_sequence(dataset: Dataset, keyword: str, budget: ReadBudget) -> None:
    """Parse a sequence of defined length, which pydicom leaves as bytes.

    One of VR UN or without VR is a sequence too (PS3.5 6.2.2); of another VR it is none.
    """
    tag = Tag(keyword)
    raw: Any = dataset.get_item(tag, keep_deferred=True) if tag in dataset else None
    if isinstance(raw, RawDataElement) and raw.VR in ("SQ", "UN", None):
        value = raw.value or b""
        items = read_sequence(
            CountedBytes(value, budget),
            raw.is_implicit_VR,
            raw.is_little_endian,
            len(value),
            default_encoding,
        )
        dataset[tag] = DataElement(tag, "SQ", items)


def _has_wrong_lengths(data: bytes, dataset: Dataset) -> bool:
    """Tell whether pydicom has passed over a length that is not the standard's (PS3.5 7.5)."""
    pixels = dataset.get_item(PIXEL_DATA, keep_deferred=True)
    start, value = getattr(pixels, "value_tell", 0), getattr(pixels, "value", None) or b""
    if getattr(pixels, "length", UNDEFINED_LENGTH) not in (UNDEFINED_LENGTH, len(value)):
        return True
    return any(
        _DELIMITER_WITH_LENGTH.search(part) is not None
        for part in (data[:start], data[start + len(value) : start + len(value) + 8])
    )


def _read_leniently(
    elements: bytes,
    is_implicit: bool,
    is_little_endian: bool,
    wanted: Collection[int],
    sequences: Collection[int],
) -> Dataset | None:
    try:
        dataset = read_elements(
            elements,
            is_implicit=is_implicit,
            is_little_endian=is_little_endian,
            wanted=wanted,
            sequences=sequences,
        )
    except (ValueError, struct.error):
        return None
    return dataset if PIXEL_DATA in dataset else None

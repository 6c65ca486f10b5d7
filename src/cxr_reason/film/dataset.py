"""The elements of a data set: read with pydicom, and leniently where that fails."""

from __future__ import annotations

import re
import struct
from collections.abc import Collection
from io import BytesIO

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag

from cxr_reason.film.elements import PIXEL_DATA, UNDEFINED_LENGTH, read_elements
from cxr_reason.film.syntaxes import BIG_ENDIAN, IMPLICIT

_DELIMITER_WITH_LENGTH = re.compile(rb"\xfe\xff[\x0d\xdd]\xe0(?!\0\0\0\0)", re.DOTALL)


def read_named(
    source: BytesIO,
    syntax: str,
    *,
    named: Collection[str],
    sequences: Collection[str],
    needed: Collection[str],
) -> tuple[Dataset, bool]:
    """Read elements by keyword.

    Args:
        source: At the start of the data set.
        syntax: Transfer syntax of the elements; not the deflated one.
        named: What is kept.
        sequences: Those of them that are sequences.
        needed: Those of them without which the data set is read again, leniently.

    Returns:
        The elements, with their values as bytes, and whether they break the standard.

    Raises:
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
            dataset.get(Tag(keyword))  # parses a sequence, which may be damaged too
    except MemoryError:
        raise
    except Exception as error:
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

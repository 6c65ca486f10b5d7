"""The elements of a data set whose delimiters or lengths are wrong (PS3.5 7.5).

pydicom reads data sets that follow the standard. This reader takes the ones it gives up, with the
rules by which other toolkits read them:

- a sequence without its delimiter ends where no item follows, an item where another item, the end
  of its sequence, or Pixel Data begins;
- delimiters may carry any length, and are skipped where nothing is open;
- fragments without a delimiter end with the file;
- an element without a value representation is read as implicit VR.

Nothing is kept but what is asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

UNDEFINED_LENGTH = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_FORMS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # PS3.5 7.1.2
_MAX_DEPTH = 16
_MAX_ELEMENTS = 100_000  # bounds the time that a file of nothing but elements takes


def read_elements(
    data: bytes,
    *,
    is_implicit: bool,
    is_little_endian: bool,
    wanted: Collection[int],
    sequences: Collection[int],
) -> Dataset:
    """Read elements leniently.

    Args:
        data: A data set without its file meta information.
        is_implicit: Whether elements have no value representation.
        is_little_endian: Byte order.
        wanted: Tags of the elements that are kept.
        sequences: Those of them that are sequences. Their items are kept whole, and hold no Pixel
            Data.

    Raises:
        ValueError: Not a data set, or nested too deeply.
    """
    return _Reader(data, is_implicit, is_little_endian, wanted, sequences).read(len(data))


class _Reader:
    def __init__(
        self,
        data: bytes,
        is_implicit: bool,
        is_little_endian: bool,
        wanted: Collection[int],
        sequences: Collection[int],
    ) -> None:
        self._data = data
        self._is_implicit = is_implicit
        self._is_little_endian = is_little_endian
        self._order = "<" if is_little_endian else ">"
        self._wanted, self._sequences = wanted, sequences
        self._position = 0
        self._count = 0

    def read(self, end: int, sequence: int | None = None, depth: int = 0) -> Dataset:
        """Read up to `end`, or up to the end of an item of `sequence`."""
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        dataset = Dataset()
        while self._position + 8 <= end:
            tag = self._tag()
            if tag in (_ITEM, _ITEM_END, _SEQUENCE_END):
                if sequence is not None and tag != _ITEM_END:
                    break
                self._position += 8
                if sequence is not None:
                    break
                continue
            if tag == PIXEL_DATA and sequence in self._sequences:
                break
            self._read_element(dataset, tag, end, sequence, depth)
        return dataset

    def _read_element(
        self, dataset: Dataset, tag: int, end: int, sequence: int | None, depth: int
    ) -> None:
        representation, length = self._read_form()
        start = self._position
        is_kept = sequence in self._sequences or (sequence is None and tag in self._wanted)
        if length == UNDEFINED_LENGTH and (tag == PIXEL_DATA or representation in ("OB", "OW")):
            value = self._read_fragments(end)
        elif length == UNDEFINED_LENGTH or (is_kept and tag in self._sequences):
            whole = length == UNDEFINED_LENGTH
            items = self._read_items(end if whole else min(start + length, end), tag, depth)
            if not whole:
                self._position = start + length
            if is_kept:
                dataset[BaseTag(tag)] = DataElement(BaseTag(tag), "SQ", Sequence(items))
            return
        else:
            self._position = start + length
            if self._position > end and tag != PIXEL_DATA:
                raise ValueError("an element ends after the data set")
            value = self._data[start : min(self._position, end)] if is_kept else b""
        if is_kept:
            dataset[BaseTag(tag)] = RawDataElement(
                BaseTag(tag),
                representation,
                length,
                value,
                start,
                self._is_implicit,
                self._is_little_endian,
            )

    def _tag(self) -> int:
        self._count += 1
        if self._count > _MAX_ELEMENTS:
            raise ValueError("too many elements")
        group, element = struct.unpack_from(f"{self._order}HH", self._data, self._position)
        return int(group) << 16 | int(element)

    def _read_form(self) -> tuple[str | None, int]:
        """Read value representation and length, and go to the value."""
        representation = self._data[self._position + 4 : self._position + 6]
        is_explicit = (
            not self._is_implicit and representation.isalpha() and representation.isupper()
        )
        offset, form, size = 4, "I", 8
        if is_explicit:
            offset, form, size = (8, "I", 12) if representation in _LONG_FORMS else (6, "H", 8)
        (length,) = struct.unpack_from(self._order + form, self._data, self._position + offset)
        self._position += size
        return representation.decode("ascii") if is_explicit else None, int(length)

    def _read_items(self, end: int, sequence: int, depth: int) -> list[Dataset]:
        items = []
        while self._position + 8 <= end:
            tag = self._tag()
            if tag != _ITEM:
                if tag == _SEQUENCE_END:
                    self._position += 8
                break
            (length,) = struct.unpack_from(f"{self._order}I", self._data, self._position + 4)
            self._position += 8
            item_end = end if length == UNDEFINED_LENGTH else min(self._position + length, end)
            items.append(self.read(item_end, sequence, depth + 1))
            if length != UNDEFINED_LENGTH:
                self._position = item_end
        return items

    def _read_fragments(self, end: int) -> bytes:
        start = self._position
        stop = end
        while self._position + 8 <= end:
            tag = self._tag()
            if tag != _ITEM:
                stop = self._position
                self._position += 8 if tag == _SEQUENCE_END else 0
                break
            (length,) = struct.unpack_from(f"{self._order}I", self._data, self._position + 4)
            self._position += 8 + length
        else:
            self._position = end
        return self._data[start:stop]

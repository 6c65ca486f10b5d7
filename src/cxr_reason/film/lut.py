"""Look-up tables of a DICOM header, as they are found (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5).

Writers describe one table and store another. The stored entries count:

- entries are 16-bit words; they are bytes where there are exactly as many bytes as entries (and one
  that pads to an even number), for tables of up to 8 bits and whatever the descriptor says;
- fewer words than declared: later inputs map to the last entry, as inputs past the end do; less
  than half of them is no table;
- other bits than declared: the range of a VOI LUT is that of its largest entry, 2**n - 1 with n its
  bits, as viewers do;
- a table without entries, or whose entries are all the same, shows nothing and is ignored.
"""

from __future__ import annotations

import numpy as np

from cxr_reason.film.display_table import Lut
from cxr_reason.film.header import Header


def read_lut(header: Header, keyword: str, signed: bool) -> tuple[Lut | None, tuple[str, ...]]:
    """Read the first usable look-up table of a sequence.

    Args:
        header: A DICOM header.
        keyword: "VOILUTSequence" or "ModalityLUTSequence".
        signed: Whether the first input value (the second of LUT Descriptor) is signed.

    Returns:
        The table, None where none is usable; flags "voi_lut_ignored", "voi_lut_truncated",
        "voi_lut_rescaled", or "modality_lut_…".
    """
    name = "voi_lut" if keyword == "VOILUTSequence" else "modality_lut"
    flags: tuple[str, ...] = ()
    for item in header.items(keyword):
        lut, problems = _read_item(item, "LUTDescriptor", "LUTData", signed)
        if lut is not None:
            return lut, (*flags, *(f"{name}_{problem}" for problem in problems))
        flags = (f"{name}_ignored",)
    return None, flags


def read_gray_palette(header: Header) -> Lut | None:
    """Read the palette of PALETTE COLOR, None where it is absent or has colors."""
    red, green, blue = (
        _read_item(
            header,
            f"{color}PaletteColorLookupTableDescriptor",
            f"{color}PaletteColorLookupTableData",
            signed=False,
        )[0]
        for color in ("Red", "Green", "Blue")
    )
    if red is None or green is None or blue is None:
        return None
    is_gray = all(
        red.first == other.first and np.array_equal(red.values, other.values)
        for other in (green, blue)
    )
    return red if is_gray else None


def _read_item(
    item: Header, descriptor_keyword: str, data_keyword: str, signed: bool
) -> tuple[Lut | None, tuple[str, ...]]:
    descriptor, raw = item.words(descriptor_keyword), item.raw(data_keyword)
    if len(descriptor) != 3 or len(raw) < 2:
        return None, ()
    # An entry count of 0 means 65536: the number does not fit into 16 bits.
    declared, first, bits = descriptor[0] or 1 << 16, descriptor[1], descriptor[2]
    values = _read_entries(item, data_keyword, raw, declared)
    flags: tuple[str, ...] = ()
    if len(values) < declared:
        if 2 * len(values) < declared:
            return None, ()
        flags += ("truncated",)
    if values.min() == values.max():
        return None, ()
    used_bits = int(values.max()).bit_length()
    # The top of a table that was cut may have been in the last of its bits.
    if used_bits != bits and not (flags and used_bits == bits - 1):
        bits, flags = used_bits, (*flags, "rescaled")
    if signed and first >= 1 << 15:
        first -= 1 << 16
    return Lut(first, bits, values), flags


def _read_entries(
    item: Header, keyword: str, raw: bytes, declared: int
) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    words = np.frombuffer(raw, f"{item.byte_order}u2", count=len(raw) // 2)
    if len(raw) not in (declared, declared + declared % 2):
        return words[:declared].astype(np.uint16)
    # Bytes in words of big endian are swapped (PS3.5 A.3).
    packed = words.astype("<u2").tobytes() if item.is_in_words(keyword) else raw
    return np.frombuffer(packed, np.uint8)[:declared].astype(np.uint16)

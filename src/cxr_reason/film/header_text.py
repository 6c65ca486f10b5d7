"""Text of a header in any character set, made comparable. None of it may leave this package."""

from __future__ import annotations

import unicodedata

from pydicom.charset import convert_encodings, decode_bytes, python_encoding

from cxr_reason.film.header import Header
from cxr_reason.film.quiet import quiet_pydicom

_MOST_BYTES = 256  # of a value that is looked at; the standard's longest is 64 characters
# What is tried after the stated character set: text is often in one that the header does not name.
_GUESSES = (
    "utf-8",
    "shift_jis",
    "gb18030",
    "euc_kr",
    "cp1251",
    "iso8859_7",
    "latin_1",
    "iso8859_2",
)
# Letters that Unicode does not decompose into a base letter and an accent.
_BASE_LETTERS = str.maketrans({"Ł": "L", "Ø": "O", "Đ": "D", "Ħ": "H", "Æ": "AE", "Œ": "OE"})


def fold(text: str) -> str:
    """Return `text` in upper case without accents, as words with one space between them."""
    decomposed = unicodedata.normalize("NFKD", text.upper())
    base = "".join(c for c in decomposed if not unicodedata.combining(c)).translate(_BASE_LETTERS)
    composed = unicodedata.normalize("NFC", base)
    return " ".join("".join(c if c.isalnum() else " " for c in composed).split())


def read_charset(header: Header) -> list[str]:
    """Return the Python encodings that Specific Character Set (0008,0005) names."""
    text = header.raw("SpecificCharacterSet")[:_MOST_BYTES].decode("ascii", "replace")
    names = [name.strip(" \0") for name in text.split("\\")]
    names = [name for name in names if name in python_encoding]
    with quiet_pydicom():
        return list(convert_encodings(names)) if any(names) else []


def read_folded(header: Header, keyword: str, charset: list[str]) -> tuple[str, ...]:
    """Return the first value of an element, folded: one text for each way to decode it.

    Args:
        header: The data set or an item of a sequence.
        keyword: Of the element.
        charset: From `read_charset` of the data set.

    Returns:
        Different texts, the likeliest first; none where the value is absent or empty.
    """
    raw = header.raw(keyword)[:_MOST_BYTES].strip(b" \0")
    if not raw:
        return ()
    texts = [] if raw.isascii() and b"\x1b" not in raw else _decode_as_stated(raw, charset)
    for encoding in ("ascii",) if raw.isascii() else _GUESSES:
        try:
            texts.append(raw.decode(encoding))
        except UnicodeDecodeError:
            continue
    folded = dict.fromkeys(fold(text.split("\\")[0]) for text in texts)
    # Letters decoded in a wrong way may all be signs: that is no text, other than "-" is.
    return tuple(text for text in folded if text or raw.isascii())


def _decode_as_stated(raw: bytes, charset: list[str]) -> list[str]:
    with quiet_pydicom():
        try:
            return [decode_bytes(raw, charset, set())] if charset else []
        except (LookupError, ValueError):
            return []

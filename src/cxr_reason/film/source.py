"""The bytes that a caller sends for a film: a file, or a `data:` URL of one (RFC 2397)."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
from dataclasses import dataclass

HEAD_LENGTH = 256  # no `data:` URL has a longer media type

_SCHEME = b"data:"
_HEAD = re.compile(r"data:(?P<type>[\w.+/-]*)(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class DataUrlHead:
    """The part of a `data:` URL before its payload.

    Attributes:
        media_type: In lower case; empty where the URL gives none.
        length: Characters up to the payload.
    """

    media_type: str
    length: int

    def payload_bytes(self, url_length: int, padding: int) -> int:
        """Return the bytes that the payload decodes to, without decoding it.

        Args:
            url_length: Characters of the whole URL.
            padding: Number of `=` at its end.
        """
        return (url_length - self.length) // 4 * 3 - padding


def is_data_url(data: bytes) -> bool:
    """Return whether the bytes are a URL that holds the file, and not the file itself."""
    return data[: len(_SCHEME)].lower() == _SCHEME


def read_data_url_head(head: str) -> DataUrlHead | None:
    """Read the start of a `data:` URL; None where it is not one of base64.

    Args:
        head: Its first `HEAD_LENGTH` characters, or more.
    """
    match = _HEAD.match(head[:HEAD_LENGTH])
    return DataUrlHead(match["type"].lower(), match.end()) if match else None


def hash_film(data: bytes) -> str:
    """Return the digest under which a film is known: the SHA-256 of its file, hexadecimal.

    Args:
        data: The file, or a `data:` URL, of which only the payload is hashed. A URL whose payload
            is not valid base64 is hashed unchanged; decoding refuses it.
    """
    if is_data_url(data):
        with contextlib.suppress(binascii.Error):
            data = base64.b64decode(data.partition(b",")[2], validate=True)
    return hashlib.sha256(data).hexdigest()

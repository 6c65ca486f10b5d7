"""The bytes that a caller sends for a film: a file, or a `data:` URL of one."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib

_SCHEME = b"data:"


def is_data_url(data: bytes) -> bool:
    """Return whether the bytes are a URL that holds the file, and not the file itself."""
    return data[: len(_SCHEME)].lower() == _SCHEME


def hash_film(data: bytes) -> str:
    """Return the digest under which a film is known: the SHA-256 of its file, hexadecimal.

    Args:
        data: The file, or a `data:` URL, of which the payload counts. A URL whose payload is not
            valid base64 is hashed as it stands; decoding refuses it.
    """
    if is_data_url(data):
        with contextlib.suppress(binascii.Error):
            data = base64.b64decode(data.partition(b",")[2], validate=True)
    return hashlib.sha256(data).hexdigest()

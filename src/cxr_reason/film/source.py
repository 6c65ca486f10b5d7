"""The bytes that a caller sends for a film: a file, or a `data:` URL of one (RFC 2397).

DICOM, PNG and JPEG are told apart by their first bytes, never by a name or a media type: by the
client before it sends, and by the server before it decodes.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
from dataclasses import dataclass

from cxr_reason.errors import UnreadableImageError
from cxr_reason.film.info import SourceKind

HEAD_LENGTH = 256  # no `data:` URL has a longer media type

PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8\xff"
_PREAMBLE_BYTES = 128
_DICOM_MAGIC = b"DICM"
# Value representations of the elements that a DICOM file or a data set may start with.
FIRST_REPRESENTATIONS = (b"UL", b"OB", b"UI", b"CS", b"SH", b"LO", b"DA", b"TM", b"DT", b"SQ")

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


def check_data_url(url: bytes) -> DataUrlHead:
    """Return the head of a `data:` URL.

    Raises:
        UnreadableImageError: It is not one of base64.
    """
    head = read_data_url_head(url[:HEAD_LENGTH].decode("latin-1"))
    if head is None:
        raise UnreadableImageError("image: a data: URL must be data:<media type>;base64,<base64>")
    return head


def find_dataset_start(data: bytes) -> int | None:
    """Return where the file meta information or, without one, the data set of a DICOM file starts.

    The 128-byte preamble and the file meta information (PS3.10 7.1) may be missing. None where the
    bytes do not start as a DICOM file.
    """
    if data[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == _DICOM_MAGIC:
        return _PREAMBLE_BYTES + 4
    if data.startswith(_DICOM_MAGIC):
        return 4
    # A data set starts with group 0008, whose first elements are short.
    is_bare = data[4:6] in FIRST_REPRESENTATIONS and data[:2] in (b"\2\0", b"\x08\0", b"\0\x08")
    is_implicit = data[:2] == b"\x08\0" and data[3:4] == b"\0" and data[5:8] == bytes(3)
    return 0 if is_bare or is_implicit else None


def check_kind(data: bytes) -> SourceKind:
    """Return what a file is by its first bytes; it may still be damaged.

    Args:
        data: The file, or its start of at least 132 bytes.

    Raises:
        UnreadableImageError: It starts as none of the three.
    """
    if find_dataset_start(data) is not None:
        return "dicom"
    if data.startswith(PNG_START):
        return "png"
    if data.startswith(_JPEG_START):
        return "jpeg"
    raise UnreadableImageError("image: neither DICOM, PNG, JPEG nor a base64 data: URL of one")


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

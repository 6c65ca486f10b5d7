"""The transfer syntaxes that are read (PS3.5 10, A)."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Syntax(NamedTuple):
    """How a transfer syntax stores pixels."""

    kind: Literal["native", "rle", "jpeg", "jpeg_ls", "jpeg_2000"]
    is_lossy: bool = False


IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
SYNTAXES: dict[str, Syntax] = {
    **dict.fromkeys((IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN), Syntax("native")),
    "1.2.840.10008.1.2.4.50": Syntax("jpeg", is_lossy=True),  # JPEG baseline
    "1.2.840.10008.1.2.4.51": Syntax("jpeg", is_lossy=True),  # JPEG extended, 8 or 12 bits
    "1.2.840.10008.1.2.4.57": Syntax("jpeg"),  # JPEG lossless
    "1.2.840.10008.1.2.4.70": Syntax("jpeg"),  # JPEG lossless, selection value 1
    "1.2.840.10008.1.2.4.80": Syntax("jpeg_ls"),  # JPEG-LS
    "1.2.840.10008.1.2.4.81": Syntax("jpeg_ls", is_lossy=True),  # JPEG-LS, near-lossless
    "1.2.840.10008.1.2.4.90": Syntax("jpeg_2000"),  # JPEG 2000, lossless
    "1.2.840.10008.1.2.4.91": Syntax("jpeg_2000", is_lossy=True),  # JPEG 2000
    "1.2.840.10008.1.2.4.201": Syntax("jpeg_2000"),  # HTJ2K, lossless
    "1.2.840.10008.1.2.4.202": Syntax("jpeg_2000"),  # HTJ2K, lossless, RPCL
    "1.2.840.10008.1.2.4.203": Syntax("jpeg_2000", is_lossy=True),  # HTJ2K
    "1.2.840.10008.1.2.5": Syntax("rle"),
}

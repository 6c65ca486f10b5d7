"""Header of a DICOM file, read so that nothing identifying is kept or shown.

Only the elements in `READ` are kept from the file, as raw bytes: pydicom's own conversion of
values warns and logs with the values in its texts.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag

from cxr_reason.errors import TooLargeError, UnreadableImageError
from cxr_reason.film.pixels import BIG_ENDIAN, DECODERS, DEFLATED, IMPLICIT
from cxr_reason.film.quiet import quiet_pydicom

PREAMBLE_BYTES = 128
META_START = b"\x02\x00\x00\x00UL\x04\x00"  # (0002,0000), where a file has no preamble

_SEQUENCES = (
    "AnatomicRegionSequence",
    "ViewCodeSequence",
    "ModalityLUTSequence",
    "VOILUTSequence",
)
IMAGE_ATTRIBUTES = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
READ = (
    *_SEQUENCES,
    *IMAGE_ATTRIBUTES,
    "AcquisitionDeviceProcessingDescription",
    "BodyPartExamined",
    "FieldOfViewHorizontalFlip",
    "FieldOfViewRotation",
    "ImageLaterality",
    "ImagerPixelSpacing",
    "Laterality",
    "Modality",
    "NumberOfFrames",
    "PatientOrientation",
    "PhotometricInterpretation",
    "PixelAspectRatio",
    "PixelData",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "PixelSpacing",
    "PixelSpacingCalibrationType",
    "PresentationIntentType",
    "PresentationLUTShape",
    "ProtocolName",
    "RequestedProcedureDescription",
    "RescaleIntercept",
    "RescaleSlope",
    "SOPClassUID",
    "SeriesDescription",
    "SpecificCharacterSet",
    "StudyDescription",
    "ViewPosition",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
)


def is_dicom(data: bytes) -> bool:
    """Tell whether `data` starts as a DICOM file, with or without the 128-byte preamble."""
    magic = data[PREAMBLE_BYTES : PREAMBLE_BYTES + 4]
    return magic == b"DICM" or data.startswith(META_START)


class Header:
    """Elements by keyword, read leniently: an absent, empty or malformed value is empty."""

    def __init__(self, dataset: Dataset, *, transfer_syntax: str) -> None:
        self._dataset = dataset
        self.transfer_syntax = transfer_syntax
        self.byte_order = ">" if transfer_syntax == BIG_ENDIAN else "<"

    def _value(self, keyword: str) -> object:
        tag = Tag(keyword)
        # `get_item` leaves the value as bytes: pydicom's own conversion warns and logs values.
        # `keep_deferred`: without it an empty value counts as not yet read, and is converted.
        is_here = tag in self._dataset
        return self._dataset.get_item(tag, keep_deferred=True).value if is_here else None

    def raw(self, keyword: str) -> bytes:
        """Return the value as it is in the file."""
        value = self._value(keyword)
        return value if isinstance(value, bytes) else b""

    def text(self, keyword: str) -> str:
        """Return the first value as upper-case text."""
        return self.raw(keyword).decode("ascii", "replace").split("\\")[0].strip(" \0").upper()

    def numbers(self, keyword: str) -> list[float]:
        """Return all values as numbers, or none if one of them is not."""
        numbers = []
        for part in self.raw(keyword).decode("ascii", "replace").strip(" \0").split("\\"):
            try:
                number = float(part)
            except ValueError:
                return []
            if not np.isfinite(number):
                return []
            numbers.append(number)
        return numbers

    def words(self, keyword: str) -> list[int]:
        """Return the value as unsigned 16-bit words."""
        value = self._value(keyword)
        if isinstance(value, int):
            # pydicom converts Pixel Representation on its own when it parses a sequence.
            return [value]
        raw = self.raw(keyword)
        return list(struct.unpack_from(f"{self.byte_order}{len(raw) // 2}H", raw))

    def items(self, keyword: str) -> list[Header]:
        """Return the items of a sequence."""
        tag = Tag(keyword)
        if tag not in self._dataset or self._dataset[tag].VR != "SQ":
            return []
        return [
            Header(item, transfer_syntax=self.transfer_syntax) for item in self._dataset[tag].value
        ]


def read_header(data: bytes, max_inflated_bytes: int) -> Header:
    """Read what `READ` names.

    Raises:
        UnreadableImageError: Damaged, truncated, or a transfer syntax without a decoder.
        TooLargeError: A deflated data set over `max_inflated_bytes` once inflated.
    """
    source = BytesIO(data)
    source.seek(0 if data.startswith(META_START) else PREAMBLE_BYTES + 4)
    with quiet_pydicom():
        try:
            meta = read_dataset(source, False, True, stop_when=_is_past_file_meta)
            syntax = Header(meta, transfer_syntax="").text("TransferSyntaxUID")
            if syntax not in DECODERS:
                raise UnreadableImageError(
                    "DICOM: no decoder for this transfer syntax; send the film uncompressed, or as "
                    "JPEG, JPEG-LS, JPEG 2000 or RLE"
                )
            if syntax == DEFLATED:
                source = BytesIO(_inflate(data[source.tell() :], max_inflated_bytes))
            dataset = read_dataset(
                source,
                is_implicit_VR=syntax == IMPLICIT,
                is_little_endian=syntax != BIG_ENDIAN,
                specific_tags=[Tag(keyword) for keyword in READ],
            )
            for keyword in _SEQUENCES:
                dataset.get(Tag(keyword))  # parses a sequence, which may be damaged too
            if not dataset:  # what pydicom returns when the file ends inside an element
                raise EOFError
        except (UnreadableImageError, TooLargeError):
            raise
        except Exception as error:
            raise UnreadableImageError("DICOM: header damaged or truncated") from error
    return Header(dataset, transfer_syntax=syntax)


def _is_past_file_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag.group != 2


def _inflate(deflated: bytes, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, max_bytes)
    if inflater.unconsumed_tail:
        raise TooLargeError(
            f"DICOM: the deflated data set is over {max_bytes} bytes once inflated; "
            "send a smaller film or raise max_encoded_bytes"
        )
    if not inflater.eof:
        raise UnreadableImageError("DICOM: deflated data set truncated")
    return inflated

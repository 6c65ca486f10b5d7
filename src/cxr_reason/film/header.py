"""Header of a DICOM file, read so that nothing identifying is kept or shown.

Only the elements in `READ` are kept from the file, as raw bytes: pydicom's own conversion of
values warns and logs with the values in its texts.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from cxr_reason.errors import TooLargeError, UnreadableImageError
from cxr_reason.film.counted import CountedBytes, ReadBudget
from cxr_reason.film.dataset import read_named
from cxr_reason.film.elements import UNDEFINED_LENGTH
from cxr_reason.film.pixels import REPAIRED
from cxr_reason.film.quiet import quiet_pydicom
from cxr_reason.film.source import FIRST_REPRESENTATIONS, find_dataset_start
from cxr_reason.film.syntaxes import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, SYNTAXES

_MOST_ITEMS = 32  # of a sequence; each meaning of a code is decoded in many ways, for milliseconds
# Of a text, of numbers and of words that are looked at. Implicit VR allows values of any size, and
# 4 MB of numbers take seconds. No table is read through these.
_MOST_TEXT_BYTES, _MOST_NUMBERS_BYTES, _MOST_WORDS_BYTES = 1024, 4096, 1024

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
_PALETTE = tuple(
    f"{color}PaletteColorLookupTable{part}"
    for color in ("Red", "Green", "Blue")
    for part in ("Descriptor", "Data")
)
_NEEDED = (*IMAGE_ATTRIBUTES, "PixelData")
READ = (
    *_SEQUENCES,
    *IMAGE_ATTRIBUTES,
    *_PALETTE,
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
    "PlanarConfiguration",
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


class Header:
    """Elements by keyword, read leniently: an absent, empty or malformed value is empty.

    Attributes:
        transfer_syntax: A key of `SYNTAXES`.
        byte_order: "<" or ">".
    """

    def __init__(
        self, dataset: Dataset, *, transfer_syntax: str, repairs: tuple[str, ...] = ()
    ) -> None:
        self._dataset = dataset
        self.transfer_syntax = transfer_syntax
        self.byte_order = ">" if transfer_syntax == BIG_ENDIAN else "<"
        self._repairs = repairs

    @property
    def repairs(self) -> tuple[str, ...]:
        """Flags of what had to be repaired to read the header, as far as it was read."""
        return self._repairs

    def _element(self, keyword: str) -> Any:
        tag = Tag(keyword)
        # `get_item` leaves the value as bytes: pydicom's own conversion warns and logs values.
        # `keep_deferred`: without it an empty value counts as not yet read, and is converted.
        is_here = tag in self._dataset
        return self._dataset.get_item(tag, keep_deferred=True) if is_here else None

    def _value(self, keyword: str) -> object:
        return getattr(self._element(keyword), "value", None)

    def has_undefined_length(self, keyword: str) -> bool:
        """Tell whether a value has no length but a delimiter, as encapsulated pixel data have."""
        return getattr(self._element(keyword), "length", 0) == UNDEFINED_LENGTH

    def is_in_words(self, keyword: str) -> bool:
        """Tell whether bytes of the value are swapped in pairs by big endian (PS3.5 7.3)."""
        return getattr(self._element(keyword), "VR", None) != "OB" and self.byte_order == ">"

    def raw(self, keyword: str) -> bytes:
        """Return the value as it is in the file."""
        value = self._value(keyword)
        return value if isinstance(value, bytes) else b""

    def text(self, keyword: str) -> str:
        """Return the first value as upper-case text."""
        raw = self.raw(keyword)[:_MOST_TEXT_BYTES]
        return raw.decode("ascii", "replace").split("\\")[0].strip(" \0").upper()

    def numbers(self, keyword: str) -> list[float]:
        """Return all values as numbers, or none if one of them is not, or there are too many."""
        numbers = []
        # Some writers end a list with a delimiter.
        raw = self.raw(keyword)
        if len(raw) > _MOST_NUMBERS_BYTES:
            return []
        text = raw.decode("ascii", "replace").strip(" \0").rstrip("\\ ")
        if "," in text and "." not in text and text.count(",") <= text.count("\\") + 1:
            # The decimal sign of many languages, not that of PS3.5 6.2.
            text = text.replace(",", ".")
            self._repairs = (REPAIRED,)
        for part in text.split("\\"):
            try:
                number = float(part)
            except ValueError:
                return []
            if not np.isfinite(number):
                return []
            numbers.append(number)
        return numbers

    def words(self, keyword: str) -> list[int]:
        """Return the value, or the start of a long one, as unsigned 16-bit words."""
        value = self._value(keyword)
        if isinstance(value, int):
            # pydicom converts Pixel Representation on its own when it parses a sequence.
            return [value]
        raw = self.raw(keyword)[:_MOST_WORDS_BYTES]
        return list(struct.unpack_from(f"{self.byte_order}{len(raw) // 2}H", raw))

    def items(self, keyword: str) -> list[Header]:
        """Return the items of a sequence, of a long one the first."""
        value = self._value(keyword)
        if not isinstance(value, Sequence):
            return []
        return [Header(item, transfer_syntax=self.transfer_syntax) for item in value[:_MOST_ITEMS]]


def read_header(data: bytes, max_inflated_bytes: int) -> Header:
    """Read what `READ` names.

    Raises:
        UnreadableImageError: Damaged, truncated, or a transfer syntax without a decoder.
        TooLargeError: A deflated data set over `max_inflated_bytes` once inflated, or far more
            elements than a film has.
    """
    budget = ReadBudget()
    source = CountedBytes(data, budget)
    source.seek(find_dataset_start(data) or 0)
    with quiet_pydicom():
        try:
            meta = read_dataset(source, False, True, stop_when=_is_past_file_meta)
            syntax = Header(meta, transfer_syntax="").text("TransferSyntaxUID")
            is_declared = bool(syntax)
            if not is_declared:
                syntax = _guess_syntax(data[source.tell() : source.tell() + 6])
            if syntax not in SYNTAXES:
                raise UnreadableImageError(
                    "DICOM: no decoder for this transfer syntax; send the film uncompressed, or as "
                    "JPEG, JPEG-LS, JPEG 2000 or RLE"
                )
            if syntax == DEFLATED:
                source = CountedBytes(_inflate(data[source.tell() :], max_inflated_bytes), budget)
            dataset, is_repaired = read_named(
                source, syntax, budget=budget, named=READ, sequences=_SEQUENCES, needed=_NEEDED
            )
        except (UnreadableImageError, TooLargeError):
            raise
        except Exception as error:
            budget.check()
            raise UnreadableImageError("DICOM: header damaged or truncated") from error
    repairs = (REPAIRED,) if is_repaired or not is_declared else ()
    return Header(dataset, transfer_syntax=syntax, repairs=repairs)


def _guess_syntax(start: bytes) -> str:
    """Tell the encoding of a data set without file meta information by its first element."""
    if start[:1] == b"\0":
        return BIG_ENDIAN
    return EXPLICIT if start[4:6] in FIRST_REPRESENTATIONS else IMPLICIT


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

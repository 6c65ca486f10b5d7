"""Small DICOM films, written element by element: tests of headers need no data for them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

_MARK = "ZZMARKZZMARKZZ"


def film_of(height: int, width: int) -> np.ndarray:
    """Return noise of 12 bits, uint16 `[height, width]`."""
    return np.random.default_rng(0).integers(0, 4096, (height, width)).astype(np.uint16)


def make_film(pixels: np.ndarray | None = None, **values: Any) -> bytes:
    """Return a CR of a chest, PA, with other header values; None removes an element."""
    pixels = film_of(40, 30) if pixels is None else pixels
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = np.ascontiguousarray(pixels).astype("<u2").tobytes()
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def make_film_with_bytes(keyword: str, value: bytes, **values: Any) -> bytes:
    """Return a film with any bytes in one text element: pydicom would not write them."""
    data = make_film(**{**values, keyword: _MARK})
    value += b" " * (len(value) % 2)
    start = data.index(_MARK.encode())
    length = len(value).to_bytes(2, "little")
    return data[: start - 2] + length + value + data[start + len(_MARK) :]


def code_item(value: str, scheme: str, meaning: str = "") -> Sequence:
    """Return a sequence of one code."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])

"""Small DICOM files of a chest film, written so that one thing of them can be wrong."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
CANARY = "CANARY^NAME"


def chest_pixels(bits: int = 12, rows: int = 40, columns: int = 30) -> np.ndarray:
    """Smooth pixels with some noise over the whole range, uint8 or uint16."""
    slope = np.add.outer(np.linspace(0, 0.7, rows), np.linspace(0, 0.3, columns))
    noise = np.random.default_rng(0).random((rows, columns)) / 50
    values = np.clip(slope + noise, 0, 1) * ((1 << bits) - 1)
    values[0, 0], values[-1, -1] = 0, (1 << bits) - 1
    return np.rint(values).astype(np.uint8 if bits == 8 else np.uint16)


def chest_dataset(pixels: np.ndarray, bits: int, **values: Any) -> Dataset:
    """Return a CR film; None removes an element."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3.4.5"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.PatientName, dataset.PatientID = CANARY, "CANARYID"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored = 8 * pixels.dtype.itemsize, bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    dataset.WindowCenter, dataset.WindowWidth = str(1 << (bits - 1)), str(1 << bits)
    dataset.add_new("PixelData", "OW", pixels.tobytes())
    for keyword, value in values.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def chest_file(dataset: Dataset, syntax: str = EXPLICIT) -> bytes:
    """Write a data set as a file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    previous = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        dataset.save_as(
            buffer,
            implicit_vr=syntax == IMPLICIT,
            little_endian=syntax != BIG_ENDIAN,
            enforce_file_format=True,
        )
    finally:
        config.settings.writing_validation_mode = previous
    return buffer.getvalue()


def bare_dataset(dataset: Dataset, syntax: str = EXPLICIT) -> bytes:
    """Write a data set without preamble and file meta information."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax != BIG_ENDIAN
    buffer.is_implicit_VR = syntax == IMPLICIT
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def with_frame(dataset: Dataset, frame: bytes) -> Dataset:
    """Store an encoded frame as pixel data."""
    dataset.add_new("PixelData", "OB", encapsulate([frame]))
    dataset["PixelData"].is_undefined_length = True
    return dataset


def lut_sequence(
    values: np.ndarray | bytes, entries: int, first: int = 0, bits: int = 12, vr: str = "OW"
) -> Sequence:
    """A look-up table; `values` are its words, or its bytes as they are."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [entries % 65536, first, bits])
    data = values if isinstance(values, bytes) else values.astype("<u2").tobytes()
    item.add_new("LUTData", vr, data)
    return Sequence([item])


def rle_frame(*segments: bytes) -> bytes:
    """An RLE frame of encoded segments (PS3.5 G.5)."""
    offsets, offset = [], 64
    for segment in segments:
        offsets.append(offset)
        offset += len(segment)
    header = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(offsets)))
    return header + b"".join(segments)

"""A phantom as a DICOM CR object (PS3.3 A.2), marked as synthetic wherever a header can say so."""

from __future__ import annotations

import hashlib
import uuid
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from cxr_reason.data.phantoms.anatomy import AgeBand
from cxr_reason.data.phantoms.detector import BITS_STORED
from cxr_reason.data.phantoms.phantom import Phantom

_AGES: dict[AgeBand, str] = {"18-39": "028Y", "40-64": "052Y", "65+": "074Y"}  # middle of a band
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/cxr-reason/cxr-reason/phantoms")


def write_dicom(phantom: Phantom, path: Path) -> None:
    """Write a phantom as a DICOM file; see `encode_dicom`."""
    path.write_bytes(encode_dicom(phantom))


def encode_dicom(phantom: Phantom) -> bytes:
    """Return a phantom as a DICOM file: uncompressed, with window, view and detector spacing.

    The UIDs follow from the seed and the pixels, so the same film is the same object. The date is
    left empty: it was never taken.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _describe_patient(dataset, phantom)
    _describe_acquisition(dataset, phantom)
    _add_image(dataset, phantom)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _describe_patient(dataset: Dataset, phantom: Phantom) -> None:
    digest = hashlib.sha256(phantom.pixels.astype("<u2").tobytes()).hexdigest()
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = _uid(f"image {phantom.seed} {digest}")
    dataset.SeriesInstanceUID = _uid(f"series {phantom.seed} {digest}")
    dataset.StudyInstanceUID = _uid(f"study {phantom.seed} {digest}")
    dataset.PatientName = "PHANTOM^SYNTHETIC"
    dataset.PatientID = f"PHANTOM-{phantom.seed}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = phantom.sex
    dataset.PatientAge = _AGES[phantom.age_band]
    dataset.SyntheticData = "YES"
    dataset.PatientComments = "Synthetic phantom, not a person"
    dataset.StudyDate = dataset.StudyTime = dataset.StudyID = ""
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "SYNTHETIC CHEST PHANTOM"


def _describe_acquisition(dataset: Dataset, phantom: Phantom) -> None:
    dataset.Modality = "CR"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Manufacturer = "cxr-reason phantoms"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = phantom.view
    # Rows run to the patient's left, columns to the feet.
    dataset.PatientOrientation = ["L", "F"]
    dataset.Laterality = ""
    dataset.KVP = f"{phantom.exposure.tube_kvp:g}"
    spacing = f"{phantom.pixel_spacing_mm:.8g}"
    dataset.ImagerPixelSpacing = [spacing, spacing]
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.ImageComments = "Synthetic phantom: not a radiograph of a person"
    dataset.BurnedInAnnotation = "NO"  # nothing that names anybody


def _add_image(dataset: Dataset, phantom: Phantom) -> None:
    exposure = phantom.exposure
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = exposure.photometric
    dataset.Rows, dataset.Columns = phantom.pixels.shape
    dataset.BitsAllocated, dataset.BitsStored = 16, BITS_STORED
    dataset.HighBit, dataset.PixelRepresentation = BITS_STORED - 1, 0
    dataset.WindowCenter = f"{exposure.window_center:g}"
    dataset.WindowWidth = f"{exposure.window_width:g}"
    dataset.VOILUTFunction = exposure.window_function
    dataset.PixelData = np.ascontiguousarray(phantom.pixels, dtype="<u2").tobytes()


def _uid(name: str) -> UID:
    """Return a UID of the form 2.25.<UUID as a number> (PS3.5 B.2)."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, name).int}")

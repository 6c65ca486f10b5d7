"""Synthetic frontal chest radiographs with exact ground truth for the fourteen labels.

    from cxr_reason.data.phantoms import make_phantom, write_dicom

    phantom = make_phantom(seed=7)
    phantom.pixels           # uint16 [320, 320], 12 bits, as a detector stores it
    phantom.labels           # {"Atelectasis": "absent", "Cardiomegaly": "present", …}
    phantom.findings         # what is drawn: side, zone, box, contrast
    write_dicom(phantom, path)

A film is a projection: path lengths through tissue (`body`, `skeleton`, `vessels`), times
attenuation coefficients (`materials`), to transmitted and scattered radiation and stored values
(`detector`). Findings are changes of the path lengths (`opacities`, `pleura`, `hardware`) or of the
outline. Which labels follow is in `cases`, and where and how clear a finding is in `truth`.

The same seed gives the same film, on any processor: random bits are Philox's, and all is computed
in float64, so that the last digit of a cosine does not reach the twelve bits that are stored
(tested to the bit with and without AVX2 and AVX-512). There is no global state. NumPy may one day
draw other normal numbers from the same bits (NEP 19); `tests/training/test_phantoms.py` would fail
then.

What phantoms teach and what they do not: `training/README.md`.
"""

from cxr_reason.data.phantoms.cases import (
    DEFAULT_PREVALENCE,
    VISIBLE_CONTRAST,
    State,
    label_film,
)
from cxr_reason.data.phantoms.dicom_file import encode_dicom, write_dicom
from cxr_reason.data.phantoms.phantom import Phantom, generate_many, make_phantom
from cxr_reason.data.phantoms.sets import PhantomSplit, phantom_seeds
from cxr_reason.data.phantoms.truth import Box, PhantomFinding, Zone

__all__ = [
    "DEFAULT_PREVALENCE",
    "VISIBLE_CONTRAST",
    "Box",
    "Phantom",
    "PhantomFinding",
    "PhantomSplit",
    "State",
    "Zone",
    "encode_dicom",
    "generate_many",
    "label_film",
    "make_phantom",
    "phantom_seeds",
    "write_dicom",
]

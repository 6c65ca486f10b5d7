"""Training examples from the public data sets of chest radiographs, and splits by patient.

    examples = load_release(folder)  # CheXpert, MIMIC-CXR-JPG or NIH ChestX-ray14; or load_openi
    parts = split_by_patient(examples, {"train": 0.9, "validation": 0.1}, seed=0)

Every loader reads the files of a release as they are, keeps frontal films, and states a label only
where the source states it. Bad data are collected and raised as one `DataError`: nothing is
skipped in silence and no training starts on half a data set.
"""

from cxr_reason.data.releases.chexpert import load_chexpert
from cxr_reason.data.releases.example import Box, Example, Split
from cxr_reason.data.releases.mimic import load_mimic
from cxr_reason.data.releases.nih import load_nih, load_nih_subset
from cxr_reason.data.releases.openi import load_openi
from cxr_reason.data.releases.refusals import load_refusals
from cxr_reason.data.releases.release import load_release
from cxr_reason.data.releases.splits import check_splits, official_splits, split_by_patient
from cxr_reason.data.releases.taxonomy import NIH_TO_CHEXPERT, map_nih_labels

__all__ = [
    "NIH_TO_CHEXPERT",
    "Box",
    "Example",
    "Split",
    "check_splits",
    "load_chexpert",
    "load_mimic",
    "load_nih",
    "load_nih_subset",
    "load_openi",
    "load_refusals",
    "load_release",
    "map_nih_labels",
    "official_splits",
    "split_by_patient",
]

"""The findings that a statement can be about, and what each is called in two label sets.

The fine names keep apart what a label set may merge. CheXpert (Irvin et al. 2019) merges masses and
nodules into Lung Lesion; NIH ChestX-ray14 (Wang et al. 2017) has no label for opacities, fractures
or devices. What a label set has no name for is unmapped there: it is unknown, not absent.
"""

from __future__ import annotations

from typing import Literal

from cxr_reason.findings import LABELS, NO_FINDING

Taxonomy = Literal["chexpert", "nih"]

# An abnormality or object that neither label set names: it only rules out "No Finding".
OTHER = "Other Abnormality"

NIH_LABELS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)

TO_CHEXPERT: dict[str, str] = {
    **{label: label for label in LABELS},
    "Mass": "Lung Lesion",
    "Nodule": "Lung Lesion",
    # A round opacity may be a nipple or a vessel; CheXpert's labeller counts it as a lesion.
    "Nodular Opacity": "Lung Lesion",
    "Infiltration": "Lung Opacity",
    "Pleural Thickening": "Pleural Other",
    # CheXpert's labeller reads heart failure and vascular congestion as Edema, infection as
    # Pneumonia; the NIH labels have no place for them.
    "Vascular Congestion": "Edema",
    "Infection": "Pneumonia",
}

TO_NIH: dict[str, str] = {
    **{label: label for label in NIH_LABELS},
    "Pleural Effusion": "Effusion",
    "Pleural Thickening": "Pleural_Thickening",
}

# In neither: Other Abnormality. Only in NIH: Emphysema, Fibrosis, Hernia.
FINDINGS: tuple[str, ...] = tuple(
    name
    for name in dict.fromkeys((*TO_CHEXPERT, *TO_NIH, OTHER))
    if name not in ("Effusion", "Pleural_Thickening")
)

TAXONOMIES: dict[Taxonomy, tuple[tuple[str, ...], dict[str, str]]] = {
    "chexpert": (LABELS, TO_CHEXPERT),
    "nih": ((*NIH_LABELS, NO_FINDING), TO_NIH),
}

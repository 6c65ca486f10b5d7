"""Label sets → the fourteen CheXpert labels; what cannot be mapped stays unknown.

| source          | says                         | label                                          |
|-----------------|------------------------------|------------------------------------------------|
| CheXpert, MIMIC | 1, 0, -1, blank              | present, absent, uncertain, unknown            |
| NIH             | a label with a CheXpert name | present                                        |
| NIH             | not listed                   | absent; unknown where NIH's name is narrower   |
| NIH             | Emphysema, Fibrosis, Hernia  | none of its own; No Finding absent             |
| NIH             | No Finding                   | present, the rest as not listed                |

NIH ChestX-ray14 says nothing of Enlarged Cardiomediastinum, Fracture and Support Devices: they are
unknown in every row, and "No Finding" there is only "none of the fourteen".

Sources: Irvin et al., CheXpert (AAAI 2019); Johnson et al., MIMIC-CXR-JPG (2019); Wang et al.,
ChestX-ray8 (CVPR 2017).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cxr_reason.data.releases.tables import RowError
from cxr_reason.findings import LABELS, NO_FINDING
from cxr_reason.statements import NIH_LABELS, TO_CHEXPERT, TO_NIH, Polarity

# Through the fine names of the statement labeller, so that both read a film alike.
NIH_TO_CHEXPERT: dict[str, str] = {
    nih: TO_CHEXPERT[finding] for finding, nih in TO_NIH.items() if finding in TO_CHEXPERT
}

# No infiltration still leaves other opacities, no thickening other pleural disease.
_NARROWER = frozenset({"Infiltration", "Pleural_Thickening"})

_VALUES: dict[str, Polarity] = {"1": "present", "0": "absent", "-1": "uncertain"}
# The releases write floats; copies that went through a spreadsheet lose the zero.
_CHEXPERT_VALUES = {**_VALUES, **{f"{value}.0": state for value, state in _VALUES.items()}}


def read_chexpert_labels(cells: Mapping[str, str]) -> dict[str, Polarity]:
    """Read the fourteen columns of CheXpert or MIMIC-CXR-JPG.

    Args:
        cells: Text by column; other columns are not looked at.

    Raises:
        RowError: A value is none of 1, 0, -1 and blank.
    """
    labels: dict[str, Polarity] = {}
    for label in LABELS:
        value = cells[label]
        if value and value not in _CHEXPERT_VALUES:
            raise RowError(f"{label}: unknown value {value!r}; allowed are 1, 0, -1 or blank")
        if value:
            labels[label] = _CHEXPERT_VALUES[value]
    return labels


def read_nih_labels(text: str) -> frozenset[str]:
    """Read a cell such as `Effusion|Mass`; empty for `No Finding`.

    Raises:
        RowError: A name is not of NIH ChestX-ray14, or No Finding stands beside a finding.
    """
    names = frozenset(name.strip() for name in text.split("|"))
    if unknown := sorted(names - {*NIH_LABELS, NO_FINDING}):
        raise RowError(f"unknown label: {', '.join(map(repr, unknown))}")
    if NO_FINDING in names and len(names) > 1:
        raise RowError(f"{NO_FINDING} beside findings: {text!r}")
    return names - {NO_FINDING}


def map_nih_labels(names: Iterable[str]) -> dict[str, Polarity]:
    """Return the CheXpert labels that follow from the findings of one film in NIH ChestX-ray14.

    Args:
        names: Its labels, of `NIH_LABELS`; empty for No Finding.
    """
    listed = frozenset(names)
    found: dict[str, Polarity] = {
        label: "absent" for name, label in NIH_TO_CHEXPERT.items() if name not in _NARROWER
    }
    found |= {NIH_TO_CHEXPERT[name]: "present" for name in listed if name in NIH_TO_CHEXPERT}
    found[NO_FINDING] = "absent" if listed else "present"
    return {label: found[label] for label in LABELS if label in found}

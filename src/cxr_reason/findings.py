"""The vocabulary of the answer: the fourteen CheXpert labels.

Source: Irvin et al., CheXpert (AAAI 2019), and the reward of NVIDIA-Medtech/NV-Reason-CXR
(`train/vlm_rewards.py`), which compares lower-cased, comma-split sets of these names.
"""

from __future__ import annotations

NO_FINDING = "No Finding"

LABELS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    NO_FINDING,
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)

# A finding makes its parent present too: Irvin et al., figure 1.
PARENTS: dict[str, str] = {
    "Atelectasis": "Lung Opacity",
    "Cardiomegaly": "Enlarged Cardiomediastinum",
    "Consolidation": "Lung Opacity",
    "Edema": "Lung Opacity",
    "Lung Lesion": "Lung Opacity",
    "Pneumonia": "Consolidation",
}

_BY_FOLDED_NAME = {" ".join(label.lower().split()): label for label in LABELS}


def labels_above(label: str) -> tuple[str, ...]:
    """Return a label, its parent, and so on."""
    parent = PARENTS.get(label)
    return (label, *labels_above(parent)) if parent else (label,)


def find_label(name: str) -> str | None:
    """Return the label that `name` spells, whatever its case and inner spaces, or None."""
    return _BY_FOLDED_NAME.get(" ".join(name.lower().split()))


def split_answer(answer: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split a comma-separated answer into labels and unknown names.

    Args:
        answer: The text between `<answer>` and `</answer>`.

    Returns:
        The known labels in the order of `LABELS`, each once, and the unknown names as written, in
        their order, each once.
    """
    names = [name.strip().rstrip(". ") for name in answer.replace("\n", ",").split(",")]
    known = {label for name in names if (label := find_label(name))}
    unknown = [name for name in names if name and find_label(name) is None]
    return tuple(label for label in LABELS if label in known), tuple(dict.fromkeys(unknown))

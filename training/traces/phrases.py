"""The words of the rules writer: two or three phrases for each slot, and no more.

A small model learns the form from few films, so a slot varies little and its decision word comes
early, next to the label's own words. No phrase states what the source did not: sections without a
label (airways, hila, abdomen) only tell where the reader looks. Alternatives are what radiologists
name as mimics of a sign; none of them is a label, so that none reads as a statement.
"""

from __future__ import annotations

from cxr_reason.statements import Polarity
from cxr_reason.training.traces.facts import View

# With its article: as in "There is …" and "… is possible".
NOUNS: dict[str, str] = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Edema": "pulmonary edema",
    "Enlarged Cardiomediastinum": "an enlarged mediastinum",
    "Fracture": "a fracture",
    "Lung Lesion": "a lung lesion",
    "Lung Opacity": "a lung opacity",
    "Pleural Effusion": "a pleural effusion",
    "Pleural Other": "a pleural lesion",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "a pneumothorax",
    "Support Devices": "support devices",
}

ALTERNATIVES: dict[str, str] = {
    "Atelectasis": "a skin fold",
    "Cardiomegaly": "a shallow breath",
    "Consolidation": "overlapping vessels",
    "Edema": "a soft exposure",
    "Enlarged Cardiomediastinum": "a turn of the patient",
    "Fracture": "an overlap of two ribs",
    "Lung Lesion": "a vessel seen end on",
    "Lung Opacity": "overlapping soft tissue",
    "Pleural Effusion": "overlapping breast tissue",
    "Pleural Other": "fat along the chest wall",
    "Pneumonia": "aspiration",
    "Pneumothorax": "the edge of the scapula",
    "Support Devices": "an object on the skin",
}

# Label and kind → how it is said of what is present; other kinds say no more than the label.
KINDS: dict[tuple[str, str | None], str] = {
    ("Atelectasis", "lobar collapse"): "a lobar collapse",
    ("Fracture", "rib fracture"): "a broken rib",
    ("Lung Lesion", "nodule"): "a nodule",
    ("Lung Lesion", "mass"): "a mass",
    ("Lung Opacity", "ground-glass opacity"): "a ground glass patch",
    ("Pleural Other", "calcified pleural plaque"): "a plaque",
    ("Pleural Other", "pleural thickening"): "a thickening",
}
DEVICES = ("endotracheal tube", "central venous catheter", "pacemaker", "nasogastric tube")

ABSENT = ("No {noun} is seen.", "There is no {noun}.")
PRESENT = ("There is {noun}{where}{tail}.", "{Noun} is present{where}{tail}.")
UNCERTAIN = (
    "{Noun} is possible{where}, although {alternative} could look alike.",
    "{Noun} is uncertain{where}, because {alternative} could look alike.",
)

# Labels that are said in words of their own.
OWN_WORDS: dict[str, dict[Polarity, tuple[str, ...]]] = {
    "Support Devices": {
        "present": ("Support devices are present.", "Support devices are in place."),
        "absent": ("No support devices are seen.", "There are no support devices."),
        "uncertain": (
            "Support devices are possible, although an object on the skin could look alike.",
        ),
    },
    "Enlarged Cardiomediastinum": {
        "present": (
            "The mediastinum is widened, rather than seen in a turned patient.",
            "The mediastinum is enlarged, rather than seen in a turned patient.",
        ),
        "absent": ("The mediastinum is not widened.", "The mediastinum is not enlarged."),
        "uncertain": (
            "The mediastinum may be widened, although a turn of the patient could look alike.",
            "The mediastinum may be enlarged, although a turn of the patient could look alike.",
        ),
    },
    "Cardiomegaly": {
        "present": (
            "The heart is enlarged, rather than seen on a shallow breath.",
            "There is cardiomegaly, rather than only a shallow breath.",
        ),
        "absent": ("The heart is not enlarged.", "There is no cardiomegaly."),
        "uncertain": (
            "The heart may be enlarged, although a shallow breath could look alike.",
            "Cardiomegaly is possible, although a shallow breath could look alike.",
        ),
    },
}
# An outline that is wide because the heart is.
BY_HEART: dict[Polarity, tuple[str, ...]] = {
    "present": ("The mediastinum is enlarged by the heart.",),
    "uncertain": ("The mediastinum may be enlarged by the heart.",),
}

QUALITY = (
    "This is a {view} film of the chest.",
    "The film is a {view} view of the chest.",
)
VIEWS: dict[View | None, str] = {"PA": "frontal PA", "AP": "frontal AP", None: "frontal"}
# Where devices are unknown; these words alone are no device of the statement rules.
NO_WORD_ON_DEVICES = ("Lines and wires are not judged on this film.",)
AIRWAYS = (
    "The trachea is followed down to the carina.",
    "The airway is followed down to the carina.",
)
LUNGS = (
    "The lungs are compared zone by zone.",
    "The lungs are read zone by zone.",
)
LUNGS_UNPLACED = (
    "The lungs are compared side by side, zone by zone, from the apex to the base and from the"
    " middle to the chest wall. What is found is named in turn, as far as it can be placed on this"
    " film.",
)
ZONES: dict[Polarity, tuple[str, ...]] = {
    "absent": ("The {zone} zone is clear.",),
    "present": ("The {zone} zone is abnormal.",),
    "uncertain": ("The {zone} zone is doubtful.",),
}
PLEURA = (
    "The pleura is followed on both sides.",
    "The pleura is compared on both sides.",
)
MEDIASTINUM = (
    "The mediastinum is followed from the neck down to the heart, along both of its borders.",
)
HILA = (
    "The hila are compared for size.",
    "The hila are compared for height.",
)
HEART = ("The heart is measured against the chest.",)
ABDOMEN = (
    "The upper abdomen is looked at.",
    "The diaphragm is looked at.",
)
BONES = (
    "The bones are followed one by one.",
    "The bones are compared side by side.",
)
# Where fractures are unknown.
NO_WORD_ON_BONES = ("Their edges are traced as far as they can be told apart.",)

SUMMARY_PRESENT = ("In summary, the film shows {names}.",)
SUMMARY_DEVICES = ("In summary, the film shows support devices and no other finding.",)
SUMMARY_UNCERTAIN = ("In summary, nothing on this film is certain.",)
SUMMARY_NORMAL = ("In summary, there is no acute cardiopulmonary abnormality on this film.",)
MAY_BE = ("The uncertain part is that {names} may be present.",)

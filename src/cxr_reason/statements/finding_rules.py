"""How findings are named in reports and in reasoning.

Own phrases; what belongs to which finding was checked against the mention lists of
stanfordmlgroup/chexpert-labeler (MIT) and bionlplab/radtext (MIT), and against the glossary of
terms for thoracic imaging of the Fleischner Society (Hansell et al. 2008).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from cxr_reason.findings import NO_FINDING
from cxr_reason.statements.other_phrases import OTHER_PHRASES
from cxr_reason.statements.patterns import compile_rule
from cxr_reason.statements.vocabulary import OTHER

# `named`: present unless something negates or hedges it. `sign`: what suggests the finding without
# naming it: uncertain where a named one is present. `normal`: the statement that excludes it.
Kind = Literal["named", "sign", "normal"]


@dataclass(frozen=True)
class Rule:
    """One way to state a finding.

    Attributes:
        finding: A name of `vocabulary.FINDINGS`.
        kind: What a match says, see `Kind`.
        pattern: What it looks like. A group named `core`, where there is one, is the part that
            negation acts on; the rest gives the subject.
    """

    finding: str
    kind: Kind
    pattern: re.Pattern[str]


# The subjects of "… is enlarged" and "… is normal".
_HEART = (
    r"(?:heart(?: size)?|cardiac (?:silhouette|size|shadow|contours?|diameter)|cardiac"
    r"|cardio(?:mediastinal|pericardial) (?:silhouette|contours?|shadow)|cardiomediastinum"
    r"|cardiothoracic ratio)"
)
_MEDIASTINUM = (
    r"(?:cardio ?|superior |upper )?mediastin(?:um"
    r"|al (?:silhouette|contours?|structures|width|borders?|shadow|size))"
)
_LUNG = (
    r"(?:lungs?(?: fields?| zones?| bases?| volumes?)?|(?:lung|pulmonary) parenchyma|hemithorax)"
)
_ANGLES = r"(?:(?:costophrenic|cardiophrenic|CP) (?:angles?|sulc(?:i|us)|recess(?:es)?)|sulci)"
_NORMAL = (
    r"(?:normal|within (?:normal limits|limits of normal)|unremarkable|in the normal range"
    r"|within (?:the )?normal range)"
)
_LARGE = (
    r"(?:(?:borderline |mildly |moderately |markedly |massively |severely |slightly |grossly )?"
    r"(?:enlarged|large|big|increased in size|widened|wide|dilated|enlargement|prominent)"
    r"|increased|above (?:the )?normal|globular)"
)

_NAMED: dict[str, tuple[str, ...]] = {
    "Atelectasis": (
        r"atelecta(?:sis|ses|tic)(?: changes?)?|collapsed lung",
        r"(?:lobar|lung|lobe|segmental|pulmonary|basilar) collapse",
        r"collapse of(?: \w{1,14}){1,6} (?:lobes?|lungs?)",
    ),
    "Cardiomegaly": (
        r"cardiomegaly|cardiac enlargement",
        rf"(?:enlarge(?:d|ment)|large|increased|prominent)(?: of)?(?: the)? {_HEART}",
        rf"{_HEART}…(?P<core>{_LARGE})",
    ),
    "Enlarged Cardiomediastinum": (
        r"(?:widen(?:ed|ing)|enlarge(?:d|ment)|prominen(?:t|ce))(?: of)?(?: the)?"
        rf" (?:{_MEDIASTINUM})",
        rf"{_MEDIASTINUM}…(?P<core>(?:widen(?:ed|ing)|wide|enlarge(?:d|ment)|prominen(?:t|ce)))",
        r"mediastinal (?:mass|hematoma|lymphadenopathy|adenopathy)",
    ),
    "Consolidation": (r"consolidat(?:ions?|ive|ed)(?: changes?| opacit(?:y|ies))?",),
    "Edema": (r"(?:(?:pulmonary|interstitial|alveolar|septal|subpleural) ){0,2}o?edema",),
    "Vascular Congestion": (
        r"(?:pulmonary |vascular |venous |central ){0,3}congestion|CHF|cephali[sz]ation",
        r"congestive (?:heart |cardiac )?failure|(?:heart|cardiac) failure",
        r"(?:pulmonary )?(?:vascular|venous)"
        r" (?:prominence|engorgement|hypertension|redistribution|indistinctness)",
        r"(?:volume|fluid) overload|indistinct vascular margin(?:s|ation)",
    ),
    "Pneumothorax": (r"(?:hydro)?pneumothora(?:x|ces)",),
    "Pleural Effusion": (
        r"(?<!pericardial\s)(?<!joint\s)(?:pleural )?effusions?|pleural fluid",
        r"(?:hydropneumo|h(?:a)?emo)thora(?:x|ces)",
        r"fluid in the (?:\w{1,14} )?(?:fissures?|pleural spaces?)",
    ),
    "Pleural Thickening": (
        r"pleural (?:\w{1,14} )?thickening|(?:fissural|apical) (?:pleural )?thickening",
        r"thicken(?:ing|ed)(?: of| in)?(?: the)?(?: \w{1,14})? (?:pleura|fissures?)",
        # An apical cap is thickened pleura (Fleischner glossary).
        r"(?:apical|pleural) cap(?:s|ping)?",
        r"pleura(?: is| are|l surfaces? (?:is|are))…(?P<core>thick(?:ened)?)",
    ),
    "Pleural Other": (
        r"fibrothorax|empyema|pleural plaques?",
        r"pleural (?:calcifications?|scars?|scarring|lesions?|mass(?:es)?)",
        r"(?:pleuro ?|pleural )parenchymal (?:scars?|scarring|changes?|thickening)",
    ),
    "Pneumonia": (
        r"(?:broncho)?pneumonias?",
        # Of other causes than infection, these are not pneumonia.
        r"(?<!interstitial\s)(?<!radiation\s)(?<!hypersensitivity\s)pneumonitis",
    ),
    "Infection": (
        # A healed granulomatous infection is not one of today.
        r"(?<!granulomatous\s)(?<!tuberculous\s)(?<!old\s)(?<!prior\s)"
        r"(?:infections?|infectious(?: process(?:es)?| etiolog(?:y|ies)| disease)?)",
    ),
    "Infiltration": (r"infiltrat(?:es?|ions?)(?! of the)",),
    "Mass": (
        r"(?<!thyroid\s)mass(?:es)?(?: ?like)?"
        r"(?: lesions?| densit(?:y|ies)| opacit(?:y|ies)| opacification)?",
    ),
    "Nodule": (r"(?:micro)?nodules?",),
    "Nodular Opacity": (
        r"nodular(?: \w{1,14})?"
        r" (?:opacit(?:y|ies)|densit(?:y|ies)|opacification|prominence|shadows?|areas?)",
    ),
    "Lung Lesion": (
        r"(?:lung|pulmonary|cavitary|parenchymal) lesions?|cavit(?:y|ies|ation|ations|ating)",
        r"(?:pulmonary |lung )?metastas[ei]s|metastatic disease|carcinoma|neoplasms?|tumou?rs?",
        r"malignanc(?:y|ies)|lung cancer|neoplastic process",
    ),
    "Lung Opacity": (
        r"opacit(?:y|ies)|opacifi(?:cations?|ed)|air ?space (?:disease|process|changes?)",
        r"haz(?:y|iness)|ground glass|(?:alveolar|parenchymal) (?:disease|process|densit(?:y|ies))",
        r"(?<!bone\s)(?<!bony\s)(?<!mineral\s)densit(?:y|ies)|shadowing|parenchymal bands?",
        r"(?:increased|prominent|coarse(?:ned)?|accentuated|thickened) (?:\w{1,14} ){0,2}markings?",
        r"markings…(?P<core>(?:increased|prominent|coarse(?:ned)?|accentuated|thickened))",
        r"interstitial (?:\w{1,14} ){0,2}(?:markings?|prominence|patterns?|changes|disease"
        r"|thickening|process|accentuation|abnormalit(?:y|ies)|coarsening)",
        r"(?:reticul|reticulonodul|fibronodul)(?:ar|ations?)(?: pattern| markings?| changes?)?",
        r"scar(?:s|ring|red)?|streak(?:s|y|iness)(?! artifact)",
        r"peribronchial (?:cuffing|thickening)|bronchial (?:wall )?thickening",
    ),
    "Emphysema": (
        # Air in soft tissue has the same name.
        r"(?<!subcutaneous\s)(?<!mediastinal\s)(?<!surgical\s)emphysema(?:tous)?(?: changes?)?",
    ),
    "Fibrosis": (r"(?<!cystic\s)fibro(?:sis|tic)(?: changes?| scarring)?",),
    "Hernia": (r"(?:hiatal |hiatus |diaphragmatic |morgagni |bochdalek )?hernias?",),
    "Fracture": (r"(?:micro)?fractured?|fractures",),
    "Support Devices": (
        r"pace ?makers?|pacers?|pacing|AICD|ICD|defibrillators?|(?:pacer |pacemaker )?leads?",
        r"(?:\w{1,14} )?catheters?|PICC(?: line)?|port ?a ?cath|(?:media|infusa|power)?ports?(?= )",
        r"mediport|central (?:venous )?lines?|(?:venous|jugular|subclavian|IJ|arterial) lines?",
        r"(?:endotracheal|tracheostomy|nasogastric|orogastric|enteric|feeding|chest|ET|NG"
        r"|thoracostomy|drainage|PEG|gastrostomy|dobb?hoff) tubes?|ETT|NGT|tubes?|cannula",
        r"(?:prosthetic |mechanical |aortic |mitral )valves?(?: replacement| prosthesis)|hardware",
        r"(?:support |medical |implanted |implantable )?devices?|drains?|stents?|balloon pump",
        r"prosthe(?:sis|ses|tic)(?: valve)?|arthroplast(?:y|ies)|plates? and screws?",
        r"(?:sternal|sternotomy|cerclage) wires?|(?:nerve |spinal )?stimulator|loop recorder",
        r"shunt(?: tubing| catheter)?",
        # Only what was put in has a tip.
        r"tips?…(?P<core>(?:SVC|vena cava|(?:cavo ?)?atri(?:um|al)|ventricles?|carina|stomach))",
    ),
    OTHER: OTHER_PHRASES,
}

# What is seen with a finding but with other things too, so that it does not name it.
_SIGNS: dict[str, tuple[str, ...]] = {
    # Lobes also lose volume by resection and by fibrosis.
    "Atelectasis": (r"volume loss|loss of (?:lung )?volume",),
    "Cardiomegaly": (rf"borderline {_HEART}", rf"{_HEART}…(?P<core>borderline(?! enlarged))"),
    # Thickened pleura blunts an angle as well.
    "Pleural Effusion": (
        r"blunt(?:ed|ing)(?: of)?(?: the)?(?: \w{1,14}){0,3} (?:costophrenic|CP)"
        r"(?: (?:angles?|sulc(?:i|us)|recess(?:es)?))?",
        r"(?:costophrenic|CP) (?:\w{1,14} ){0,2}blunting|blunt(?:ed|ing)",
        rf"{_ANGLES}…(?P<core>(?:blunt(?:ed|ing)?|obscured|obliterated))",
    ),
}

_NORMAL_STATEMENTS: dict[str, tuple[str, ...]] = {
    "Cardiomegaly": (
        rf"{_HEART}…(?P<core>{_NORMAL})",
        rf"normal(?: in)? (?:size )?{_HEART}",
        # The upper limit of normal is still normal.
        rf"{_HEART}…(?P<core>(?:upper limits?(?: of)? normal|top normal))",
    ),
    "Enlarged Cardiomediastinum": (
        rf"{_MEDIASTINUM}…(?P<core>{_NORMAL})",
        rf"normal(?: \w{{1,14}}){{0,4}} (?:{_MEDIASTINUM})",
    ),
    "Lung Opacity": (
        rf"{_LUNG}:? (?:\w{{1,14}} ){{0,5}}(?P<core>clear(?:ed)?)(?! of)",
        rf"clear (?:bilateral |of the )?{_LUNG}",
    ),
    "Pleural Effusion": (
        rf"{_ANGLES}…(?P<core>(?:sharp|clear|preserved|normal|crisp|well defined))",
        r"pleural spaces?…(?P<core>(?:clear|normal|unremarkable))",
    ),
    NO_FINDING: (
        r"(?:no|without|negative for|free of)(?: \w{1,14}){0,3}"
        r" (?:acute|active|significant|evidence of|radiographic)"
        r"(?: (?:cardio ?(?:pulmonary|thoracic|respiratory|vascular)|cardiac|pulmonary|pleural"
        r"|(?:intra ?)?thoracic|chest|or|and|active|acute|infectious|disease)){0,4}"
        r" (?P<core>(?:disease|abnormalit(?:y|ies)|process(?:es)?|findings?|patholog(?:y|ies)))",
        r"(?:normal|negative|unremarkable)(?: \w{1,14}){0,4}"
        r" (?:chest|radiographs?|exam(?:ination)?|study|film|x ray)",
        r"(?:chest|radiographs?|exam(?:ination)?|study|film)"
        r" (?:is|are|appears?) (?:\w{1,14} )?(?:normal|unremarkable|negative)",
        r"no (?:abnormalit(?:y|ies)|findings?)(?=\s{0,4}(?:[.,;]|\Z))",
    ),
}


def _rules(kind: Kind, phrases: dict[str, tuple[str, ...]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(finding, kind, compile_rule(alternative))
        for finding, alternatives in phrases.items()
        for alternative in alternatives
    )


RULES = (*_rules("named", _NAMED), *_rules("sign", _SIGNS), *_rules("normal", _NORMAL_STATEMENTS))

"""Names of abnormalities, and of objects placed in the body, that have no label of their own.

They keep a report from counting as free of findings. Grouped by organ; the terms are those of the
Fleischner Society's glossary (Hansell et al. 2008) and of everyday reports.
"""

from __future__ import annotations

LUNGS_AND_AIRWAYS = (
    r"granulom(?:a|as|ata|atous)(?: (?:disease|changes?|infection|process))?|histoplasmosis",
    r"calcifi(?:ed|c|cations?)|sarcoid(?:osis)?|tubercul(?:osis|ous)|bronchiectasis|bronchitis",
    r"hyper ?(?:inflat(?:ed|ion)|expan(?:ded|sion)|aerat(?:ed|ion)|disten(?:ded|tion))",
    r"hyper ?lucen(?:t|cy)|over ?(?:inflat(?:ed|ion)|expan(?:ded|sion))|air trapping",
    r"COPD|bull(?:a|ae|ous)|blebs?",
    r"obstructive (?:\w{1,14} ){0,2}disease|asthma|reactive airways?(?: disease)?|cystic fibrosis",
    r"hypo ?(?:inflat(?:ed|ion)|ventilat(?:ed|ion)|aerat(?:ed|ion)|expan(?:ded|sion))",
    r"(?:low|decreased|reduced|small|diminished) (?:lung |inspiratory )?volumes?",
    r"(?:lung |inspiratory )volumes?…(?P<core>(?:low|decreased|reduced|diminished))",
    r"chronic (?:lung |pulmonary )?(?:changes?|disease)|cysts?|cystic|pneumatoceles?",
    r"lucenc(?:y|ies)|air fluid levels?|contusions?|h(?:a)?ematoma|hemorrhage|embol(?:ism|us|i)",
)
MEDIASTINUM_AND_VESSELS = (
    r"(?:tortuous|ectatic|unfolded|unfolding of|dilated|uncoiled|aneurysmal|enlarged|elongated"
    r"|atherosclerotic)(?: \w{1,14}){0,3}(?: and \w{1,14})?"
    r" (?:aorta|aortic|vessels?|arter(?:y|ies)|arch|knob)",
    r"aort(?:a|ic)…(?P<core>(?:tortuo(?:us|sity)|ecta(?:tic|sia)|dilat(?:ed|ation)|prominent"
    r"|unfold(?:ed|ing)|enlarged|aneurysm|uncoiled|elongated))",
    r"tortuosity|ectasia|aneurysms?|atheroscleros(?:is|ed)|atherosclerotic|vascular disease",
    r"(?:lymph)?adenopathy|(?:enlarged|prominent) (?:hil(?:a|um|ar)|lymph)",
    r"(?:bi)?hilar (?:prominence|enlargement|fullness|retraction)",
    r"(?:prominence|fullness|enlargement) of the (?:\w{1,14} )?"
    r"(?:hil(?:a|um)|pulmonary arter(?:y|ies))",
    r"(?:enlarged|prominent)(?: \w{1,14})? pulmonary arter(?:y|ies)",
    r"pulmonary (?:arterial )?hypertension|pericardial effusions?|pneumomediastinum",
    r"(?:ventricular|atrial|chamber) (?:hypertrophy|enlargement|prominence)|dextrocardia",
    r"(?:mediastinal|tracheal|cardiac|cardiomediastinal) shift|shift of the|deviat(?:ed|ion)",
    r"bronchovascular crowding|crowding|azygos (?:lobe|fissure)|fat pads?|epicardial fat|lipoma",
)
BONES = (
    r"(?:dextro|levo)?scoliosis|kyphosis|(?:kypho)?scoliotic|(?:dextro|levo)?curvature",
    r"degenerat(?:ive|ion)(?: changes?| disease)?|osteophyt(?:es?|osis|ic)|spondylosis|spurring",
    r"arthr(?:itis|itic|opathy)|osteoarth\w{1,8}|DISH|syndesmophytes?|endplate|spinal fusion",
    r"osteopeni[ac]|osteoporo(?:sis|tic)|osteodystrophy|deminerali[sz]ation|sclero(?:sis|tic)",
    r"(?:compression |wedge |rib |clavicular |chest |bony |vertebral )?deformit(?:y|ies)|wedging",
    r"compression|height loss|loss of height|pectus|cervical ribs?|bifid|nonunion|resorption",
    r"dislocat(?:ed|ion)|subluxation|separation|erosion|bone island|enostosis|rotat(?:ed|ion)",
    r"(?:bone|bony|rib|sclerotic|lytic|osseous)(?: \w{1,14})?"
    r" (?:lesions?|abnormalit(?:y|ies)|irregularit(?:y|ies))",
)
ABDOMEN_AND_WALL = (
    r"flatten(?:ed|ing)|eventration|situs inversus|gas distended|nipple shadows?",
    r"(?:elevat(?:ed|ion)|raised)(?: of)?(?: the)?(?: \w{1,14}){0,2} (?:hemi ?)?diaphragms?",
    r"diaphragms? (?:is|are|remains?)(?: \w{1,14})? elevated|pneumoperitoneum",
    r"free (?:intraperitoneal )?air|(?:sub)?diaphragmatic air",
    r"(?:subcutaneous|mediastinal) emphysema",
)
AFTER_SURGERY_OR_INJURY = (
    r"(?:surgical|vascular|cholecystectomy|metallic|hemostatic|CABG)(?: \w{1,14})?"
    r" (?:clips?|staples?|sutures?|material)|clips|sutures?|staples?",
    r"sternotomy|CABG|mastectomy|lobectomy|thoracotomy|pneumonectomy|cholecystectomy|bypass",
    r"post ?(?:operative|surgical)(?: changes?)?|surgical changes?|resection|embolization coils?",
    r"bullet|foreign bod(?:y|ies)|pellets?|shrapnel|(?:breast )?implants?|piercings?",
    r"nipple (?:rings?|jewelry)",
)

OTHER_PHRASES = (
    *LUNGS_AND_AIRWAYS,
    *MEDIASTINUM_AND_VESSELS,
    *BONES,
    *ABDOMEN_AND_WALL,
    *AFTER_SURGERY_OR_INJURY,
)

"""Codes of headers for objects, modalities, body parts and views: checked before any word."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from pydicom.config import IGNORE
from pydicom.uid import UID

from cxr_reason.film.gate_words import Part, View, terms
from cxr_reason.film.header import Header

if TYPE_CHECKING:
    from pydicom.sr.codedict import Collection

_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)  # PS3.5 9.1
FOR_PROCESSING = frozenset(  # raw data of DX, mammography and intra-oral (PS3.4 B.5)
    f"1.2.840.10008.5.1.4.1.1.1.{kind}.1" for kind in (1, 2, 3)
)
_IMAGE = "1.2.840.10008.5.1.4.1.1."
SECONDARY_CAPTURES = frozenset(_IMAGE + kind for kind in ("7", "7.2", "7.3", "7.4"))
_RADIOGRAPHS = frozenset(
    {
        _IMAGE + "1",  # computed radiography
        _IMAGE + "1.1",  # digital X-ray for presentation
        _IMAGE + "12.2",  # radiofluoroscopy: one frame of it, as its modality RF
    }
)
READ_CLASSES = _RADIOGRAPHS | SECONDARY_CAPTURES

USUAL_MODALITIES = frozenset({"CR", "DX"})
CAPTURE_MODALITIES = frozenset({"OT", "SC"})
UNUSUAL_MODALITIES = frozenset({"DR", "RF", "RG", "XR"}) | CAPTURE_MODALITIES
# Modalities of PS3.3 C.7.3.1.1.1, retired ones too: the only ones that a refusal may repeat.
KNOWN_MODALITIES = (
    USUAL_MODALITIES
    | UNUSUAL_MODALITIES
    | terms(
        "AR AS ASMT AU BDUS BI BMD CD CF CP CS CT CTPROTOCOL DD DF DG DM DOC DS EC ECG EEG "
        "EMG EOG EPS ES FA FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS "
        "NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS PA PLAN POS PR PT PX REG RESP RTDOSE "
        "RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF ST "
        "STAIN TEXTUREMAP TG US VA"
    )
)

# Designators of SNOMED CT and of the codes it had before (PS3.16 8.1).
_SNOMED = {"SCT": "SCT", "SRT": "SRT", "SNM3": "SRT", "99SDM": "SRT"}
_CHEST = frozenset(
    {
        *("816094009", "51185008", "T-D3000", "302551006", "43799004"),  # chest
        *("39607008", "T-28000", "74101002", "3341006", "44029006"),  # lungs
        *("86598002", "T-280A0"),  # apex of lung
        *("416550000", "R-FAB55"),  # chest and abdomen
        *("417437006", "R-FAB52"),  # neck and chest
        *("416152001", "R-FAB53"),  # neck, chest and abdomen
        *("416319003", "R-FAB54"),  # neck, chest, abdomen and pelvis
        *("416775004", "R-FAB56"),  # chest, abdomen and pelvis
    }
)
_FRONTAL: dict[str, View] = {
    **dict.fromkeys(("272479007", "R-40888", "R-10214"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399033003", "R-10202"), "frontal"),
}


def name_of_class(uid: str) -> str:
    """Return the standard's name of a SOP class, or "unknown" where it is not of the standard."""
    if not _UID.fullmatch(uid):  # of any other text pydicom's name is the text, without its blanks
        return "unknown"
    name = UID(uid, IGNORE).name  # the UID itself where pydicom does not know it
    return "unknown" if name == uid else name


def judge_region_code(item: Header) -> Part:
    """Say what the code of an anatomic region names: PS3.16 CID 4030 and 4031."""
    value, scheme = _read_code(item)
    if scheme and value in _CHEST:
        return "chest"
    return "other" if scheme and _is_in(value, scheme, ("cid4030", "cid4031")) else "unknown"


def judge_view_code(item: Header) -> View:
    """Say which view a code names: PS3.16 CID 4010, and CID 4014 of mammography."""
    value, scheme = _read_code(item)
    if scheme and value in _FRONTAL:
        return _FRONTAL[value]
    return "not frontal" if scheme and _is_in(value, scheme, ("cid4010", "cid4014")) else "unknown"


def has_snomed_code(item: Header) -> bool:
    """Tell whether an item has a code of SNOMED, known here or not."""
    value, scheme = _read_code(item)
    return bool(value and scheme)


def _read_code(item: Header) -> tuple[str, str]:
    """Return value and designator, SCT or SRT; no designator where it is another scheme."""
    return item.text("CodeValue"), _SNOMED.get(item.text("CodingSchemeDesignator"), "")


def _is_in(value: str, scheme: str, groups: tuple[str, ...]) -> bool:
    from pydicom.sr.coding import Code

    code = Code(value, scheme, "")
    return any(code in _context_group(group) for group in groups)


@cache
def _context_group(name: str) -> Collection:
    # Loaded for the first header with a code: it takes a tenth of a second.
    from pydicom.sr.codedict import codes

    group: Collection = getattr(codes, name)
    return group

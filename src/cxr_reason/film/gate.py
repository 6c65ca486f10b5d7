"""Is it a radiograph of the chest, by its header: codes first, then words in many languages.

A refusal names what was found only where it is a term of the standard. It never repeats text of
the header: any element may hold a name that someone typed into the wrong field.
"""

from __future__ import annotations

from typing import NamedTuple

from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.film.gate_codes import (
    CAPTURE_MODALITIES,
    FOR_PROCESSING,
    KNOWN_MODALITIES,
    READ_CLASSES,
    SECONDARY_CAPTURES,
    UNUSUAL_MODALITIES,
    USUAL_MODALITIES,
    has_snomed_code,
    judge_region_code,
    name_of_class,
)
from cxr_reason.film.gate_words import DEFINED_PARTS, Part, judge_part
from cxr_reason.film.header import Header
from cxr_reason.film.header_text import read_charset, read_folded

_PART_DESCRIPTIONS = (
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "RequestedProcedureDescription",
)


class ObjectCheck(NamedTuple):
    """What the header says of the object.

    Attributes:
        body_part: "CHEST", the standard's term in any language of the header, or None where the
            header does not name the chest in its body part or region.
        flags: `body_part_unknown` (absent), `body_part_placeholder` and `modality_unusual`.
    """

    body_part: str | None
    flags: tuple[str, ...]


def check_object(header: Header) -> ObjectCheck:
    """Check SOP class, intent, modality and body part.

    Raises:
        UnsupportedObjectError: Not a radiograph of the chest, or raw detector data.
    """
    modality = header.text("Modality")
    _check_class(header.text("SOPClassUID"))
    if header.text("PresentationIntentType") == "FOR PROCESSING":
        _refuse_raw()
    _check_modality(modality, header.text("SOPClassUID"))
    part = _check_part(header)
    flags = _PART_FLAGS[part]
    if modality in UNUSUAL_MODALITIES:
        if part != "chest" and _read_described_part(header) != "chest":
            raise UnsupportedObjectError(
                f"DICOM: Modality {modality} of a body part that is not stated; send CR or DX, or "
                "state CHEST as Body Part Examined (0018,0015)"
            )
        flags += ("modality_unusual",)
    return ObjectCheck("CHEST" if part == "chest" else None, flags)


_PART_FLAGS: dict[Part | None, tuple[str, ...]] = {
    "chest": (),
    "placeholder": ("body_part_placeholder",),
    None: ("body_part_unknown",),
}


def _check_class(uid: str) -> None:
    if uid in FOR_PROCESSING:
        _refuse_raw()
    if uid and uid not in READ_CLASSES:
        raise UnsupportedObjectError(
            f"DICOM: SOP Class {name_of_class(uid)} is not a chest radiograph; send Computed "
            "Radiography, Digital X-Ray for presentation, or a secondary capture of a chest film"
        )


def _refuse_raw() -> None:
    raise UnsupportedObjectError(
        "DICOM: raw detector data (FOR PROCESSING); send the image FOR PRESENTATION"
    )


def _check_modality(modality: str, uid: str) -> None:
    is_read = modality in USUAL_MODALITIES | UNUSUAL_MODALITIES
    if not is_read or (modality in CAPTURE_MODALITIES and uid not in SECONDARY_CAPTURES):
        shown = modality if modality in KNOWN_MODALITIES else "unnamed"
        raise UnsupportedObjectError(
            f"DICOM: Modality {shown} is not a chest radiograph; "
            "send CR, DX, DR, RF, RG, XR, or a secondary capture of a chest film"
        )


def _check_part(header: Header) -> Part | None:
    """Return what body part and regions say together, None where both are absent."""
    charset = read_charset(header)
    texts = read_folded(header, "BodyPartExamined", charset)
    stated = _judge_texts(texts)
    regions = [_judge_region(item, charset) for item in header.items("AnatomicRegionSequence")]
    if stated == "other" or "other" in regions:
        _refuse_part(next((t.replace(" ", "") for t in texts), ""))
    if "chest" in regions or stated == "chest":
        return "chest"
    if stated == "unknown" or "unknown" in regions:
        _refuse_part("")
    if _read_described_part(header) == "other":
        _refuse_part("")
    return "placeholder" if stated or regions else None


def _refuse_part(term: str) -> None:
    shown = f" {term}" if term in DEFINED_PARTS else ""
    raise UnsupportedObjectError(
        f"DICOM: the body part{shown} is not the chest; send a chest radiograph, with CHEST as "
        "Body Part Examined (0018,0015)"
    )


def _judge_texts(texts: tuple[str, ...]) -> Part | None:
    """Return the verdict over the ways to decode a text, None where there is no text.

    A wrong way to decode gives no word for the chest, but easily a sign that means another thing.
    """
    verdicts = {judge_part(text) for text in texts}
    order: tuple[Part, ...] = ("chest", "other", "placeholder", "unknown")
    return next((verdict for verdict in order if verdict in verdicts), None)


def _judge_region(item: Header, charset: list[str]) -> Part:
    by_code = judge_region_code(item)
    if by_code != "unknown":
        return by_code
    by_meaning = _judge_texts(read_folded(item, "CodeMeaning", charset)) or "placeholder"
    # A code of SNOMED names something: where not even its meaning says chest, another part.
    return "other" if by_meaning != "chest" and has_snomed_code(item) else by_meaning


def _read_described_part(header: Header) -> Part | None:
    """Return "chest" where any description names it, or else "other" where one names a part."""
    charset = read_charset(header)
    verdicts = [_judge_texts(read_folded(header, k, charset)) for k in _PART_DESCRIPTIONS]
    return "chest" if "chest" in verdicts else "other" if "other" in verdicts else None

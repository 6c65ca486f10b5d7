"""What is refused by its header: by codes, by words in many languages, without repeating them."""

from __future__ import annotations

import logging
import random
import re
from typing import Any

import pytest
from pydicom import config
from pydicom.sr import codes
from support.dicom_films import code_item, make_film, make_film_with_bytes

from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.film.gate_words import DEFINED_PARTS, judge_part, judge_view
from cxr_reason.film.header_text import fold
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.radiograph import decode_radiograph


def words(text: str) -> list[str]:
    return text.split("|")


CHEST_WORDS = words(
    "CHEST|Thorax|TORACE|TÓRAX|TORAX|Brustkorb|Lunge|POITRINE|POUMON|"
    "Poumons|KLATKA PIERSIOWA|PŁUCA|胸部|胸片|胸部正面|肺|キョウブ|흉부|CXR|PULMONES|"
    "PULMÃO|POLMONI|PECHO|BORSTKAS|BRÖSTKORG|Toraks|MELLKAS|HRUDNÍK|ΘΩΡΑΚΑΣ|"
    "ГРУДНАЯ КЛЕТКА|ОГК|ЛЕГКИЕ|PORTABLE CHEST|NON GRID CHEST|CHEST PA|"
    "RXTHORAX|CHESTABDOMEN|NECKCHEST|CAGE THORACIQUE|Lồng ngực|LUNG"
)

OTHER_WORDS = words(
    "HAND|HIP|ABDOMEN|BREAST|SKULL|KNEE|TSPINE|THORACIC SPINE|"
    "Brustwirbelsäule|BWS|MAMMOGRAPHY|RACHIS DORSAL|KRĘGOSŁUP PIERSIOWY|胸椎|"
    "頚椎|MANO|GENOU|ZÄHNE|DENTAL|OPG|BAUCH|CRÂNE|膝|КИСТЬ|RIBS|TÓRAX ÓSEO|SHOULDER"
)

PLACEHOLDERS = words(
    "UNKNOWN|DEFAULT|OTHER|none|N/A|-|?|XXX|Sonstige|AUTRE|DESCONOCIDO|その他|不明"
)

ENCODINGS = ("utf-8", "latin_1", "shift_jis", "gb18030", "euc_kr", "cp1251", "iso8859_2")


def info_of(data: bytes) -> FilmInfo:
    return decode_radiograph(data).info


def refusal(data: bytes) -> str:
    with pytest.raises(UnsupportedObjectError, match="send") as caught:
        decode_radiograph(data)
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize("word", CHEST_WORDS)
def test_words_for_the_chest_are_read(word: str) -> None:
    tried = 0
    for encoding in ENCODINGS:
        try:
            raw = word.encode(encoding)
        except UnicodeEncodeError:
            continue
        info = info_of(make_film_with_bytes("BodyPartExamined", raw))
        assert (info.body_part, info.flags) == ("CHEST", ()), encoding
        tried += 1
    assert tried


@pytest.mark.parametrize("word", OTHER_WORDS)
def test_words_for_other_parts_are_refused(word: str) -> None:
    assert judge_part(fold(word)) == "other"
    text = refusal(make_film_with_bytes("BodyPartExamined", word.encode()))
    assert word in DEFINED_PARTS or word not in text
    # In a description they count where the body part is not stated.
    with pytest.raises(UnsupportedObjectError):
        decode_radiograph(
            make_film_with_bytes("StudyDescription", word.encode(), BodyPartExamined="")
        )
    info_of(make_film_with_bytes("StudyDescription", word.encode()))


@pytest.mark.parametrize("word", PLACEHOLDERS)
def test_placeholders_are_read_and_flagged(word: str) -> None:
    info = info_of(make_film_with_bytes("BodyPartExamined", word.encode()))
    assert (info.body_part, info.flags) == (None, ("body_part_placeholder",))


@pytest.mark.parametrize(
    ("charset", "encoded"),
    [
        ("ISO_IR 100", "TÓRAX".encode("latin_1")),
        ("ISO_IR 192", "胸部".encode()),
        ("ISO_IR 13", "ｷｮｳﾌﾞ".encode("shift_jis")),
        ("GB18030", "胸部".encode("gb18030")),
        ("ISO_IR 144", "ГРУДНАЯ КЛЕТКА".encode("iso8859_5")),
        ("ISO_IR 126", "ΘΩΡΑΚΑΣ".encode("iso8859_7")),
        ("\\ISO 2022 IR 87", "胸部".encode("iso2022_jp")),
        ("NO SUCH SET", b"CHEST"),
    ],
)
@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_stated_character_sets(charset: str, encoded: bytes) -> None:
    data = make_film_with_bytes("BodyPartExamined", encoded)
    # Written into the bytes: pydicom would encode other elements by it.
    element = b"\x08\0\x05\0CS" + (len(charset) + len(charset) % 2).to_bytes(2, "little")
    element += charset.encode() + b" " * (len(charset) % 2)
    start = data.index(b"\x08\0\x16\0UI")
    assert info_of(data[:start] + element + data[start:]).body_part == "CHEST"


@pytest.mark.parametrize("text", ["", " ", None])
def test_absent_body_parts_are_flagged(text: str | None) -> None:
    assert info_of(make_film(BodyPartExamined=text)).flags == ("body_part_unknown",)


@pytest.mark.parametrize("scheme", ["SCT", "SRT"])
@pytest.mark.parametrize("meaning", ["", "Brustkorb", "anything"])
def test_regions_by_code(scheme: str, meaning: str) -> None:
    chest, hand = ("816094009", "85562004") if scheme == "SCT" else ("T-D3000", "T-D8700")
    for body_part in ("", "CHEST"):
        info = info_of(
            make_film(
                BodyPartExamined=body_part,
                AnatomicRegionSequence=code_item(chest, scheme, meaning),
            )
        )
        assert (info.body_part, info.flags) == ("CHEST", ())
        if meaning != "Brustkorb" or scheme == "SCT":
            region = code_item(hand, scheme, meaning)
            refusal(make_film(BodyPartExamined=body_part, AnatomicRegionSequence=region))


def test_codes_of_other_schemes_count_by_their_meaning() -> None:
    local = {"BodyPartExamined": ""}
    chest = code_item("85562004", "99LOCAL", "Thorax a.p.")
    assert info_of(make_film(**local, AnatomicRegionSequence=chest)).body_part == "CHEST"
    refusal(make_film(**local, AnatomicRegionSequence=code_item("816094009", "99LOCAL", "Hand")))
    refusal(make_film(**local, AnatomicRegionSequence=code_item("1", "99LOCAL", "Canary")))
    unknown = code_item("1", "99LOCAL", "Canary")
    assert info_of(make_film(AnatomicRegionSequence=unknown)).body_part == "CHEST"


@pytest.mark.parametrize("keyword", [k for k in dir(codes.cid4010) if k[:1].isupper()])
def test_views_by_code(keyword: str) -> None:
    code = getattr(codes.cid4010, keyword)
    views = {"272479007": "PA", "399348003": "AP", "399033003": None}
    data = make_film(
        ViewPosition="", ViewCodeSequence=code_item(code.value, code.scheme_designator, "Foto")
    )
    if code.value in views:
        assert info_of(data).view == views[code.value]
    else:
        assert "by code" in refusal(data)


@pytest.mark.parametrize(
    ("value", "scheme", "view"),
    [("R-10206", "SNM3", "AP"), ("R-40888", "SRT", "PA"), ("R-10214", "SRT", "PA")],
)
def test_views_by_older_codes(value: str, scheme: str, view: str) -> None:
    data = make_film(ViewPosition="", ViewCodeSequence=code_item(value, scheme))
    assert info_of(data).view == view
    # A code counts before a word.
    data = make_film(ViewPosition="PA", ViewCodeSequence=code_item("399348003", "SCT"))
    assert info_of(data).view == "AP"


@pytest.mark.parametrize(
    "word",
    words(
        "PROFIL|SEITLICH|LATERALE|LATERAL|PERFIL|BOCZNE|側面|侧位|측면|БОКОВАЯ|LL|RLD|"
        "LAO|SCHRÄG|OBLICUA|OBLIQUE|斜位|axial|DECUBITUS|PORT LAT|LARGE LATERAL|"
        "MLO|CC|PA LAT"
    ),
)
def test_words_for_other_views_are_refused(word: str) -> None:
    assert judge_view(fold(word)) == "not frontal"
    text = refusal(make_film_with_bytes("ViewPosition", word.encode()))
    assert "lateral or oblique" in text


@pytest.mark.parametrize(
    ("word", "view"),
    [
        *(("PA", "PA"), ("p.a.", "PA"), ("POSTERO-ANTERIOR", "PA"), ("PA ERECT", "PA")),
        *(("AP", "AP"), ("AP_SUPINE", "AP"), ("a.-p. liegend", "AP"), ("ANTEROPOSTERIOR", "AP")),
        *(("DECUBITO SUPINO AP", "AP"), ("FRONTAL", None), ("FACE", None), ("STANDING", None)),
        *(("Canary", None), ("正位", None), ("後前", "PA"), ("PA/AP", None)),
    ],
)
def test_words_for_frontal_views(word: str, view: str | None) -> None:
    info = info_of(make_film_with_bytes("ViewPosition", word.encode()))
    assert (info.view, info.flags) == (view, () if view else ("view_unknown",))


def test_descriptions_of_laterals_are_flagged() -> None:
    film = make_film(ViewPosition="", SeriesDescription="CHEST LAT")
    assert info_of(film).flags == ("view_unknown", "view_perhaps_lateral")
    assert info_of(make_film(SeriesDescription="CHEST LAT")).flags == ()


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.5.1.4.1.1.2",  # CT
        "1.2.840.10008.5.1.4.1.1.4",  # MR
        "1.2.840.10008.5.1.4.1.1.1.2",  # mammography
        "1.2.840.10008.5.1.4.1.1.1.3",  # intra-oral
        "1.2.840.10008.5.1.4.1.1.6.1",  # ultrasound
        "1.2.840.10008.5.1.4.1.1.12.1",  # angiography
        "1.2.840.10008.5.1.4.1.1.77.1.4",  # photograph
        "1.2.999.4711",  # private
    ],
)
@pytest.mark.parametrize("modality", ["CR", "DX", "OT"])
def test_other_classes_are_refused_whatever_the_modality(uid: str, modality: str) -> None:
    text = refusal(make_film(SOPClassUID=uid, Modality=modality))
    assert "SOP Class" in text and "4711" not in text


@pytest.mark.parametrize("kind", ["1.1", "2.1", "3.1"])
def test_raw_data_is_refused_by_its_class(kind: str) -> None:
    uid = f"1.2.840.10008.5.1.4.1.1.1.{kind}"
    assert "FOR PROCESSING" in refusal(make_film(SOPClassUID=uid))
    assert "FOR PROCESSING" in refusal(make_film(PresentationIntentType="FOR PROCESSING"))


@pytest.mark.parametrize("modality", ["DR", "RF", "RG", "XR"])
def test_unusual_modalities_are_read_with_a_chest_film(modality: str) -> None:
    assert info_of(make_film(Modality=modality)).flags == ("modality_unusual",)
    by_study = make_film(Modality=modality, BodyPartExamined="", StudyDescription="Rx torace")
    assert info_of(by_study).flags == ("body_part_unknown", "modality_unusual")
    assert modality in refusal(make_film(Modality=modality, BodyPartExamined=""))
    refusal(make_film(Modality=modality, BodyPartExamined="UNKNOWN"))


@pytest.mark.parametrize("modality", ["OT", "SC"])
def test_captures_are_read_with_a_chest_film(modality: str) -> None:
    capture = {"Modality": modality, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}
    assert info_of(make_film(**capture)).flags == ("modality_unusual",)
    refusal(make_film(Modality=modality))
    refusal(make_film(**capture, BodyPartExamined="", StudyDescription="Foto"))


@pytest.mark.parametrize("modality", ["CT", "MG", "IO", "PX", "US", None, ""])
def test_other_modalities_are_refused(modality: str | None) -> None:
    assert f"Modality {modality or 'unnamed'} " in refusal(make_film(Modality=modality))


LEAKS: list[dict[str, Any]] = [
    {"BodyPartExamined": "CANARY NAME"},
    {"BodyPartExamined": "CANARY HAND"},
    {"BodyPartExamined": "CANARY^NAME"},
    {"Modality": "CANARY NAME"},
    {"SOPClassUID": "CANARY"},
    {"ViewPosition": "LATERAL CANARY"},
    {"ViewPosition": "CANARY LL"},
    {"PatientOrientation": ["A", "CANARY"]},
    {"AnatomicRegionSequence": code_item("CANARY", "SCT", "CANARY")},
    {"ViewCodeSequence": code_item("CANARY", "CANARY", "LATERAL CANARY")},
    {"BodyPartExamined": "", "StudyDescription": "HAND CANARY"},
    {"Modality": "DR", "BodyPartExamined": "", "StudyDescription": "CANARY"},
    {"SpecificCharacterSet": "CANARY", "BodyPartExamined": "CANARY NAME"},
]


@pytest.mark.parametrize("number", range(len(LEAKS)))
def test_no_refusal_repeats_text_of_the_header(
    number: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # pydicom would not write such values
        patch.setattr(config.settings, "writing_validation_mode", config.IGNORE)
        patch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
        if "SpecificCharacterSet" in LEAKS[number]:
            data = make_film_with_bytes("BodyPartExamined", b"CANARY NAME")
            element = b"\x08\0\x05\0CS\x06\0CANARY"
            start = data.index(b"\x08\0\x16\0UI")
            data = data[:start] + element + data[start:]
        else:
            data = make_film(**LEAKS[number])
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    assert "CANARY" not in (refusal(data) + caplog.text).upper()


@pytest.mark.parametrize("text", ["CHEST CANARY", "LUNG CANARY"])
def test_no_record_repeats_text_of_the_header(text: str) -> None:
    assert "CANARY" not in info_of(make_film(BodyPartExamined=text)).to_json()


@pytest.mark.parametrize("seed", range(4))
def test_any_bytes_give_input_errors_or_films(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        raw = rng.randbytes(rng.randrange(40)).replace(b"\\", b"/")
        for keyword in ("BodyPartExamined", "ViewPosition", "SeriesDescription"):
            try:
                info = info_of(make_film_with_bytes(keyword, raw))
            except UnsupportedObjectError as error:
                assert re.fullmatch(r"[ -~]*", str(error))
            else:
                assert info.body_part in ("CHEST", None)


def test_long_text_costs_nothing() -> None:
    data = make_film_with_bytes("BodyPartExamined", b"HAND " * 12_000)
    refusal(data)

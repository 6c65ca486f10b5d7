"""Training examples: every release in its own form, every kind of bad data, splits by patient.

The tables are written here with the header lines of the releases. Real files are read where the
folder of real data is given.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from support.sentences import searched_once

from cxr_reason.data.releases import (
    NIH_TO_CHEXPERT,
    Example,
    check_splits,
    load_chexpert,
    load_mimic,
    load_nih,
    load_nih_subset,
    load_openi,
    load_refusals,
    map_nih_labels,
    official_splits,
    split_by_patient,
)
from cxr_reason.data.releases.reports import read_sections
from cxr_reason.errors import DataError
from cxr_reason.findings import LABELS, NO_FINDING
from cxr_reason.prompts import FIND_ABNORMALITIES, REFUSAL
from cxr_reason.reading.trace import Outcome, parse_trace
from cxr_reason.statements import NIH_LABELS

CHEXPERT_HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,"
    "Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,"
    "Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
MIMIC_LABELS_HEADER = (
    "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,"
    "Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,"
    "Pneumothorax,Support Devices"
)
MIMIC_METADATA_HEADER = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,"
    "StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning"
)
NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
NIH_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
SUBSET_HEADER = (
    "image,patient_id,labels,age,sex,view,orig_w,orig_h,orig_pixel_spacing_x_mm,"
    "orig_pixel_spacing_y_mm,follow_up,bboxes,google_fracture,google_pneumothorax,"
    "google_airspace_opacity,google_nodule_or_mass,has_png1024,split_by_patient,sha256_png,"
    "source_path"
)


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def replace(path: Path, old: str, new: str) -> None:
    packed = path.suffix == ".gz"
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    assert old.encode() in content
    content = content.replace(old.encode(), new.encode())
    path.write_bytes(gzip.compress(content) if packed else content)


def write_film(path: Path) -> Path:
    """Loaders look whether a film is there; they do not decode it."""
    return write(path, "film")


# CheXpert


def chexpert(tmp_path: Path, prefix: str = "CheXpert-v1.0-small") -> Path:
    folder = tmp_path / prefix
    write(
        folder / "train.csv",
        CHEXPERT_HEADER,
        f"{prefix}/train/patient00001/study1/view1_frontal.jpg,"
        "Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0",
        f"{prefix}/train/patient00002/study2/view1_frontal.jpg,"
        "Female,87,Frontal,PA,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,",
        f"{prefix}/train/patient00002/study1/view2_lateral.jpg,"
        "Female,83,Lateral,,,,,1.0,,,-1.0,,,,,,1.0,",
        f"{prefix}/train/patient00003/study1/view1_frontal.jpg,Unknown,0,Frontal,LL,,,,,,,,,,,,,,",
    )
    write(
        folder / "valid.csv",
        CHEXPERT_HEADER,
        f"{prefix}/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,"
        "0.0,1.0,1.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0",
    )
    for patient in ("train/patient00001/study1", "train/patient00002/study2"):
        write_film(folder / patient / "view1_frontal.jpg")
    for patient in ("train/patient00003/study1", "valid/patient64541/study1"):
        write_film(folder / patient / "view1_frontal.jpg")
    return folder


@pytest.mark.parametrize("prefix", ["CheXpert-v1.0-small", "CheXpert-v1.0"])
def test_chexpert(tmp_path: Path, prefix: str) -> None:
    folder = chexpert(tmp_path, prefix)
    first, second, third, valid = load_chexpert(folder)
    assert first == Example(
        film=folder / "train/patient00001/study1/view1_frontal.jpg",
        patient="chexpert/patient00001",
        source="chexpert",
        origin="train.csv row 2",
        labels={NO_FINDING: "present", "Pneumothorax": "absent", "Support Devices": "present"},
        split="train",
        view="AP",
        sex="F",
        age=68,
    )
    assert first.prompt == FIND_ABNORMALITIES
    assert second.labels == {
        "Atelectasis": "uncertain",
        "Cardiomegaly": "uncertain",
        "Consolidation": "uncertain",
        "Edema": "uncertain",
        "Fracture": "present",
        "Lung Opacity": "present",
        "Pleural Effusion": "uncertain",
    }
    assert (third.labels, third.sex, third.age, third.view) == ({}, None, None, None)
    assert valid.split == "validation" and list(valid.labels) == list(LABELS)
    assert (valid.labels["Cardiomegaly"], valid.labels["Edema"]) == ("present", "absent")


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("1.0,,,,,,,,,0.0,,,,1.0", "2.0,,,,,,,,,0.0,,,,1.0", "row 2", "No Finding: unknown value"),
        ("1.0,,,,,,,,,0.0,,,,1.0", "1.0,,,,", "row 2", "10 fields; the header has 19"),
        ("1.0,,,,,,,,,0.0,,,,1.0", "1.0,,,,,,,,,0.0,,,,1.0,,", "row 2", "21 fields"),
        ("Female,87", "Femail,87", "row 3", "Sex: 'Femail'"),
        ("Female,87", "Female,old", "row 3", "Age: 'old'"),
        ("87,Frontal,PA", "87,Frontal,XX", "row 3", "AP/PA: 'XX'"),
        ("87,Frontal,PA", "87,Fronal,PA", "row 3", "Frontal/Lateral: 'Fronal'"),
        ("small/train/patient00003", "small/../patient00003", "row 5", "Path: "),
        ("patient00003", "patient00009", "row 5", "image missing: "),
        ("Edema,", "Oedema,", "row 1", "columns missing: Edema"),
        ("Female,87", '"Female,87', "after row 2", "cannot be read: "),
        ("Female,87", "Fem\0ale,87", "row 3", "Sex: "),
    ],
)
def test_chexpert_bad_rows(tmp_path: Path, old: str, new: str, where: str, what: str) -> None:
    folder = chexpert(tmp_path)
    replace(folder / "train.csv", old, new)
    with pytest.raises(DataError) as caught:
        load_chexpert(folder)
    assert f"train.csv {where}: {what}" in caught.value.message
    assert caught.value.message.startswith("data: 1 problem;")


def test_missing_table_and_empty_film(tmp_path: Path) -> None:
    folder = chexpert(tmp_path)
    (folder / "valid.csv").unlink()
    (folder / "train/patient00001/study1/view1_frontal.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 problems[\s\S]*train.csv row 2: image empty") as caught:
        load_chexpert(folder)
    assert "valid.csv: file missing" in caught.value.message


def test_patient_in_two_official_splits(tmp_path: Path) -> None:
    folder = chexpert(tmp_path)
    replace(folder / "valid.csv", "patient64541", "patient00001")
    write_film(folder / "valid/patient00001/study1/view1_frontal.jpg")
    with pytest.raises(DataError) as caught:
        load_chexpert(folder)
    assert caught.value.message.splitlines()[1] == (
        "  valid.csv row 2: the patient is in the split 'validation' and, at train.csv row 2, "
        "in 'train'"
    )


def test_first_ten_problems_and_the_count(tmp_path: Path) -> None:
    folder = chexpert(tmp_path)
    rows = [
        f"CheXpert-v1.0-small/train/patient{i:05}/study1/view1_frontal.jpg,Male,50,Frontal,AP"
        + "," * 14
        for i in range(100, 123)
    ]
    write(folder / "train.csv", CHEXPERT_HEADER, *rows)
    with pytest.raises(DataError) as caught:
        load_chexpert(folder)
    head, *problems, rest = caught.value.message.splitlines()
    assert head.startswith("data: 23 problems;")
    assert [line.split(":")[0].strip() for line in problems] == [
        f"train.csv row {row}" for row in range(2, 12)
    ]
    assert rest.strip() == "and 13 more"


# MIMIC-CXR-JPG

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with pneumonia?

 FINDINGS:

 The lungs are clear.  Heart size
 is normal.

 IMPRESSION:

 No acute process.

 NOTIFICATION:  Told by telephone.
"""


def mimic(tmp_path: Path) -> Path:
    folder = tmp_path / "mimic"
    front, side, other = "02aa804e-bde0afdd", "174413ec-4ec4c1f7", "2a2277a9-b0ded155"
    write(
        folder / "mimic-cxr-2.0.0-metadata.csv.gz",
        MIMIC_METADATA_HEADER,
        f"{front},10000032,50414267,CHEST (PA AND LAT),PA,3056,2544,21800506,213014.531,"
        "CHEST (PA AND LAT),postero-anterior,Erect",
        f"{side},10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544,21800506,213014.531,"
        "CHEST (PA AND LAT),lateral,Erect",
        f"{other},10000764,57375967,CHEST (PORTABLE AP),AP,2544,3056,21800626,165500.312,"
        "CHEST (PORTABLE AP),antero-posterior,",
    )
    write(
        folder / "mimic-cxr-2.0.0-split.csv.gz",
        "dicom_id,study_id,subject_id,split",
        f"{front},50414267,10000032,train",
        f"{side},50414267,10000032,train",
        f"{other},57375967,10000764,validate",
    )
    write(
        folder / "mimic-cxr-2.0.0-chexpert.csv.gz",
        MIMIC_LABELS_HEADER,
        "10000032,50414267,,,,,,,,,1.0,0.0,,-1.0,,",
    )
    write(
        folder / "mimic-cxr-2.0.0-negbio.csv.gz",
        MIMIC_LABELS_HEADER,
        "10000032,50414267,,,,,,,,,1.0,,,,,",
    )
    write_film(folder / f"files/p10/p10000032/s50414267/{front}.jpg")
    write_film(folder / f"files/p10/p10000764/s57375967/{other}.jpg")
    write(tmp_path / "reports/files/p10/p10000032/s50414267.txt", REPORT)
    write(tmp_path / "reports/files/p10/p10000764/s57375967.txt", " PA VIEW:\n\n Nothing.")
    return folder


def test_mimic(tmp_path: Path) -> None:
    folder = mimic(tmp_path)
    first, second = load_mimic(folder, tmp_path / "reports")
    assert first == Example(
        film=folder / "files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg",
        patient="mimic-cxr/10000032",
        source="mimic-cxr",
        origin="mimic-cxr-2.0.0-metadata.csv.gz row 2",
        report="The lungs are clear. Heart size is normal.\nNo acute process.",
        labels={NO_FINDING: "present", "Pleural Effusion": "absent", "Pneumonia": "uncertain"},
        split="train",
        view="PA",
    )
    assert (second.labels, second.report, second.split, second.view) == (
        {},
        None,
        "validation",
        "AP",
    )


def test_mimic_without_reports_and_with_the_other_labeller(tmp_path: Path) -> None:
    first, _ = load_mimic(mimic(tmp_path), labeller="negbio")
    assert (first.report, first.labels) == (None, {NO_FINDING: "present"})


@pytest.mark.parametrize(
    ("table", "old", "new", "problem"),
    [
        ("chexpert", ",-1.0,", ",maybe,", "chexpert.csv.gz row 2: Pneumonia: unknown value"),
        ("chexpert", "10000032", "x", "chexpert.csv.gz row 2: subject_id 'x'"),
        ("chexpert", "Edema,", "", "chexpert.csv.gz row 1: columns missing: Edema"),
        ("split", ",validate", ",valid", "split.csv.gz row 4: split: 'valid'"),
        ("split", "02aa", "12aa", "metadata.csv.gz row 2: image is not in the table of splits"),
        ("metadata", "afdd,10000032", "afdd,p1", "metadata.csv.gz row 2: subject_id 'p1'"),
    ],
)
def test_mimic_bad_rows(tmp_path: Path, table: str, old: str, new: str, problem: str) -> None:
    folder = mimic(tmp_path)
    replace(folder / f"mimic-cxr-2.0.0-{table}.csv.gz", old, new)
    with pytest.raises(DataError) as caught:
        load_mimic(folder, tmp_path / "reports")
    assert f"mimic-cxr-2.0.0-{problem}" in caught.value.message


def test_mimic_missing_report(tmp_path: Path) -> None:
    folder = mimic(tmp_path)
    (tmp_path / "reports/files/p10/p10000764/s57375967.txt").unlink()
    with pytest.raises(DataError, match=r"metadata\.csv\.gz row 4: report missing or unreadable: "):
        load_mimic(folder, tmp_path / "reports")


def test_mimic_missing_film_and_leak(tmp_path: Path) -> None:
    folder = mimic(tmp_path)
    table = folder / "mimic-cxr-2.0.0-metadata.csv.gz"
    replace(table, "10000764", "10000032")
    with pytest.raises(DataError, match=r"metadata\.csv\.gz row 4: image missing: "):
        load_mimic(folder)
    write_film(folder / "files/p10/p10000032/s57375967/2a2277a9-b0ded155.jpg")
    with pytest.raises(DataError, match=r"row 4: the patient is in the split 'validation' and"):
        load_mimic(folder)


def test_truncated_gzip_is_named(tmp_path: Path) -> None:
    folder = mimic(tmp_path)
    table = folder / "mimic-cxr-2.0.0-split.csv.gz"
    table.write_bytes(table.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"split\.csv\.gz after row \d+: cannot be read"):
        load_mimic(folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FINDINGS: Clear.", "Clear."),
        (" FINDINGS AND IMPRESSION:\n Clear.\n", "Clear."),
        ("IMPRESSION:   \n\n", None),
        ("Clear lungs.", None),
        ("IMPRESSION: 1. Clear.\n RECOMMENDATION(S):  Come again.", "1. Clear."),
        ("COMPARISON: None.\nIMPRESSION: AP: clear.", "AP: clear."),
    ],
)
def test_sections(text: str, expected: str | None) -> None:
    assert read_sections(text) == expected


# NIH ChestX-ray14


def nih(tmp_path: Path) -> Path:
    folder = tmp_path / "nih"
    write(
        folder / "Data_Entry_2017_v2020.csv",
        NIH_HEADER,
        "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143",
        "00000001_001.png,Effusion|Emphysema,1,1,058Y,M,AP,2894,2729,0.143,0.143",
        "00000002_000.png,No Finding,0,2,414,F,PA,2500,2048,0.171,0.171",
        "00000003_000.png,No Finding,0,3,81,F,PA,2582,2991,0.143,0.143",
    )
    write(
        folder / "BBox_List_2017.csv",
        NIH_BOX_HEADER,
        "00000001_000.png,Cardiomegaly,256,512,128,64",
        "00000003_000.png,Infiltrate,0,0,1024,1024",
    )
    write(folder / "train_val_list.txt", "00000001_000.png", "00000001_001.png", "00000002_000.png")
    write(folder / "test_list.txt", "00000003_000.png")
    write_film(folder / "images_001/images/00000001_000.png")
    for name in ("00000001_001", "00000002_000", "00000003_000"):
        write_film(folder / f"images_002/images/{name}.png")
    return folder


@pytest.mark.parametrize("column", ["Patient Gender", "Patient Sex"])
def test_nih(tmp_path: Path, column: str) -> None:
    folder = nih(tmp_path)
    replace(folder / "Data_Entry_2017_v2020.csv", "Patient Gender", column)
    first, second, third, fourth = load_nih(folder)
    assert first.film == folder / "images_001/images/00000001_000.png"
    assert (first.patient, first.source) == ("nih-cxr14/1", "nih-cxr14")
    assert first.origin == "Data_Entry_2017_v2020.csv row 2"
    assert (first.sex, first.age, first.view, first.split) == ("M", 57, "PA", "train")
    (box,) = first.boxes
    assert dataclasses.astuple(box) == ("Cardiomegaly", 0.25, 0.5, 0.125, 0.0625)
    assert first.labels["Cardiomegaly"] == "present"
    assert second.age == 58 and third.age is None and third.sex == "F"
    assert second.labels == map_nih_labels({"Effusion", "Emphysema"})
    assert fourth.split == "test"
    # The radiologist's box stands against the mined label.
    assert (fourth.labels[NO_FINDING], fourth.labels["Lung Opacity"]) == ("absent", "present")


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("Data_Entry_2017_v2020.csv", "n|Emph", "n|Emf", "row 3: unknown label: 'Emfysema'"),
        ("Data_Entry_2017_v2020.csv", "No F", "Mass|No F", "row 4: No Finding beside findings"),
        ("Data_Entry_2017_v2020.csv", ",0,3,81", ",0,x,81", "row 5: patient: 'x'"),
        ("Data_Entry_2017_v2020.csv", ",0,3,81", ",0,3,", "row 5: age: "),
        ("Data_Entry_2017_v2020.csv", "81,F,PA", "81,F,LL", "row 5: view: 'LL'"),
        ("Data_Entry_2017_v2020.csv", "00000003_000.png", "9.png", "row 5: 9.png is in neither"),
        ("Data_Entry_2017_v2020.csv", ",0,3,", ",0,1,", "row 5: the patient is in the split"),
        ("Data_Entry_2017_v2020.csv", "Patient ID", "Patient", "row 1: columns missing"),
        ("BBox_List_2017.csv", "Infiltrate", "Blob", "row 3: box: unknown label 'Blob'"),
        ("BBox_List_2017.csv", "Infiltrate", "Hernia", "row 3: box: unknown label 'Hernia'"),
        ("BBox_List_2017.csv", "0,0,1024,1024", "a,0,9,9", "row 3: box: x, y, width"),
        ("BBox_List_2017.csv", "0,0,1024,1024", "9,0,1024,9", "row 3: box: empty or outside"),
        ("BBox_List_2017.csv", "0,0,1024,1024", "nan,0,4,4", "row 3: box: four lengths"),
        ("BBox_List_2017.csv", ",0,0,1024,1024", ",0,0", "row 3: 4 fields"),
        ("test_list.txt", "3_000", "2_000.png\n00000003_000", "row 1: 00000002_000.png is in the"),
    ],
)
def test_nih_bad_rows(tmp_path: Path, file: str, old: str, new: str, problem: str) -> None:
    folder = nih(tmp_path)
    replace(folder / file, old, new)
    with pytest.raises(DataError) as caught:
        load_nih(folder)
    assert f"{file} {problem}" in caught.value.message


def test_nih_missing_files(tmp_path: Path) -> None:
    folder = nih(tmp_path)
    (folder / "images_002/images/00000002_000.png").unlink()
    with pytest.raises(DataError, match=r"v2020\.csv row 4: image missing: .*00000002_000\.png"):
        load_nih(folder)
    for name in ("Data_Entry_2017_v2020.csv", "test_list.txt", "BBox_List_2017.csv"):
        (folder / name).unlink()
    with pytest.raises(DataError) as caught:
        load_nih(folder)
    assert len(caught.value.message.splitlines()) == 4


def subset_row(**cells: str) -> str:
    """Return a row of the subset's table; only the JSON needs quotes."""
    default = {"age": "60", "sex": "F", "view": "AP", "bboxes": "[]", "has_png1024": "1"}
    values = (default | cells).get
    fields = [values(name, "") for name in SUBSET_HEADER.split(",")]
    return ",".join('"' + field.replace('"', '""') + '"' for field in fields)


def test_nih_subset(tmp_path: Path) -> None:
    boxes = json.dumps([{"label": "Pneumonia", "xywh_1024": [512, 256, 256.0, 128]}])
    write(
        tmp_path / "labels.csv",
        SUBSET_HEADER,
        subset_row(
            image="1_0.png",
            patient_id="1",
            labels="Pneumonia",
            bboxes=boxes,
            split_by_patient="val",
        ),
        subset_row(
            image="2_0.png",
            patient_id="2",
            labels="No Finding",
            has_png1024="0",
            split_by_patient="test",
        ),
    )
    for name in ("jpg320/1_0.jpg", "jpg320/2_0.jpg", "png1024/1_0.png"):
        write_film(tmp_path / name)
    first, second = load_nih_subset(tmp_path)
    assert (first.split, second.split) == ("validation", "test")
    assert dataclasses.astuple(first.boxes[0]) == ("Pneumonia", 0.5, 0.25, 0.25, 0.125)
    (large,) = load_nih_subset(tmp_path, "png1024")
    assert large == dataclasses.replace(first, film=tmp_path / "png1024/1_0.png")
    for old, new, problem in (
        ('"val"', '"valid"', "row 2: split_by_patient: 'valid'"),
        ("xywh_1024", "xywh", "row 2: bboxes: not a JSON list"),
        ("2_0.png", "3_0.png", "row 3: image missing"),
    ):
        replace(tmp_path / "labels.csv", old, new)
        with pytest.raises(DataError) as caught:
            load_nih_subset(tmp_path)
        assert f"labels.csv {problem}" in caught.value.message
        replace(tmp_path / "labels.csv", new, old)


def test_real_nih_subset(data_dir: Path) -> None:
    examples = load_nih_subset(data_dir / "nih_cxr14")
    assert len(examples) == 893
    assert Counter(example.split for example in examples) == {
        "train": 672,
        "validation": 115,
        "test": 106,
    }
    assert {box.label for example in examples for box in example.boxes} >= {"Pneumonia"}
    assert all(
        example.labels[box.label] == "present" for example in examples for box in example.boxes
    )
    assert len(load_nih_subset(data_dir / "nih_cxr14", "png1024")) == 147


def test_real_list_of_boxes(data_dir: Path, tmp_path: Path) -> None:
    """The real list is read whole: only the films, which are not here, are missing."""
    folder = nih(tmp_path)
    packed = data_dir / "nih_cxr14/BBox_List_2017.csv.gz"
    (folder / "BBox_List_2017.csv").write_bytes(gzip.decompress(packed.read_bytes()))
    assert [example.boxes for example in load_nih(folder)] == [()] * 4
    name = "00013118_008.png"
    replace(folder / "Data_Entry_2017_v2020.csv", "00000003_000.png", name)
    replace(folder / "test_list.txt", "00000003_000.png", name)
    write_film(folder / "images_002/images" / name)
    (box,) = load_nih(folder)[3].boxes
    assert (box.label, round(box.left * 1024), round(box.height * 1024)) == ("Atelectasis", 225, 79)


# Label sets

NEVER_NAMED = {"Enlarged Cardiomediastinum", "Fracture", "Support Devices"}
NARROWER = {"Lung Opacity", "Pleural Other"}


def test_nih_no_finding_is_absent_only_where_nih_could_tell() -> None:
    labels = map_nih_labels(())
    assert labels[NO_FINDING] == "present"
    assert {label for label in labels if labels[label] == "absent"} == (
        {*LABELS} - {NO_FINDING} - NEVER_NAMED - NARROWER
    )


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Atelectasis", "Atelectasis"),
        ("Cardiomegaly", "Cardiomegaly"),
        ("Effusion", "Pleural Effusion"),
        ("Infiltration", "Lung Opacity"),
        ("Mass", "Lung Lesion"),
        ("Nodule", "Lung Lesion"),
        ("Pneumonia", "Pneumonia"),
        ("Pneumothorax", "Pneumothorax"),
        ("Consolidation", "Consolidation"),
        ("Edema", "Edema"),
        ("Pleural_Thickening", "Pleural Other"),
        ("Emphysema", None),
        ("Fibrosis", None),
        ("Hernia", None),
    ],
)
def test_each_nih_label(name: str, label: str | None) -> None:
    assert name in NIH_LABELS and NIH_TO_CHEXPERT.get(name) == label
    labels = map_nih_labels({name})
    assert [found for found, state in labels.items() if state == "present"] == (
        [label] if label else []
    )
    assert labels[NO_FINDING] == "absent"
    assert not NEVER_NAMED & set(labels)
    assert NARROWER & set(labels) <= {label}
    assert list(labels) == [known for known in LABELS if known in labels]


# Open-I

XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
   <uId id="CXR{number}"/>
   <MedlineCitation><Article><Abstract>
      <AbstractText Label="COMPARISON">Old pneumothorax.</AbstractText>
      <AbstractText Label="INDICATION">Pneumonia</AbstractText>
      <AbstractText Label="FINDINGS">{findings}</AbstractText>
      <AbstractText Label="IMPRESSION">{impression}</AbstractText>
   </Abstract></Article></MedlineCitation>
   <parentImage id="CXR{number}_IM-1-3001"><figureId>F1</figureId></parentImage>
   <parentImage id="CXR{number}_IM-1-4001"><figureId>F2</figureId></parentImage>
</eCitation>"""


def openi(tmp_path: Path) -> Path:
    folder = tmp_path / "ecgen-radiology"
    small = XML.format(number=1, findings="No effusion.", impression="Left basilar atelectasis.")
    write(folder / "1.xml", small)
    write(folder / "2.xml", XML.format(number=2, findings="", impression=""))
    return folder


@pytest.mark.parametrize("packing", ["folder", "tgz", "tar.xz"])
def test_openi(tmp_path: Path, packing: str) -> None:
    place = openi(tmp_path)
    if packing != "folder":
        archive = tmp_path / f"NLMCXR_reports.{packing}"
        with tarfile.open(archive, "w:gz" if packing == "tgz" else "w:xz") as file:
            file.add(place, "ecgen-radiology")
        place = archive
    (example,) = load_openi(place)
    assert (example.film, example.patient, example.origin) == (None, "open-i/CXR1", "1.xml")
    assert example.report == "No effusion.\nLeft basilar atelectasis."
    assert example.labels == {
        "Atelectasis": "present",
        NO_FINDING: "absent",
        "Pleural Effusion": "absent",
    }
    assert example.image_ids == ("CXR1_IM-1-3001", "CXR1_IM-1-4001")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("</eCitation>", "", "not XML: "),
        ('<uId id="CXR2"/>', "", "no uId"),
        ("CXR2", "CXR1", "same uId as 1.xml"),
    ],
)
def test_openi_bad_files(tmp_path: Path, old: str, new: str, what: str) -> None:
    folder = openi(tmp_path)
    replace(folder / "2.xml", old, new)
    with pytest.raises(DataError, match=rf"  2\.xml: {what}"):
        load_openi(folder)


def test_openi_archive_that_is_invalid_empty_or_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.tgz: cannot be read"):
        load_openi(tmp_path / "absent.tgz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no report in it"):
        load_openi(tmp_path / "empty")
    cut = tmp_path / "cut.tar"
    with tarfile.open(cut, "w") as file:
        file.addfile(tarfile.TarInfo("1.xml"), io.BytesIO())
    cut.write_bytes(cut.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cut\.tar: cannot be read"):
        load_openi(cut)


def test_real_openi(data_dir: Path) -> None:
    with searched_once():
        examples = load_openi(data_dir / "openi_reports/NLMCXR_ecgen-radiology_xml.tar.xz")
    # 3,425 with findings and 3,921 with an impression, 3,419 of them with both.
    assert len(examples) == len({example.patient for example in examples}) == 3927
    assert all(example.report and example.film is None for example in examples)
    assert sum(bool(example.labels) for example in examples) > 3800


# Refusals


def test_refusals(tmp_path: Path) -> None:
    write_film(tmp_path / "dogs/one.JPG")
    write_film(tmp_path / "hand.dcm")
    write(tmp_path / "LICENSE", "text")
    first, second = load_refusals(tmp_path)
    assert (first.film, second.film) == (tmp_path / "dogs/one.JPG", tmp_path / "hand.dcm")
    assert first.patient == "refusals/dogs/one.JPG"
    assert (first.trace, first.labels) == (REFUSAL, {})
    assert parse_trace(REFUSAL, truncated=False).outcome is Outcome.REFUSED


def test_refusals_bad_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image in it"):
        load_refusals(tmp_path / "absent")
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png: image empty"):
        load_refusals(tmp_path)


def test_real_refusals(data_dir: Path) -> None:
    assert len(load_refusals(data_dir / "dicom/other_cr_mg")) >= 7


# Splits


def people(count: int) -> list[Example]:
    return [
        Example(film=None, patient=f"s/{number // 3}", source="s", origin=f"t.csv row {number}")
        for number in range(count)
    ]


SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def test_split_leaks_nothing_and_loses_nothing() -> None:
    examples = people(9000)
    parts = split_by_patient(examples, SHARES, seed=1)
    check_splits(parts)
    assert sorted(e.origin for part in parts.values() for e in part) == sorted(
        e.origin for e in examples
    )
    for name, share in SHARES.items():
        assert len(parts[name]) / len(examples) == pytest.approx(share, abs=0.02)


def test_split_depends_on_patient_and_seed_alone() -> None:
    examples = people(600)
    parts = split_by_patient(examples, SHARES, seed=1)
    assert split_by_patient(examples, SHARES, seed=1) == parts
    assert split_by_patient(examples, SHARES, seed=2) != parts
    backwards = split_by_patient(people(900)[::-1], SHARES, seed=1)
    for name, part in parts.items():
        assert {e.origin for e in part} <= {e.origin for e in backwards[name]}


def test_split_is_the_same_on_every_machine() -> None:
    parts = split_by_patient(people(30), SHARES, seed=0)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 21,
        "validation": 6,
        "test": 3,
    }


def test_empty_part_stays_empty() -> None:
    parts = split_by_patient(people(300), {"train": 1.0, "test": 0.0}, seed=0)
    assert (len(parts["train"]), parts["test"]) == (300, [])


@pytest.mark.parametrize(
    "shares", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": float("nan")}]
)
def test_invalid_shares(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        split_by_patient(people(3), shares, seed=0)


def test_leak_is_named_with_file_and_row() -> None:
    examples = people(6)
    with pytest.raises(DataError) as caught:
        check_splits({"train": examples[:4], "test": examples[4:]})
    assert [line.strip() for line in caught.value.message.splitlines()[1:]] == [
        f"t.csv row {row}: the patient is in the split 'test' and, at t.csv row 3, in 'train'"
        for row in (4, 5)
    ]


def test_official_splits_leave_out_what_has_none(tmp_path: Path) -> None:
    examples = [*load_chexpert(chexpert(tmp_path)), *people(3)]
    parts = official_splits(examples)
    assert {name: len(part) for name, part in parts.items()} == {"train": 3, "validation": 1}
    check_splits(parts)

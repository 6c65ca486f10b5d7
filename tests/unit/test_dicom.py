"""DICOM files, real and derived from real ones, to pixels, display table and film record."""

from __future__ import annotations

import csv
import gzip
import logging
import random
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom
import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from cxr_reason.errors import (
    InputError,
    TooLargeError,
    UnreadableImageError,
    UnsupportedObjectError,
)
from cxr_reason.film.header import READ
from cxr_reason.film.radiograph import FilmLimits, Radiograph, decode_radiograph

EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
CANARY = "Canary^Patient"

Make = Callable[..., bytes]


def to_bytes(dataset: Dataset, syntax: str = EXPLICIT) -> bytes:
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].is_undefined_length = dataset["PixelData"].is_undefined_length or (
        pydicom.uid.UID(syntax).is_encapsulated
    )
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def display(film: Radiograph) -> np.ndarray:
    return film.display_table[film.pixels]


def rendered_by_highdicom(data: bytes) -> np.ndarray:
    image = highdicom.imread(BytesIO(data))
    return image.get_frame(1, apply_voi_transform=True, apply_presentation_lut=True)


def code_item(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def lut_item(first: int, bits: int, values: np.ndarray) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values) % 65536, first, bits])
    item.add_new("LUTData", "OW", values.astype("<u2").tobytes())
    return Sequence([item])


@pytest.fixture(scope="session")
def rg1(rg1_path: Path) -> Dataset:
    """RG1 at a tenth of its size on each side."""
    with rg1_path.open("rb") as file:
        dataset = pydicom.dcmread(file)
    pixels = dataset.pixel_array[::10, ::10]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()
    dataset.PatientName = CANARY
    return dataset


@pytest.fixture
def make(rg1: Dataset) -> Make:
    """Return the small RG1 as bytes, with other header values; None removes an element."""

    def make_film(pixels: np.ndarray | None = None, syntax: str = EXPLICIT, **values: Any) -> bytes:
        dataset = pydicom.dcmread(BytesIO(to_bytes(rg1)))
        if pixels is not None:
            dataset.Rows, dataset.Columns = pixels.shape
            dataset.BitsAllocated = 8 * pixels.dtype.itemsize
            dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
            dataset.PixelData = pixels.tobytes()
        for keyword, value in values.items():
            if value is None:
                if keyword in dataset:
                    delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        if "BitsStored" in values:
            dataset.HighBit = values.get("HighBit", dataset.BitsStored - 1)
        return to_bytes(dataset, syntax)

    return make_film


@pytest.fixture(scope="session")
def stored(rg1: Dataset) -> np.ndarray:
    """The small RG1's stored values, uint16, 15 bits."""
    return np.frombuffer(rg1.PixelData, "<u2").reshape(rg1.Rows, rg1.Columns)


@pytest.mark.parametrize("name", ["RG1", "dog"])
def test_rendering_of_real_files_is_highdicoms(
    name: str, rg1_path: Path, request: pytest.FixtureRequest
) -> None:
    if name == "RG1":  # MONOCHROME1 without PresentationLUTShape
        data = rg1_path.read_bytes()
    else:  # MONOCHROME1 with INVERSE
        folder: Path = request.getfixturevalue("dicom_dir")
        data = (folder / "chest/highdicom_dx_image_canine_thorax.dcm").read_bytes()
    film = decode_radiograph(data)
    # Both compute the window in float64; ours is then rounded to float32.
    np.testing.assert_allclose(display(film), rendered_by_highdicom(data), atol=1e-6)
    assert film.pixels.dtype == np.uint16 and film.display_table.dtype == np.float32


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"PhotometricInterpretation": "MONOCHROME2"},
        {"PresentationLUTShape": "INVERSE"},
        {"PresentationLUTShape": "IDENTITY"},
        {"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "IDENTITY"},
        {"VOILUTFunction": "SIGMOID"},
        {"VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": ["9000", "15000"], "WindowWidth": ["8000", "30000"]},
    ],
    ids=str,
)
def test_rendering_of_header_variants_is_highdicoms(make: Make, values: dict[str, Any]) -> None:
    data = make(**values)
    film = decode_radiograph(data)
    np.testing.assert_allclose(display(film), rendered_by_highdicom(data), atol=1e-6)


@pytest.mark.parametrize(
    "rescale",
    [
        {"RescaleSlope": "0.5", "RescaleIntercept": "-300", "WindowCenter": "7000"},
        {"RescaleSlope": "-1", "RescaleIntercept": "32767"},
    ],
    ids=str,
)
def test_window_applies_to_rescaled_values(
    make: Make, stored: np.ndarray, rescale: dict[str, str]
) -> None:
    values = stored * float(rescale["RescaleSlope"]) + float(rescale["RescaleIntercept"])
    center, width = float(rescale.get("WindowCenter", "15000")), 30000.0
    expected = 1 - np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    data = make(**rescale, RescaleType="US")
    film = decode_radiograph(data)
    np.testing.assert_allclose(display(film), expected, atol=1e-6)
    # highdicom moves the window to stored values first and applies the standard's half and one
    # there, not in rescaled units: up to two stored values of the window's 29999.
    np.testing.assert_allclose(display(film), rendered_by_highdicom(data), atol=2.01 / 29999)


def test_voi_lut_sequence_is_used_before_the_window_and_is_highdicoms(make: Make) -> None:
    curve = np.rint(65535 * (np.arange(20000) / 19999) ** 0.5)
    data = make(VOILUTSequence=lut_item(3000, 16, curve))
    expected = rendered_by_highdicom(data)
    np.testing.assert_allclose(display(decode_radiograph(data)), expected, atol=1e-6)
    # highdicom stretches a LUT from its lowest to its highest entry, we take the range of its bits
    # (PS3.3 C.11.2.1.1): the same only if the LUT reaches both ends.
    lower = make(VOILUTSequence=lut_item(3000, 16, np.rint(curve * 0.6)))
    shown = 1 - display(decode_radiograph(lower))
    np.testing.assert_allclose(shown, (1 - expected) * 0.6, atol=1 / 65535)
    np.testing.assert_allclose(rendered_by_highdicom(lower), expected, atol=2 / 65535)


def test_modality_lut_sequence_is_highdicoms(make: Make) -> None:
    curve = 32767 - np.arange(32768) // 2
    modality = lut_item(0, 16, curve)
    modality[0].ModalityLUTType = "US"
    data = make(ModalityLUTSequence=modality, WindowCenter="24000", WindowWidth="15000")
    expected = rendered_by_highdicom(data)
    np.testing.assert_allclose(display(decode_radiograph(data)), expected, atol=1e-6)


def test_voi_lut_of_a_signed_film_starts_below_zero(make: Make, stored: np.ndarray) -> None:
    signed = (stored.astype(np.int32) - 16384).astype(np.int16)
    voi = lut_item(65536 - 16384, 12, np.arange(32768) // 8)
    film = decode_radiograph(make(signed, VOILUTSequence=voi))
    np.testing.assert_allclose(display(film), 1 - (stored // 8) / 4095, atol=1e-6)


def test_monochrome1_and_its_negative_as_monochrome2_look_the_same(
    make: Make, stored: np.ndarray
) -> None:
    negative = (32767 - stored).astype(np.uint16)
    mirrored = {"WindowCenter": str(32768 - 15000), "PhotometricInterpretation": "MONOCHROME2"}
    one = decode_radiograph(make(WindowCenter="15000"))
    two = decode_radiograph(make(negative, **mirrored))
    np.testing.assert_allclose(display(one), display(two), atol=1e-6)
    inverse = decode_radiograph(make(WindowCenter="15000", PresentationLUTShape="INVERSE"))
    np.testing.assert_array_equal(display(one), display(inverse))


def test_signed_pixels_look_like_unsigned_ones(make: Make, stored: np.ndarray) -> None:
    signed = (stored.astype(np.int32) - 16384).astype(np.int16)
    film = decode_radiograph(make(signed, WindowCenter=str(15000 - 16384)))
    np.testing.assert_array_equal(film.pixels, stored)
    np.testing.assert_allclose(display(film), display(decode_radiograph(make())), atol=1e-6)


def test_bits_above_the_stored_ones_are_ignored(make: Make, stored: np.ndarray) -> None:
    film = decode_radiograph(make(stored | np.uint16(0x8000)))
    np.testing.assert_array_equal(film.pixels, stored)


def test_missing_window_is_estimated_and_flagged(make: Make, stored: np.ndarray) -> None:
    film = decode_radiograph(make(WindowCenter=None, WindowWidth=None))
    assert "window_estimated" in film.info.flags
    low, high = np.percentile(stored, [0.5, 99.5], method="inverted_cdf").astype(float)
    expected = 1 - np.clip((stored - low) / (high - low), 0, 1)
    np.testing.assert_allclose(display(film), expected, atol=1e-6)
    assert "window_estimated" not in decode_radiograph(make()).info.flags


def test_padding_is_left_out_of_the_estimate(make: Make, stored: np.ndarray) -> None:
    padded = stored.copy()
    padded[::2, ::3] = 32000
    bare = {"WindowCenter": None, "WindowWidth": None}
    film = decode_radiograph(make(padded, **bare, syntax=IMPLICIT, PixelPaddingValue=32000))
    visible = padded[padded != 32000]
    high = np.percentile(visible, 99.5, method="inverted_cdf")
    assert film.display_table[high] == 0.0 and film.display_table[high - 50] > 0.0


def test_rg1_is_the_same_in_all_its_encodings(dicom_dir: Path) -> None:
    films = {
        kind: decode_radiograph((dicom_dir / f"chest/WG04_RG1_{kind}.dcm").read_bytes())
        for kind in ("UNCR", "J2KR", "JLSN", "J2KI")
    }
    plain = films["UNCR"]
    np.testing.assert_array_equal(films["J2KR"].pixels, plain.pixels)
    for film in films.values():
        np.testing.assert_array_equal(film.display_table, plain.display_table)
    difference = {k: np.abs(display(f) - display(plain)) for k, f in films.items()}
    # Near-lossless: at most 4 of a window of 30000. Lossy: a third of a gray level in the mean.
    assert difference["JLSN"].max() <= 4.01 / 29999
    assert difference["J2KI"].mean() < 0.0025
    assert len({film.info.image_digest for film in films.values()}) == 4


@pytest.mark.parametrize("kind", ["JPLL", "JLSL", "RLE", "JLSN", "J2KI", "JPLY"])
def test_rg2_called_a_chest_is_the_same_in_all_its_encodings(dicom_dir: Path, kind: str) -> None:
    def read(kind: str) -> np.ndarray:
        data = (dicom_dir / f"other_cr_mg/WG04_RG2_{kind}.dcm").read_bytes()
        return decode_radiograph(data.replace(b"CS\x04\0HIP ", b"CS\x04\0LUNG", 1)).pixels

    difference = np.abs(read(kind).astype(int) - read("J2KR"))
    most, mean = {"JLSN": (4, 2.1), "J2KI": (90, 8), "JPLY": (105, 8)}.get(kind, (0, 0))
    assert difference.max() <= most and difference.mean() <= mean


ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    "57 JPEG lossless": lambda p: imagecodecs.jpeg8_encode(
        p, lossless=True, predictor=4, bitspersample=15
    ),
    "70 JPEG lossless SV1": lambda p: imagecodecs.ljpeg_encode(p, bitspersample=15),
    "80 JPEG-LS": imagecodecs.jpegls_encode,
    "90 JPEG 2000": lambda p: imagecodecs.jpeg2k_encode(p, reversible=True, codecformat="j2k"),
    "201 HTJ2K": lambda p: imagecodecs.htj2k_encode(p, reversible=True),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_lossless_syntaxes_are_exact(make: Make, stored: np.ndarray, kind: str) -> None:
    syntax = f"1.2.840.10008.1.2.4.{kind.split()[0]}"
    frame = ENCODERS[kind](np.ascontiguousarray(stored))
    film = decode_radiograph(make(PixelData=encapsulate([frame]), syntax=syntax))
    np.testing.assert_array_equal(film.pixels, stored)
    halves = encapsulate([frame], fragments_per_frame=2)
    film = decode_radiograph(make(PixelData=halves, syntax=syntax))
    np.testing.assert_array_equal(film.pixels, stored)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED])
def test_native_syntaxes_are_exact(make: Make, stored: np.ndarray, syntax: str) -> None:
    data = make(syntax=syntax, VOILUTSequence=lut_item(0, 12, np.arange(4096)))
    film = decode_radiograph(data)
    np.testing.assert_array_equal(film.pixels, stored)
    assert film.info.body_part == "CHEST" and film.info.view == "PA"
    assert film.display_table[0] == 1.0 and film.display_table[5000] == 0.0


def test_big_endian_is_exact(make: Make, stored: np.ndarray) -> None:
    dataset = pydicom.dcmread(BytesIO(make()))
    dataset.PixelData = stored.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = BIG_ENDIAN
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=False)
    np.testing.assert_array_equal(decode_radiograph(buffer.getvalue()).pixels, stored)


def test_rle_is_exact(make: Make, stored: np.ndarray) -> None:
    dataset = pydicom.dcmread(BytesIO(make()))
    dataset.compress(pydicom.uid.RLELossless)
    np.testing.assert_array_equal(
        decode_radiograph(to_bytes(dataset, pydicom.uid.RLELossless)).pixels, stored
    )


def test_jpeg_baseline_and_extended_are_near(make: Make, stored: np.ndarray) -> None:
    eight = (stored >> 7).astype(np.uint8)
    frame = imagecodecs.jpeg8_encode(eight, level=98)
    for syntax in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"):
        data = make(eight, BitsStored=8, PixelData=encapsulate([frame]), syntax=syntax)
        assert np.abs(decode_radiograph(data).pixels.astype(int) - eight).max() <= 12
    twelve = stored >> 3
    frame = imagecodecs.jpeg8_encode(twelve, level=98, bitspersample=12)
    data = make(twelve, BitsStored=12, PixelData=encapsulate([frame]), syntax=syntax)
    assert np.abs(decode_radiograph(data).pixels.astype(int) - twelve).max() <= 100


def test_lossy_overshoot_stays_bright(make: Make) -> None:
    edge = np.zeros((64, 64), np.uint16)
    edge[:, 30:] = 1023  # the top of 10 bits in a 12-bit codec, which rings past it
    frame = imagecodecs.jpeg8_encode(edge, level=50, bitspersample=12)
    assert imagecodecs.jpeg8_decode(frame).max() > 1023
    data = make(
        edge, BitsStored=10, PixelData=encapsulate([frame]), syntax="1.2.840.10008.1.2.4.51"
    )
    assert decode_radiograph(data).pixels[:, 32:].min() > 900


@pytest.mark.parametrize(
    ("kind", "stream_is_signed"),
    [("80 JPEG-LS", False), ("90 JPEG 2000", False), ("90 JPEG 2000", True)],
)
def test_signed_pixels_in_either_kind_of_stream(
    make: Make, stored: np.ndarray, kind: str, stream_is_signed: bool
) -> None:
    signed = (stored.astype(np.int32) - 16384).astype(np.int16)
    frame = ENCODERS[kind](signed if stream_is_signed else signed.view(np.uint16) & 0x7FFF)
    data = make(
        signed, PixelData=encapsulate([frame]), syntax=f"1.2.840.10008.1.2.4.{kind.split()[0]}"
    )
    np.testing.assert_array_equal(decode_radiograph(data).pixels, stored)


def test_file_without_a_preamble(make: Make, stored: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_radiograph(make()[132:]).pixels, stored)


@pytest.mark.parametrize(
    ("values", "spacing", "kind"),
    [
        ({"PixelSpacing": [0.1, 0.2], "ImagerPixelSpacing": [0.2, 0.4]}, (0.1, 0.2), "calibrated"),
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2), "detector"),
        (
            {
                "PixelSpacing": [0.2, 0.2],
                "ImagerPixelSpacing": [0.2, 0.2],
                "PixelSpacingCalibrationType": "GEOMETRY",
            },
            (0.2, 0.2),
            "calibrated",
        ),
        (
            {"PixelSpacing": [0.2, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.2, 0.2),
            "calibrated",
        ),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.15, 0.15]}, (0.15, 0.15), "detector"),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.15, 0.15]}, (0.15, 0.15), "detector"),
        ({"PixelSpacing": [0.2, 0.2]}, None, "unknown"),
        ({"PixelSpacing": [0, 0]}, None, "unknown"),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [-1, 0.2]}, None, "unknown"),
        ({"PixelSpacing": None}, None, "unknown"),
    ],
    ids=str,
)
def test_spacing_and_what_it_means(make: Make, values: dict[str, Any], spacing: Any, kind: str):
    info = decode_radiograph(make(**values)).info
    assert (info.pixel_spacing_mm, info.spacing_kind) == (spacing, kind)


def test_blank_body_part_and_view_are_flagged(make: Make) -> None:
    info = decode_radiograph(make(BodyPartExamined="", ViewPosition=None)).info
    assert (info.body_part, info.view) == (None, None)
    assert info.flags == ("body_part_unknown", "view_unknown")
    assert decode_radiograph(make()).info.flags == ()


@pytest.mark.parametrize(
    ("values", "view"),
    [
        ({"ViewPosition": "AP"}, "AP"),
        ({"ViewPosition": "PA ERECT"}, "PA"),
        ({"ViewPosition": "AP_SUPINE"}, "AP"),
        ({"ViewPosition": "STANDING"}, None),
        (
            {
                "ViewPosition": "",
                "ViewCodeSequence": code_item("R-10214", "SNM3", "postero-anterior"),
            },
            "PA",
        ),
        (
            {
                "ViewPosition": "",
                "ViewCodeSequence": code_item("399348003", "SCT", "antero-posterior"),
            },
            "AP",
        ),
    ],
    ids=["AP", "PA-erect", "AP-supine", "unknown-word", "PA-code", "AP-code"],
)
def test_view(make: Make, values: dict[str, Any], view: str | None) -> None:
    assert decode_radiograph(make(**values)).info.view == view


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_region_code_stands_in_for_a_body_part(make: Make, syntax: str) -> None:
    chest = code_item("T-D3000", "SNM3", "Chest")
    data = make(syntax=syntax, BodyPartExamined="", AnatomicRegionSequence=chest)
    assert decode_radiograph(data).info.flags == ()


def test_secondary_capture_of_a_chest_film(make: Make) -> None:
    capture = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"}
    assert decode_radiograph(make(**capture)).info.body_part == "CHEST"
    by_study = make(**capture, BodyPartExamined="", StudyDescription="XR Thorax")
    assert "body_part_unknown" in decode_radiograph(by_study).info.flags
    with pytest.raises(UnsupportedObjectError):
        decode_radiograph(make(**capture, BodyPartExamined="", StudyDescription="Photo"))
    with pytest.raises(UnsupportedObjectError):
        decode_radiograph(make(Modality="OT"))


def test_headers_as_they_are_found(data_dir: Path, make: Make) -> None:
    """Header values of 7,469 real chest films, 400 rows of them."""
    with gzip.open(data_dir / "openi_reports/nlmcxr_dicom_metadata.csv.gz", "rt") as file:
        rows = random.Random(0).sample(list(csv.DictReader(file)), 400)
    depths = {bits: np.random.default_rng(0).integers(0, 1 << bits, (60, 50)) for bits in range(17)}
    columns = {
        "Modality": "Modality",
        "BodyPartExamined": "Body Part Examined",
        "ViewPosition": "View Position",
        "PhotometricInterpretation": "Photometric Interpretation",
        "PresentationLUTShape": "Presentation LUT Shape",
        "RescaleSlope": "Rescale Slope",
        "RescaleIntercept": "Rescale Intercept",
        "WindowCenter": "Window Center",
        "WindowWidth": "Window Width",
        "PixelSpacing": "Pixel Spacing",
        "ImagerPixelSpacing": "Imager Pixel Spacing",
        "PatientOrientation": "Patient Orientation",
        "SpecificCharacterSet": "Specific Character Set",
    }
    accepted = 0
    for row in rows:
        values: dict[str, Any] = {}
        for keyword, column in columns.items():
            parts = [part.strip(" '") for part in row[column].strip("[]").split(",")]
            # A blank column stands for an absent element as well as for an empty one.
            absent = parts == [""] and random.random() < 0.5
            values[keyword] = None if absent else parts if len(parts) > 1 else parts[0]
        bits = int(row["Bits Stored"])
        data = make(depths[bits].astype(np.uint16), BitsStored=bits, **values)
        lateral = row["View Position"] not in ("PA", "AP", "") or row["Patient Orientation"][
            2:3
        ] in ("A", "P")
        if lateral or row["Body Part Examined"] == "EXTREMETY":
            with pytest.raises(UnsupportedObjectError):
                decode_radiograph(data)
            continue
        film = decode_radiograph(data)
        accepted += 1
        assert ("view_unknown" in film.info.flags) == (row["View Position"] == "")
        assert ("window_estimated" in film.info.flags) == (row["Window Center"] == "")
        inverted = row["Photometric Interpretation"] == "MONOCHROME1"
        assert (film.display_table[0] > film.display_table[-1]) == inverted
        assert np.isfinite(film.display_table).all()
    assert accepted > 250


UNSUPPORTED: dict[str, dict[str, Any]] = {
    "CT": {"Modality": "CT"},
    "MG": {"Modality": "MG"},
    "no modality": {"Modality": None},
    "hip": {"BodyPartExamined": "HIP"},
    "extremity": {"BodyPartExamined": "EXTREMITY"},
    "region code": {"AnatomicRegionSequence": code_item("T-11300", "SRT", "Femur")},
    "LL": {"ViewPosition": "LL"},
    "RL": {"ViewPosition": "RL"},
    "LLO": {"ViewPosition": "LLO"},
    "lateral": {"ViewPosition": "LARGE LATERAL"},
    "lat": {"ViewPosition": "PORT LAT"},
    "lateral code": {"ViewCodeSequence": code_item("R-10236", "SNM3", "left lateral")},
    "lateral orientation": {"ViewPosition": "", "PatientOrientation": ["A", "F"]},
    "two frames": {"NumberOfFrames": 2},
    "color": {
        "pixels": np.eye(9, dtype=np.uint8),
        "BitsStored": 8,
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "PixelData": np.arange(244, dtype=np.uint8).tobytes(),
    },
    "deep color": {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
    "color in one sample": {"PhotometricInterpretation": "RGB"},
    "palette": {"PhotometricInterpretation": "PALETTE COLOR"},
    "32 bits": {"BitsAllocated": 32, "BitsStored": 32},
    "7 bits": {"BitsStored": 7},
    "high bit": {"BitsStored": 12, "HighBit": 16},
    "raw": {"PresentationIntentType": "FOR PROCESSING"},
    "slope 0": {"RescaleSlope": "0", "RescaleIntercept": "0"},
    "window function": {"VOILUTFunction": "CUBIC"},
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_objects_are_refused(make: Make, name: str) -> None:
    with pytest.raises(UnsupportedObjectError, match=r"send|correct"):
        decode_radiograph(make(**UNSUPPORTED[name]))


UNREADABLE: dict[str, dict[str, Any]] = {
    "no rows": {"Rows": None},
    "0 rows": {"Rows": 0},
    "no pixel data": {"PixelData": b""},
    "short pixel data": {"PixelData": b"\0" * 1000},
    "unknown syntax": {"PixelData": encapsulate([b"MPEG"]), "syntax": "1.2.840.10008.1.2.4.100"},
    "wrong codec": {
        "PixelData": encapsulate([b"not a frame at all"]),
        "syntax": "1.2.840.10008.1.2.4.90",
    },
    "frame of another size": {
        "PixelData": encapsulate([imagecodecs.jpegls_encode(np.zeros((9, 9), np.uint16))]),
        "syntax": "1.2.840.10008.1.2.4.80",
    },
    "short RLE": {
        "PixelData": encapsulate([b"\2\0\0\0\x40\0\0\0\x44\0\0\0" + bytes(60)]),
        "syntax": "1.2.840.10008.1.2.5",
    },
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_objects_are_refused(make: Make, name: str) -> None:
    with pytest.raises(UnreadableImageError):
        decode_radiograph(make(**UNREADABLE[name]))


def test_charset_samples_without_pixels_are_refused(dicom_dir: Path) -> None:
    paths = sorted(dicom_dir.glob("chest/pydicom_charset_*.dcm"))
    assert paths
    for path in paths:
        with pytest.raises(UnreadableImageError, match="no pixel data"):
            decode_radiograph(path.read_bytes())


def test_real_films_of_other_parts_are_refused(dicom_dir: Path) -> None:
    for path in [*dicom_dir.glob("other_cr_mg/*.dcm"), *dicom_dir.glob("luts/*.dcm")]:
        with pytest.raises(UnsupportedObjectError):
            decode_radiograph(path.read_bytes())


def test_pixel_limit_is_checked_on_the_header(make: Make) -> None:
    with pytest.raises(TooLargeError, match="60000 x 60000"):
        decode_radiograph(make(Rows=60000, Columns=60000))
    data = make()
    film = decode_radiograph(data)
    decode_radiograph(data, FilmLimits(max_pixels=film.pixels.size))
    with pytest.raises(TooLargeError):
        decode_radiograph(data, FilmLimits(max_pixels=film.pixels.size - 1))


def test_deflated_bomb_is_refused(make: Make) -> None:
    deflated = make(syntax=DEFLATED)
    start = _dataset_offset(deflated)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflate.compress(b"\x08\0\x60\0CS\x02\0CR" + bytes(100 * 2**20)) + deflate.flush()
    with pytest.raises(TooLargeError, match="inflated"):
        decode_radiograph(deflated[:start] + bomb)
    with pytest.raises(UnreadableImageError):
        decode_radiograph(deflated[: start + 400])


def _dataset_offset(data: bytes) -> int:
    with BytesIO(data) as file:
        pydicom.filereader.read_preamble(file, force=False)
        pydicom.filereader.read_dataset(
            file, False, True, stop_when=lambda tag, vr, length: tag.group != 2
        )
        return file.tell()


def test_rle_bomb_is_refused(make: Make) -> None:
    run = b"\x81\0" * 2**20  # 128 MiB
    offsets = b"\2\0\0\0\x40\0\0\0" + (64 + len(run)).to_bytes(4, "little") + bytes(52)
    frame = encapsulate([offsets + run + run])
    with pytest.raises(UnreadableImageError):
        decode_radiograph(make(PixelData=frame, syntax="1.2.840.10008.1.2.5"))


def damaged(data: bytes, rng: random.Random) -> list[bytes]:
    """60 truncations and 60 corruptions, dense where the header is."""
    header_size = min(4000, len(data))
    cuts = [rng.randrange(header_size) for _ in range(30)]
    cuts += [rng.randrange(len(data)) for _ in range(29)] + [len(data) - 1]
    results = [data[:cut] for cut in cuts]
    for number in range(60):
        broken = bytearray(data)
        span = header_size if number % 2 else len(data)
        for _ in range(rng.choice([1, 4, 30])):
            broken[rng.randrange(span)] = rng.randrange(256)
        results.append(bytes(broken))
    return results


@pytest.mark.parametrize("kind", ["native", "implicit", "deflated", "rle", *ENCODERS])
def test_damage_raises_input_errors_without_patient_data(
    make: Make, stored: np.ndarray, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    syntax = {"native": EXPLICIT, "implicit": IMPLICIT, "deflated": DEFLATED}.get(kind)
    if kind == "rle":
        dataset = pydicom.dcmread(BytesIO(make(VOILUTSequence=lut_item(0, 8, np.arange(99)))))
        dataset.compress(pydicom.uid.RLELossless)
        data = to_bytes(dataset, pydicom.uid.RLELossless)
    elif syntax is None:
        frame = encapsulate([ENCODERS[kind](np.ascontiguousarray(stored))])
        data = make(PixelData=frame, syntax=f"1.2.840.10008.1.2.4.{kind.split()[0]}")
    else:
        data = make(syntax=syntax, AnatomicRegionSequence=code_item("T-D3000", "SRT", "Chest"))
    decode_radiograph(data)
    refused = 0
    for broken in damaged(data, random.Random(kind)):
        try:
            decode_radiograph(broken)
        except InputError as error:
            refused += 1
            assert "Canary" not in str(error) and "Canary" not in repr(error.__cause__)
    assert refused >= 59  # every truncation; pixel values that changed are valid ones
    assert "Canary" not in caplog.text


@pytest.mark.parametrize("representation", [b"C\x06", b"O\0", b"ZZ", b"SQ", b"UN", b"FD"])
def test_damaged_value_representations_raise_input_errors(
    make: Make, representation: bytes
) -> None:
    region = code_item("T-D3000", "SRT", "Chest")
    for size in ("", "VALUE"):  # pydicom reads empty values another way
        data = make(
            VOILUTFunction="LINEAR", PresentationIntentType=size, AnatomicRegionSequence=region
        )
        for keyword in READ:
            tag = pydicom.tag.Tag(keyword)
            encoded = tag.group.to_bytes(2, "little") + tag.elem.to_bytes(2, "little")
            offset = data.find(encoded, 132)
            if offset < 0:
                continue
            broken = data[: offset + 4] + representation + data[offset + 6 :]
            try:
                decode_radiograph(broken)
            except InputError as error:
                assert "Canary" not in str(error)


def test_refusals_name_no_patient_data(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {
        "PatientName": "Canary^Name",
        "PatientID": "CANARY0815",
        "StudyDescription": "Canary study",
        "InstitutionName": "Canary hospital",
        "SOPInstanceUID": "1.2.999.4711",
        "StudyDate": "19990817",
        "PatientBirthDate": "19330817",
    }
    cases = [*UNSUPPORTED.values(), *(UNREADABLE[k] for k in ("no rows", "0 rows", "wrong codec"))]
    # A name in the wrong element has not the shape of a code.
    cases += [{"BodyPartExamined": "Canary^Wrong"}, {"ViewPosition": "LATERAL Canary^Wrong"}]
    with monkeypatch.context() as patch:  # pydicom would not write such values
        patch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
        patch.setattr(config.settings, "writing_validation_mode", config.IGNORE)
        files = [make(**{**secret, **case}) for case in cases]
    caplog.clear()
    texts = []
    for data in files:
        with pytest.raises(InputError) as caught:
            decode_radiograph(data)
        texts += [str(caught.value), repr(caught.value.__cause__)]
    everything = "\n".join([*texts, caplog.text]).lower()
    for word in ("canary", "4711", "19990817", "19330817"):
        assert word not in everything


def test_film_record_and_logs_hold_no_patient_data(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    film = decode_radiograph(make())
    assert "Canary" not in film.info.to_json() + repr(film) + caplog.text

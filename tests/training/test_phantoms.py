"""Phantoms: the same film from the same seed, and ground truth that is true."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_voi_lut

from cxr_reason.data.phantoms import (
    DEFAULT_PREVALENCE,
    VISIBLE_CONTRAST,
    Phantom,
    State,
    encode_dicom,
    generate_many,
    label_film,
    make_phantom,
    write_dicom,
)
from cxr_reason.errors import BadRequestError
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.findings import LABELS, NO_FINDING, PARENTS

SIZE_PX = 320
# Edge processing reaches two pixels beyond what a finding changes, and so do a box's faint borders.
BOX_MARGIN_PX = 3
OUTLINES = ("Cardiomegaly", "Enlarged Cardiomediastinum")
DRAWN_ON_TOP = [label for label in DEFAULT_PREVALENCE if label not in OUTLINES]
NUM_FILMS = 2000
# SHA-256 of the pixels of four small films.
GOLDEN = "c0e4961c4ee6586ff093c4a1b3e5177921f205d48b5610f3250490cb1f9477ea"


@pytest.fixture(scope="module")
def films() -> list[Phantom]:
    """Small films: geometry, labels and exposure are those of large ones."""
    return list(generate_many(range(NUM_FILMS), 64, num_workers=2))


def signal(phantom: Phantom) -> np.ndarray:
    """Return the stored values, more attenuation being higher whatever the photometric."""
    values = phantom.pixels.astype(np.float64)
    return -values if phantom.exposure.photometric == "MONOCHROME1" else values


def is_in_boxes(phantom: Phantom, label: str) -> np.ndarray:
    inside = np.zeros(phantom.pixels.shape, dtype=bool)
    for finding in phantom.findings_of(label):
        x0, y0, x1, y1 = finding.box
        rows = slice(max(y0 - BOX_MARGIN_PX, 0), y1 + BOX_MARGIN_PX)
        inside[rows, max(x0 - BOX_MARGIN_PX, 0) : x1 + BOX_MARGIN_PX] = True
    return inside


def test_the_same_seed_gives_the_same_film() -> None:
    one, again = make_phantom(11, 128), make_phantom(11, 128)
    np.testing.assert_array_equal(one.pixels, again.pixels)
    assert (one.labels, one.findings, one.exposure) == (
        again.labels,
        again.findings,
        again.exposure,
    )


def test_a_film_does_not_depend_on_the_films_before_or_on_global_random_numbers() -> None:
    np.random.seed(1)
    one = make_phantom(12, 96).pixels
    make_phantom(13, 96)
    np.random.seed(2)
    np.testing.assert_array_equal(one, make_phantom(12, 96).pixels)


def test_seeds_give_different_films(films: list[Phantom]) -> None:
    assert len({film.pixels.tobytes() for film in films}) == NUM_FILMS


def test_a_film_is_the_same_on_every_machine() -> None:
    """Recorded with and without AVX2 and AVX-512, which round transcendental functions apart."""
    pixels = b"".join(make_phantom(seed, 96).pixels.astype("<u2").tobytes() for seed in range(4))
    assert hashlib.sha256(pixels).hexdigest() == GOLDEN


def test_workers_give_the_same_films(films: list[Phantom]) -> None:
    for film in films[:3]:
        np.testing.assert_array_equal(film.pixels, make_phantom(film.seed, 64).pixels)
    alone = list(generate_many([5, 3], 64, num_workers=1))
    assert [film.seed for film in alone] == [5, 3]


def test_pixels_are_those_of_a_12_bit_detector() -> None:
    film = make_phantom(4)
    assert film.pixels.dtype == np.uint16 and film.pixels.shape == (SIZE_PX, SIZE_PX)
    assert film.pixels.max() < 1 << 12
    assert film.display_table.shape == (1 << 12,)


def test_dense_tissue_is_shown_bright(films: list[Phantom]) -> None:
    for film in films[:50]:
        shown = film.display_table[film.pixels]
        lungs = [shown[y0:y1, x0:x1].mean() for x0, y0, x1, y1 in film.lung_boxes.values()]
        middle = round(sum(film.midline_px) / 2)
        assert shown[-20:-8, middle - 2 : middle + 3].mean() > max(lungs) + 0.1


def test_size_changes_neither_patient_nor_findings() -> None:
    for seed in range(6):
        small, large = make_phantom(seed, 160), make_phantom(seed, 320)
        assert small.labels == large.labels
        assert [f.kind for f in small.findings] == [f.kind for f in large.findings]
        for one, other in zip(small.findings, large.findings, strict=True):
            # The haze of an edema ends in single vessels: which of them is the last varies.
            tolerance = 0.1 if one.label == "Edema" else 0.02
            np.testing.assert_allclose(2 * np.array(one.box), other.box, atol=tolerance * SIZE_PX)


@pytest.mark.parametrize(
    ("label", "state"),
    [
        *((label, "present") for label in DRAWN_ON_TOP),
        # A device is never uncertain.
        *((label, "uncertain") for label in DRAWN_ON_TOP if label != "Support Devices"),
    ],
)
def test_boxes_hold_what_a_finding_changes(label: str, state: State) -> None:
    checked = 0
    for seed in range(100, 106):
        without, film = make_phantom(seed, labels={}), make_phantom(seed, labels={label: state})
        assert film.labels[label] == state
        if film.findings[-1].kind == "lobar collapse" and state == "present":
            continue  # it also raises the diaphragm
        assert film.exposure == without.exposure
        change = np.abs(signal(film) - signal(without))
        inside = is_in_boxes(film, label)
        assert change.max() > 0
        assert (change[inside] ** 2).sum() >= 0.95 * (change**2).sum()
        assert change[inside].sum() >= 0.95 * change.sum()
        checked += 1
    assert checked >= 2


@pytest.mark.parametrize("label", DRAWN_ON_TOP)
def test_present_findings_are_visible_and_uncertain_ones_are_not_quite(label: str) -> None:
    for seed in range(200, 206):
        (*_, finding) = make_phantom(seed, 128, labels={label: "present"}).findings_of(label)
        assert finding.visibility is not None and finding.visibility >= VISIBLE_CONTRAST
        if label == "Support Devices":
            continue
        film = make_phantom(seed, 128, labels={label: "uncertain"})
        faint = next(f for f in film.findings if f.label == label)
        assert faint.visibility is not None and faint.contrast_units is not None
        assert 0.0 < faint.visibility < VISIBLE_CONTRAST
        assert faint.contrast_units == pytest.approx(faint.visibility * film.exposure.window_width)


def test_contrast_is_what_the_pixels_show() -> None:
    """Where edges are not processed, on films of one finding with a flat core."""
    for seed in range(300, 306):
        without = make_phantom(seed, labels={})
        film = make_phantom(seed, labels={"Lung Opacity": "present"})
        (finding,) = film.findings
        change = np.abs(signal(film) - signal(without))
        x0, y0, x1, y1 = finding.box
        core = change[y0:y1, x0:x1]
        measured = core[core > core.max() / 2].mean()
        # The contrast is that of a small change; the logarithm shrinks a large one a little.
        assert finding.contrast_units == pytest.approx(measured, rel=0.25)


def test_states_agree_with_the_findings(films: list[Phantom]) -> None:
    for film in films:
        drawn = {finding.label: finding.state for finding in film.findings}
        assert film.labels == label_film(drawn)
        for label in LABELS:
            has_finding = bool(film.findings_of(label))
            assert has_finding == (film.labels[label] != "absent") or label == NO_FINDING


def test_heart_size_follows_the_rule(films: list[Phantom]) -> None:
    for film in films:
        limit = {"PA": 0.50, "AP": 0.55}[film.view]
        ratio = film.cardiothoracic_ratio
        expected = "present" if ratio > limit else "uncertain" if ratio > limit - 0.03 else "absent"
        assert film.labels["Cardiomegaly"] == expected


def test_the_heart_in_the_pixels_has_the_stated_width() -> None:
    for seed in range(20):
        film = make_phantom(seed, labels={"Cardiomegaly": "present"})
        (finding,) = film.findings
        assert finding.ratio == film.cardiothoracic_ratio
        left, right = film.lung_boxes["left"], film.lung_boxes["right"]
        # The boxes of a patient who leans are wider than he is by what the midline moves.
        lean_px = abs(film.midline_px[1] - film.midline_px[0]) / SIZE_PX * (left[3] - left[1])
        width_px = left[2] - right[0] - lean_px
        assert (finding.box[2] - finding.box[0]) / width_px == pytest.approx(
            film.cardiothoracic_ratio, abs=0.02
        )


def test_the_mediastinum_follows_the_rule(films: list[Phantom]) -> None:
    for film in films:
        ratio = film.mediastinal_ratio
        own = "present" if ratio > 0.27 else "uncertain" if ratio > 0.25 else "absent"
        order = ["absent", "uncertain", "present"]
        expected = max(own, film.labels["Cardiomegaly"], key=order.index)
        assert film.labels["Enlarged Cardiomediastinum"] == expected


def test_children_make_their_parents(films: list[Phantom]) -> None:
    order = ["absent", "uncertain", "present"]
    for film in films:
        for child, parent in PARENTS.items():
            assert order.index(film.labels[parent]) >= order.index(film.labels[child])


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ({}, {NO_FINDING: "present"}),
        ({"Support Devices": "present"}, {NO_FINDING: "present", "Support Devices": "present"}),
        ({"Fracture": "uncertain"}, {"Fracture": "uncertain"}),
        ({"Edema": "uncertain"}, {"Edema": "uncertain", "Lung Opacity": "uncertain"}),
        (
            {"Edema": "uncertain", "Lung Lesion": "present"},
            {"Edema": "uncertain", "Lung Lesion": "present", "Lung Opacity": "present"},
        ),
        (
            {"Pneumonia": "uncertain", "Consolidation": "present"},
            {"Pneumonia": "uncertain", "Consolidation": "present", "Lung Opacity": "present"},
        ),
        (
            {"Cardiomegaly": "present"},
            {"Cardiomegaly": "present", "Enlarged Cardiomediastinum": "present"},
        ),
    ],
)
def test_labels_that_follow(drawn: dict[str, State], expected: dict[str, State]) -> None:
    assert label_film(drawn) == {label: expected.get(label, "absent") for label in LABELS}


def test_pneumonia_comes_with_its_consolidation() -> None:
    film = make_phantom(3, 96, labels={"Pneumonia": "uncertain", "Consolidation": "absent"})
    assert (film.labels["Pneumonia"], film.labels["Consolidation"]) == ("uncertain", "present")
    assert [finding.label for finding in film.findings] == ["Consolidation", "Pneumonia"]


def test_every_label_is_frequent_enough_to_learn(films: list[Phantom]) -> None:
    for label in LABELS:
        share = np.mean([film.labels[label] == "present" for film in films])
        assert 0.08 <= share <= 0.55, label
    states = [f.state for film in films for f in film.findings]
    assert 0.05 < states.count("uncertain") / len(states) < 0.15


def test_prevalence_can_be_chosen() -> None:
    films = generate_many(range(20), 64, prevalence={"Fracture": 1.0}, num_workers=1)
    for film in films:
        others = {label for label, state in film.labels.items() if state != "absent"}
        assert others == {"Fracture"}


NUISANCES: dict[str, Callable[[Phantom], float]] = {
    "view": lambda film: film.view == "PA",
    "sex": lambda film: film.sex == "F",
    "age": lambda film: ("18-39", "40-64", "65+").index(film.age_band),
    "tube_kvp": lambda film: film.exposure.tube_kvp,
    "dose_ugy": lambda film: film.exposure.dose_ugy,
    "scatter_ratio": lambda film: film.exposure.scatter_ratio,
    "equalization": lambda film: film.exposure.equalization,
    "sharpness": lambda film: film.exposure.sharpness,
    "units_per_neper": lambda film: film.exposure.units_per_neper,
    "photometric": lambda film: film.exposure.photometric == "MONOCHROME1",
    "window_function": lambda film: film.exposure.window_function == "SIGMOID",
    "border": lambda film: film.exposure.border != "none",
    "marker": lambda film: film.exposure.marker_side == "left",
    "legend": lambda film: film.exposure.legend != "",
    "pixel_spacing_mm": lambda film: film.pixel_spacing_mm,
    "lean": lambda film: film.midline_px[1] - film.midline_px[0],
}


@pytest.mark.parametrize("name", NUISANCES)
def test_nothing_but_the_finding_predicts_the_label(films: list[Phantom], name: str) -> None:
    nuisance = np.array([NUISANCES[name](film) for film in films], dtype=np.float64)
    assert nuisance.std() > 0
    for label in LABELS:
        present = np.array([film.labels[label] == "present" for film in films], dtype=np.float64)
        # Chance alone has a standard deviation of 1 / sqrt(films): four of them.
        assert abs(np.corrcoef(nuisance, present)[0, 1]) < 4 / NUM_FILMS**0.5, label


def test_findings_do_not_predict_each_other(films: list[Phantom]) -> None:
    drawn = np.array(
        [[any(f.label == name for f in film.findings) for name in DRAWN_ON_TOP] for film in films],
        dtype=np.float64,
    )
    correlation = np.corrcoef(drawn.T)
    consolidation, pneumonia = map(DRAWN_ON_TOP.index, ("Consolidation", "Pneumonia"))
    correlation[consolidation, pneumonia] = correlation[pneumonia, consolidation] = 0.0
    np.fill_diagonal(correlation, 0.0)
    assert np.abs(correlation).max() < 4 / NUM_FILMS**0.5


def test_sides_and_zones_agree_with_the_boxes() -> None:
    """The patient's left is the right of the image."""
    for film in generate_many(range(60), 128, num_workers=1):
        for finding in film.findings:
            x0, y0, x1, y1 = finding.box
            assert 0 <= x0 < x1 <= 128 and 0 <= y0 < y1 <= 128
            if finding.side == "midline" or finding.label == "Support Devices":
                continue
            down = (y0 + y1) / 2 / 128
            midline = film.midline_px[0] + down * (film.midline_px[1] - film.midline_px[0])
            assert finding.side == ("left" if (x0 + x1) / 2 > midline else "right")
            _, top, _, bottom = film.lung_boxes[finding.side]
            if finding.zone != "diffuse":
                third = 3 * ((y0 + y1) / 2 - top) / (bottom - top)
                assert finding.zone == ("upper" if third < 1 else "mid" if third < 2 else "lower")


def test_lungs_are_side_by_side(films: list[Phantom]) -> None:
    for film in films[:100]:
        assert film.lung_boxes["right"][2] <= film.lung_boxes["left"][0]


def test_dicom_is_decoded_to_the_same_film(tmp_path: Path) -> None:
    seen = set()
    for film in generate_many(range(24), 96, num_workers=1):
        write_dicom(film, tmp_path / "film.dcm")
        decoded = decode_radiograph((tmp_path / "film.dcm").read_bytes())
        np.testing.assert_array_equal(decoded.pixels, film.pixels)
        np.testing.assert_array_equal(decoded.display_table, film.display_table)
        info = decoded.info
        assert (info.view, info.body_part, info.bits_stored) == (film.view, "CHEST", 12)
        assert info.pixel_spacing_mm == pytest.approx((film.pixel_spacing_mm,) * 2)
        assert (info.spacing_kind, info.flags) == ("detector", ())
        seen.add((film.exposure.photometric, film.exposure.window_function))
    assert len(seen) == 4, "both photometrics with both window functions"


def test_pydicom_shows_the_same_as_the_display_table() -> None:
    for film in generate_many(range(24), 96, num_workers=1):
        dataset = pydicom.dcmread(BytesIO(encode_dicom(film)))
        shown = apply_voi_lut(dataset.pixel_array, dataset) / 4095.0
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            shown = 1.0 - shown
        # The table is float32.
        np.testing.assert_allclose(film.display_table[film.pixels], shown, atol=1e-6)


def test_dicom_is_marked_as_synthetic_and_is_the_same_again() -> None:
    film = make_phantom(9, 96)
    assert encode_dicom(film) == encode_dicom(make_phantom(9, 96))
    dataset = pydicom.dcmread(BytesIO(encode_dicom(film)))
    assert dataset.SyntheticData == "YES"
    assert str(dataset.PatientName) == "PHANTOM^SYNTHETIC"
    assert dataset.PatientID == "PHANTOM-9"
    other = pydicom.dcmread(BytesIO(encode_dicom(make_phantom(9, 96, labels={}))))
    assert other.SOPInstanceUID != dataset.SOPInstanceUID


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed -1"),
        ({"seed": 0, "size_px": 10}, "size_px 10"),
        ({"seed": 0, "labels": {"Pneumonitis": "present"}}, "Pneumonitis"),
        ({"seed": 0, "labels": {NO_FINDING: "present"}}, NO_FINDING),
        ({"seed": 0, "labels": {"Edema": "maybe"}}, "maybe"),
        ({"seed": 0, "labels": {"Support Devices": "uncertain"}}, "never uncertain"),
        ({"seed": 0, "prevalence": {"Edema": 2.0}}, "prevalence of Edema"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        make_phantom(**arguments)  # type: ignore[arg-type]

"""One film: `make_phantom` puts patient, findings and detector together."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cxr_reason.data.phantoms import hardware, opacities, pleura
from cxr_reason.data.phantoms.anatomy import (
    SIGN,
    AgeBand,
    Anatomy,
    Sex,
    Side,
    View,
    make_anatomy,
    make_canvas,
)
from cxr_reason.data.phantoms.body import Outline, make_body
from cxr_reason.data.phantoms.canvas import Canvas, keep_memory, smooth_noise
from cxr_reason.data.phantoms.cases import (
    DEFAULT_PREVALENCE,
    State,
    choose_outline,
    complete_request,
    draw_states,
    label_film,
)
from cxr_reason.data.phantoms.detector import (
    BITS_STORED,
    Exposure,
    Plate,
    develop,
    expose,
    tube_voltage,
)
from cxr_reason.data.phantoms.materials import attenuation_at
from cxr_reason.data.phantoms.scene import Painted, Scene, choose_places
from cxr_reason.data.phantoms.skeleton import make_skeleton
from cxr_reason.data.phantoms.streams import Stream, open_stream
from cxr_reason.data.phantoms.truth import (
    Box,
    PhantomFinding,
    judge,
    lung_box,
    outline_findings,
)
from cxr_reason.data.phantoms.vessels import draw_hila, draw_tree, lung_tree
from cxr_reason.errors import BadRequestError
from cxr_reason.film.display_table import GrayscaleSteps, Window, build_display_table, is_inverted
from cxr_reason.findings import LABELS, labels_above

MIN_SIZE_PX = 64
MAX_SEED = 2**63 - 1

_PAINTERS: dict[str, Callable[[Scene], Painted]] = {
    "Atelectasis": opacities.atelectasis,
    "Consolidation": opacities.consolidation,
    "Edema": opacities.edema,
    "Fracture": hardware.fracture,
    "Lung Lesion": opacities.lesion,
    "Lung Opacity": opacities.haze,
    "Pleural Effusion": pleura.effusion,
    "Pleural Other": pleura.pleural_other,
    "Pneumonia": opacities.pneumonia,
    "Pneumothorax": pleura.pneumothorax,
}


@dataclass(frozen=True, eq=False)
class Phantom:
    """One synthetic frontal chest radiograph, of no real person.

    Attributes:
        seed: The seed that it was made from.
        pixels: Stored values, uint16 `[H, W]`, 12 bits.
        labels: State of each of the fourteen labels; see `cases`.
        findings: What is drawn, in the order of the labels.
        marks: Where the present findings are, uint16 `[H, W]`: bit k of a pixel is set where a
            finding that label k rests on shows; heart and mediastinum mark their boxes.
        view: "PA" or "AP".
        sex: "F" or "M".
        age_band: "18-39", "40-64" or "65+".
        cardiothoracic_ratio: Width of the heart over the largest inner width of the thorax.
        mediastinal_ratio: Width of the mediastinum at the aortic knob over the same.
        lung_boxes: Side to box, from the apex to the top of the diaphragm. Its thirds are zones.
        midline_px: Column of the midline at the upper and at the lower edge of the film.
        pixel_spacing_mm: At the detector.
        exposure: How it was taken.
    """

    seed: int
    pixels: NDArray[np.uint16]
    labels: dict[str, State]
    findings: tuple[PhantomFinding, ...]
    marks: NDArray[np.uint16]
    view: View
    sex: Sex
    age_band: AgeBand
    cardiothoracic_ratio: float
    mediastinal_ratio: float
    lung_boxes: dict[Side, Box]
    midline_px: tuple[float, float]
    pixel_spacing_mm: float
    exposure: Exposure

    @property
    def display_table(self) -> NDArray[np.float32]:
        """Stored value to display intensity, float32 `[4096]`: see `radiograph.Radiograph`."""
        exposure = self.exposure
        window = Window(exposure.window_center, exposure.window_width, exposure.window_function)
        steps = GrayscaleSteps(
            bits_stored=BITS_STORED,
            inverted=is_inverted(exposure.photometric, ""),
            window=window,
        )
        return build_display_table(self.pixels, steps)

    def findings_of(self, label: str) -> tuple[PhantomFinding, ...]:
        """Return the findings that a label rests on: its own and those below it."""
        return tuple(f for f in self.findings if label in labels_above(f.label))


def make_phantom(
    seed: int,
    size_px: int = 320,
    *,
    labels: Mapping[str, State] | None = None,
    prevalence: Mapping[str, float] = DEFAULT_PREVALENCE,
) -> Phantom:
    """Make the film of a seed.

    Patient, position, exposure, noise and the place of every finding depend on the seed alone: the
    same seed with other `labels` is the same patient with other findings. (A larger heart or
    mediastinum and the collapse of a lobe move what lies beside them.)

    Args:
        seed: 0 to 2**63 - 1.
        size_px: Rows and columns, at least 64. The patient stays the same; noise does not.
        labels: Findings to draw and their states, in place of a random draw: see
            `cases.complete_request`. Empty for a film without findings.
        prevalence: Probabilities of the random draw.

    Raises:
        BadRequestError: An argument outside its range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise BadRequestError(f"phantom: seed {seed}; give 0 to 2**63 - 1")
    if size_px < MIN_SIZE_PX:
        raise BadRequestError(f"phantom: size_px {size_px}; give at least {MIN_SIZE_PX}")
    keep_memory()
    asked = draw_states(seed, prevalence) if labels is None else labels
    drawn = complete_request(asked)
    anatomy = make_anatomy(seed)
    outline = choose_outline(seed, anatomy.view, drawn)
    scene, plate = _make_healthy(seed, size_px, anatomy, outline, drawn)
    findings = outline_findings(scene, outline, drawn)
    change = scene.canvas.zeros()
    marks = np.zeros((size_px, size_px), dtype=np.uint16)
    for outlined in findings:
        if outlined.state == "present":
            x0, y0, x1, y1 = outlined.box
            marks[y0:y1, x0:x1] |= _bits(outlined.label)
    for label, state in drawn.items():
        for painted in _paint(scene, label):
            found, added, shows = judge(scene, plate, label, state, painted)
            findings += found
            if state == "present":
                marks[shows] |= _bits(label)
            change += added
    findings.sort(key=lambda finding: LABELS.index(finding.label))
    return Phantom(
        seed=seed,
        pixels=develop(seed, scene.canvas, plate, change),
        labels=label_film(drawn),
        findings=tuple(findings),
        marks=marks,
        view=anatomy.view,
        sex=anatomy.sex,
        age_band=anatomy.age_band,
        cardiothoracic_ratio=outline.cardiothoracic,
        mediastinal_ratio=outline.mediastinal,
        lung_boxes={side: lung_box(scene, side) for side in SIGN},
        midline_px=_midline(scene.canvas),
        pixel_spacing_mm=10.0 * scene.canvas.cm_per_px,
        exposure=plate.exposure,
    )


def generate_many(
    seeds: Iterable[int],
    size_px: int = 320,
    *,
    prevalence: Mapping[str, float] = DEFAULT_PREVALENCE,
    num_workers: int | None = None,
) -> Iterator[Phantom]:
    """Make films in several processes; they come in the order of the seeds.

    Args:
        seeds: One film each; with several processes all are read at once.
        size_px: See `make_phantom`.
        prevalence: See `make_phantom`.
        num_workers: Processes; by default one for each processor. 1 stays in this process.
    """
    make = partial(make_phantom, size_px=size_px, prevalence=dict(prevalence))
    count = num_workers or os.cpu_count() or 1
    if count == 1:
        yield from map(make, seeds)
        return
    # A fork of a process that has threads (torch, OpenBLAS) may hang.
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(make, seeds, chunksize=8)


def _make_healthy(
    seed: int, size_px: int, anatomy: Anatomy, outline: Outline, drawn: Mapping[str, State]
) -> tuple[Scene, Plate]:
    canvas = make_canvas(seed, anatomy, size_px)
    places = choose_places(seed)
    lifts: dict[Side, float] = dict.fromkeys(SIGN, 0.0)
    if drawn.get("Atelectasis") == "present":
        lifts[places.atelectasis[0]] = opacities.atelectasis_lift(seed)
    body = make_body(canvas, anatomy, outline, lifts)
    per_cm = attenuation_at(tube_voltage(seed, anatomy.view))
    tree_cm = draw_tree(canvas, lung_tree(seed, anatomy), body.lung, full_at_cm=5.0)
    tree_shadow = per_cm.airless * tree_cm
    vessels = tree_shadow + per_cm.airless * draw_hila(canvas, anatomy)
    bone_cm = make_skeleton(canvas, anatomy) * (body.total > 0.0)
    soft_cm = np.maximum(body.total - body.lung - body.air, 0.0)
    grains = smooth_noise(open_stream(seed, Stream.TEXTURE), size_px, max(8, size_px // 3))
    attenuation = (
        per_cm.soft * soft_cm
        + per_cm.lung * body.lung * (1.0 + 0.03 * grains)
        + per_cm.fat * body.fat
        + (per_cm.bone - per_cm.soft) * bone_cm
        + vessels
    )
    plate = expose(seed, canvas, anatomy, attenuation, body.lung)
    return Scene(seed, canvas, anatomy, body, per_cm, vessels, tree_shadow, places), plate


def _paint(scene: Scene, label: str) -> list[Painted]:
    if label == "Support Devices":
        return hardware.support_devices(scene)
    # Heart and mediastinum are part of the healthy chest's outline.
    return [_PAINTERS[label](scene)] if label in _PAINTERS else []


def _midline(canvas: Canvas) -> tuple[float, float]:
    heights = np.array([canvas.top_cm, canvas.top_cm + canvas.size_px * canvas.cm_per_px])
    columns, _ = canvas.to_px(np.zeros(2), heights)
    return float(columns[0]), float(columns[1])


def _bits(label: str) -> np.uint16:
    return np.uint16(sum(1 << LABELS.index(name) for name in labels_above(label)))

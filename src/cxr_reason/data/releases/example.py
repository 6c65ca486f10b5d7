"""The one record that every source is read into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cxr_reason.prompts import FIND_ABNORMALITIES
from cxr_reason.statements import Polarity

Split = Literal["train", "validation", "test"]
Sex = Literal["F", "M"]
View = Literal["AP", "PA"]


@dataclass(frozen=True)
class Box:
    """A rectangle around a finding, whatever the size that the film is stored in.

    Attributes:
        label: One of `findings.LABELS`.
        left: Left edge, as a share of the film's width from the left of the image.
        top: Upper edge, as a share of the film's height.
        width: As a share of the film's width.
        height: As a share of the film's height.
    """

    label: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Example:
    """One film, or one report, with what its source says about it.

    Attributes:
        film: The image file; None where the source is text only.
        patient: Name of the patient, unique over all sources: the source comes first.
        source: Short name of the data set.
        origin: File, and row or image, that it was read from; for messages.
        prompt: What the user asks.
        trace: The output to learn, if it is already known.
        report: Findings and impression of the radiologist, if there are any.
        labels: What is known of the labels in `findings.LABELS`. A label that is not here is
            unknown, which is not absent.
        boxes: Rectangles around findings; empty says nothing about the findings.
        split: The part of the official split of the release, if it has one.
        view: Direction of the beam, if known.
        sex: As recorded, if known.
        age: In years, if known.
        image_ids: Names of the images that the report is about, where the images are not here.
    """

    film: Path | None
    patient: str
    source: str
    origin: str
    prompt: str = FIND_ABNORMALITIES
    trace: str | None = None
    report: str | None = None
    labels: Mapping[str, Polarity] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()
    split: Split | None = None
    view: View | None = None
    sex: Sex | None = None
    age: int | None = None
    image_ids: tuple[str, ...] = ()

"""Whether the model looks where the finding is: covered boxes, other regions, other films.

For pairs of a film and a label that is present and has boxes, the probability of the label on the
film as it is (original), with the label's boxes covered (own), with regions of the same sizes
covered that touch no finding (elsewhere), on an empty gray film (blank), and on another film of
the data on which the label is absent (swapped). A model that looks at the finding no longer
reports it on own, blank and swapped, but still does on elsewhere. After ShoViR (arXiv 2606.30201)
and "VLMs for chest radiography do not always need the image" (arXiv 2606.17710).

The regions come from the data's boxes: "own" removes a finding as far as its boxes cover it, and
whatever overlaps the boxes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cxr_reason.errors import InputError
from cxr_reason.evaluation.bootstrap import Estimate, Floats, draw_weights, estimate
from cxr_reason.evaluation.cases import Case
from cxr_reason.evaluation.occlusion import (
    Intensity,
    PixelBox,
    encode_png,
    find_elsewhere,
    make_blank,
    occlude,
    show,
    to_pixels,
)
from cxr_reason.evaluation.run import Run
from cxr_reason.evaluation.scores import FilmScores, score_film
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.findings import LABELS
from cxr_reason.reading.trace import Outcome

CONDITIONS = ("original", "own", "elsewhere", "blank", "swapped")


@dataclass(frozen=True)
class Pair:
    """One film and one of its labels.

    Attributes:
        label: Present, with boxes.
        index: Of the film among the cases.
        swapped: Of the film that takes its place.
    """

    label: str
    index: int
    swapped: int


@dataclass(frozen=True)
class LabelFaithfulness:
    """One label's means.

    Attributes:
        label: One of `findings.LABELS`.
        num_pairs: Films.
        probability: Mean by condition.
    """

    label: str
    num_pairs: int
    probability: dict[str, float]


@dataclass(frozen=True)
class Faithfulness:
    """Means over all pairs.

    Attributes:
        num_pairs: One for a film.
        num_failed: Pairs that are left out because a film of theirs could not be read.
        probability: By condition.
        drop_own: Mean of original minus own.
        drop_elsewhere: Mean of original minus elsewhere.
        difference: Mean of elsewhere minus own, paired: above 0, the finding's place matters.
        blank_refusal_rate: Share of the blank films that are refused, as they should be.
        by_label: Labels that have pairs.
    """

    num_pairs: int
    num_failed: int
    probability: dict[str, Estimate]
    drop_own: Estimate
    drop_elsewhere: Estimate
    difference: Estimate
    blank_refusal_rate: float
    by_label: tuple[LabelFaithfulness, ...]


def choose_pairs(
    cases: Sequence[Case], is_read: Sequence[bool], limit: int, *, seed: int
) -> list[Pair]:
    """Choose films at random and of each the label that has been chosen least so far.

    Left out are labels without room elsewhere on the film, and labels that are absent on none of
    the other films.

    Args:
        cases: All films.
        is_read: Which of them were read.
        limit: Most films.
        seed: Of the choice.
    """
    rng = random.Random(seed)
    order = [index for index, case in enumerate(cases) if is_read[index] and case.boxes]
    rng.shuffle(order)
    without = {
        label: [
            index
            for index, case in enumerate(cases)
            if is_read[index] and case.labels.get(label) == "absent"
        ]
        for label in LABELS
    }
    chosen: Counter[str] = Counter()
    pairs: list[Pair] = []
    for index in order:
        if len(pairs) == limit:
            break
        labels = [label for label in _labels_with_boxes(cases[index]) if without[label]]
        shape = _decode(cases[index]).shape if labels else (0, 0)
        for label in sorted(labels, key=lambda label: chosen[label]):
            if _elsewhere(cases[index], label, shape) is not None:
                chosen[label] += 1
                pairs.append(Pair(label, index, rng.choice(without[label])))
                break
    return pairs


def measure(
    cases: Sequence[Case],
    originals: Sequence[FilmScores | None],
    pairs: Sequence[Pair],
    run: Run,
    *,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Faithfulness | None:
    """Read the changed films of the pairs and compare.

    Args:
        cases: All films.
        originals: Their scores, which are those of the swapped films too.
        pairs: From `choose_pairs`.
        run: Reads the changed films as it read the others.
        seed: Of the bootstrap over pairs.
        progress: Called with the films that are read and all of them.

    Returns:
        None where no pair could be read.
    """
    outputs = run.read_all(load for pair in pairs for load in _changed(cases[pair.index], pair))
    num_films = 3 * len(pairs)
    changed: list[FilmScores | None] = []
    for film in outputs:
        changed.append(score_film(film.outputs) if film.outputs else None)
        progress(len(changed), num_films)
    rows, labels, refused = [], [], []
    for number, pair in enumerate(pairs):
        own, elsewhere, blank = changed[3 * number : 3 * number + 3]
        films = (originals[pair.index], own, elsewhere, blank, originals[pair.swapped])
        scores = [film for film in films if film is not None]
        if blank is None or len(scores) < len(CONDITIONS):
            continue
        column = LABELS.index(pair.label)
        rows.append([float(film.probability[column]) for film in scores])
        labels.append(pair.label)
        refused.append(blank.outcome is Outcome.REFUSED)
    return _summarize(np.array(rows), labels, refused, len(pairs), seed) if rows else None


def _summarize(
    values: Floats, labels: list[str], refused: list[bool], num_pairs: int, seed: int
) -> Faithfulness:
    weights = draw_weights(len(values), seed=seed)

    def mean(column: Floats) -> Estimate:
        return estimate(weights @ column / len(column))

    original, own, elsewhere, _, _ = values.T
    names = np.array(labels)
    return Faithfulness(
        num_pairs=len(values),
        num_failed=num_pairs - len(values),
        probability={name: mean(values[:, i]) for i, name in enumerate(CONDITIONS)},
        drop_own=mean(original - own),
        drop_elsewhere=mean(original - elsewhere),
        difference=mean(elsewhere - own),
        blank_refusal_rate=sum(refused) / len(refused),
        by_label=tuple(
            LabelFaithfulness(
                label,
                int((names == label).sum()),
                dict(zip(CONDITIONS, values[names == label].mean(axis=0).tolist(), strict=True)),
            )
            for label in LABELS
            if label in labels
        ),
    )


def _changed(case: Case, pair: Pair) -> Iterator[Callable[[], bytes]]:
    def own() -> bytes:
        film = _decode(case)
        return encode_png(occlude(film, _own_boxes(case, pair.label, film.shape)))

    def elsewhere() -> bytes:
        film = _decode(case)
        places = _elsewhere(case, pair.label, film.shape)
        if places is None:
            raise InputError("faithfulness: the film has no room elsewhere")
        return encode_png(occlude(film, places))

    def blank() -> bytes:
        return make_blank(*_decode(case).shape)

    yield from (own, elsewhere, blank)


def _labels_with_boxes(case: Case) -> list[str]:
    boxed = {box.label for box in case.boxes}
    return [label for label in LABELS if label in boxed and case.labels.get(label) == "present"]


def _own_boxes(case: Case, label: str, shape: tuple[int, ...]) -> list[PixelBox]:
    return [to_pixels(box, shape[0], shape[1]) for box in case.boxes if box.label == label]


def _elsewhere(case: Case, label: str, shape: tuple[int, ...]) -> list[PixelBox] | None:
    height, width = shape[0], shape[1]
    own = _own_boxes(case, label, shape)
    return find_elsewhere(own, [to_pixels(b, height, width) for b in case.boxes], height, width)


def _decode(case: Case) -> Intensity:
    return show(decode_radiograph(case.load()))

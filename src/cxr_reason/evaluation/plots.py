"""The plots of the report, each as the text of an SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve  # type: ignore[import-untyped, unused-ignore]

from cxr_reason.evaluation.bootstrap import Estimate, Floats
from cxr_reason.evaluation.evaluate import Evaluation
from cxr_reason.evaluation.faithfulness import CONDITIONS, Faithfulness
from cxr_reason.evaluation.metrics import reliability
from cxr_reason.findings import LABELS

_BLUE, _ORANGE, _GRAY = "#2563a6", "#c2571a", "#8a94a0"
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GRAY,
    "axes.titlesize": 9,
    "svg.hashsalt": "cxr-reason",  # equal data, equal file
}
_COLUMNS = 5  # of small multiples


def plot_f1(evaluation: Evaluation) -> str:
    """F1 by label with its interval; labels without a positive film are left out."""
    labels = [result for result in evaluation.labels if result.f1.value is not None]
    names = [f"{result.label} ({result.num_present})" for result in labels]
    return _dots(names, [result.f1 for result in labels], "F1", evaluation.macro_f1.value)


def plot_groups(evaluation: Evaluation) -> str:
    """Macro F1 by subgroup with its interval."""
    groups = evaluation.groups
    names = [f"{group.attribute} {group.value} ({group.num_films})" for group in groups]
    overall = evaluation.macro_f1.value
    return _dots(names, [group.macro_f1 for group in groups], "macro F1", overall)


def plot_roc(evaluation: Evaluation) -> str:
    """One small ROC curve for each label with both classes."""
    results = [result for result in evaluation.labels if result.auroc.value is not None]
    rows = max(1, -(-len(results) // _COLUMNS))
    with rc_context(_STYLE):
        figure = Figure(figsize=(9.0, 1.95 * rows), layout="constrained")
        grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True)
        axes = grid.ravel().tolist()
        for result, axis in zip(results, axes, strict=False):
            _draw_roc(axis, evaluation, LABELS.index(result.label))
            axis.set_title(f"{result.label}\n{result.auroc.value:.2f}", fontsize=8)
        for axis in axes[len(results) :]:
            axis.set_visible(False)
        figure.supxlabel("false positive rate", fontsize=9)
        figure.supylabel("true positive rate", fontsize=9)
        return _to_svg(figure)


def plot_reliability(evaluation: Evaluation) -> str:
    """Share present against probability, and how many probabilities fall in each bin."""
    diagram = reliability(evaluation.sample)
    filled = diagram.count > 0
    probability, share = diagram.probability[filled], diagram.share[filled]
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 4.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=_GRAY, linewidth=0.8, linestyle="--")
        upper.plot(probability, share, "o-", color=_BLUE, linewidth=1, markersize=5)
        upper.set(ylabel="share present", ylim=(-0.03, 1.03), xlim=(-0.04, 1.04))
        lower.bar(probability, diagram.count[filled], width=0.05, color=_BLUE)
        lower.set(xlabel="probability", ylabel="labels", yscale="log", ylim=(0.5, None))
        return _to_svg(figure)


def plot_faithfulness(part: Faithfulness) -> str:
    """Mean probability of the finding by condition, with its interval."""
    values = [part.probability[name] for name in CONDITIONS]
    heights = [value.value or 0.0 for value in values]
    names = ("as it is", "its boxes\ncovered", "another region\ncovered", "blank", "another\nfilm")
    colors = (_BLUE, _ORANGE, _BLUE, _ORANGE, _ORANGE)
    with rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axis = figure.subplots()
        axis.bar(names, heights, width=0.6, color=colors)
        axis.errorbar(
            names, heights, yerr=_spread(values), fmt="none", ecolor="black", linewidth=1, capsize=3
        )
        axis.set(ylabel="probability of the finding", ylim=(0, 1.02))
        return _to_svg(figure)


def _draw_roc(axis: Axes, evaluation: Evaluation, label: int) -> None:
    sample = evaluation.sample
    known = sample.is_known[:, label]
    false_rate, true_rate, _ = roc_curve(
        sample.is_present[known, label], sample.probability[known, label]
    )
    axis.plot([0, 1], [0, 1], color=_GRAY, linewidth=0.6, linestyle="--")
    axis.plot(false_rate, true_rate, color=_BLUE, linewidth=1.4)
    axis.set(aspect="equal", xticks=(0, 1), yticks=(0, 1), xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))


def _dots(names: Sequence[str], values: Sequence[Estimate], title: str, mean: float | None) -> str:
    rows = np.arange(len(names))
    with rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 0.9 + 0.27 * max(len(names), 1)), layout="constrained")
        axis = figure.subplots()
        if mean is not None:
            axis.axvline(mean, color=_GRAY, linewidth=0.8, linestyle="--")
        middles = [np.nan if value.value is None else value.value for value in values]
        axis.errorbar(
            middles, rows, xerr=_spread(values), fmt="o", color=_BLUE, markersize=5, linewidth=1.4
        )
        axis.set(xlabel=title, xlim=(-0.02, 1.02), ylim=(len(names) - 0.4, -0.6))
        axis.set_yticks(rows, names)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x", color="#e3e6ea", linewidth=0.7)
        axis.set_axisbelow(True)
        return _to_svg(figure)


def _spread(values: Sequence[Estimate]) -> Floats:
    """Return distances down and up, `[2, n]`; 0 where there is no interval."""
    spread = np.zeros((2, len(values)))
    for index, item in enumerate(values):
        if item.value is not None and item.low is not None and item.high is not None:
            # A percentile interval need not hold the value.
            spread[:, index] = max(0.0, item.value - item.low), max(0.0, item.high - item.value)
    return spread


def _to_svg(figure: Figure) -> str:
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()

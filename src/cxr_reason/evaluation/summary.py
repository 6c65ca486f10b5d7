"""An evaluation as one line of JSON and as tables on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from cxr_reason.evaluation.bootstrap import Estimate
from cxr_reason.evaluation.evaluate import Evaluation
from cxr_reason.evaluation.faithfulness import CONDITIONS
from cxr_reason.evaluation.result_line import make_report
from cxr_reason.reading.reading import DISCLAIMER

PACKAGES = ("cxr-reason", "numpy", "onnxruntime", "torch", "transformers", "pydicom", "pillow")
# Values of Outcome, in the order of the table.
OUTCOMES = ("complete", "refused", "truncated", "malformed", "free_text")
UNDEFINED = "–"  # noqa: RUF001


def to_json(evaluation: Evaluation, origin: Mapping[str, Any]) -> str:
    """Return one line: the report of a benchmark, with `macro_f1` and where it comes from.

    Args:
        evaluation: What was measured.
        origin: Data, settings, and what read the films.
    """
    report = json.loads(make_report("evaluate", PACKAGES, list(_rows(evaluation))))
    results = report.pop("results")
    macro = evaluation.macro_f1
    return json.dumps(
        {
            **report,
            "disclaimer": DISCLAIMER,
            **origin,
            "num_films": evaluation.num_films,
            "errors": dict(evaluation.errors),
            "macro_f1": {"value": macro.value, "low": macro.low, "high": macro.high},
            "results": results,
        },
        ensure_ascii=False,
    )


def _rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    films = evaluation.num_films
    yield _row("all", "macro F1", evaluation.macro_f1, films)
    yield _row("all", "macro AUROC", evaluation.macro_auroc, films)
    yield _row("all", "calibration error", evaluation.calibration_error, films)
    plain = {
        **{f"{outcome} rate": evaluation.outcomes[outcome] for outcome in OUTCOMES},
        "answers without contradiction": evaluation.agreement,
        "consistency reward": evaluation.consistency,
        "tokens per trace": evaluation.tokens_per_trace,
        "films per second": evaluation.films_per_s,
        "tokens per second": evaluation.tokens_per_s,
    }
    for metric, value in plain.items():
        yield _row("all", metric, Estimate(value, None, None), films)
    for label in evaluation.labels:
        for metric in ("F1", "precision", "recall", "AUROC"):
            row = _row(label.label, metric, getattr(label, metric.lower()), label.num_known)
            yield {**row, "present": label.num_present}
    for group in evaluation.groups:
        yield _row(f"{group.attribute} {group.value}", "macro F1", group.macro_f1, group.num_films)
    if (part := evaluation.faithfulness) is not None:
        for name, probability in part.probability.items():
            yield _row(name, "probability", probability, part.num_pairs)
        yield _row("own", "drop of probability", part.drop_own, part.num_pairs)
        yield _row("elsewhere", "drop of probability", part.drop_elsewhere, part.num_pairs)
        yield _row("own beyond elsewhere", "drop of probability", part.difference, part.num_pairs)
        refusals = Estimate(part.blank_refusal_rate, None, None)
        yield _row("blank", "refused rate", refusals, part.num_pairs)
        for by_label in part.by_label:
            for name in CONDITIONS:
                mean = Estimate(by_label.probability[name], None, None)
                case = f"{name}, {by_label.label}"
                yield _row(case, "probability", mean, by_label.num_pairs)


def _row(case: str, metric: str, value: Estimate, films: int) -> dict[str, Any]:
    return {
        "case": case,
        "metric": metric,
        "value": value.value,
        "low": value.low,
        "high": value.high,
        "films": films,
    }


def format_estimate(value: Estimate, digits: int = 3) -> str:
    """Return `0.512 (0.480 to 0.541)`, or a dash where it is undefined."""
    if value.value is None:
        return UNDEFINED
    text = f"{value.value:.{digits}f}"
    if value.low is None or value.high is None:
        return text
    return f"{text} ({value.low:.{digits}f} to {value.high:.{digits}f})"


def list_totals(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return name and value of what is measured over all films, for people."""
    failed = sum(evaluation.errors.values())
    codes = ", ".join(f"{count} {code}" for code, count in sorted(evaluation.errors.items()))
    totals = [
        ("films read", f"{evaluation.num_films}" + (f"; failed: {codes}" if failed else "")),
        ("macro F1", format_estimate(evaluation.macro_f1)),
        ("macro AUROC", format_estimate(evaluation.macro_auroc)),
        ("calibration error", format_estimate(evaluation.calibration_error)),
        *((f"{o.replace('_', ' ')}", f"{evaluation.outcomes[o]:.1%}") for o in OUTCOMES),
        (
            "answers without contradiction",
            UNDEFINED if evaluation.agreement is None else f"{evaluation.agreement:.1%}",
        ),
        ("consistency reward, mean", f"{evaluation.consistency:.3f}"),
        ("tokens per trace, mean", f"{evaluation.tokens_per_trace:.0f}"),
    ]
    if evaluation.films_per_s is not None:
        speed = f"{evaluation.films_per_s:.2f} films, {evaluation.tokens_per_s:.0f} tokens"
        totals.append(("speed, per second", speed))
    return totals


def list_faithfulness(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return name and value of faithfulness over all pairs, for people."""
    part = evaluation.faithfulness
    if part is None:
        return []
    names = {
        "original": "film as it is",
        "own": "its boxes covered",
        "elsewhere": "another region covered",
        "blank": "blank film",
        "swapped": "another film",
    }
    return [
        *((names[name], format_estimate(part.probability[name])) for name in CONDITIONS),
        ("drop, its boxes", format_estimate(part.drop_own)),
        ("drop, another region", format_estimate(part.drop_elsewhere)),
        ("difference of the drops", format_estimate(part.difference)),
        ("blank films refused", f"{part.blank_refusal_rate:.1%}"),
    ]


def print_summary(console: Console, evaluation: Evaluation, title: str) -> None:
    """Print the tables."""
    totals = Table(title=title, title_justify="left", show_header=False)
    for name, value in list_totals(evaluation):
        totals.add_row(name, value)
    console.print(totals)
    labels = Table("label", title="by label, 95 % bootstrap intervals", title_justify="left")
    for name in ("known", "present", "answered", "F1", "AUROC"):
        labels.add_column(name, justify="right")
    for label in evaluation.labels:
        counts = (label.num_known, label.num_present, label.num_answered)
        estimates = (format_estimate(label.f1, 2), format_estimate(label.auroc, 2))
        labels.add_row(label.label, *map(str, counts), *estimates)
    console.print(labels)
    if evaluation.groups:
        groups = Table("group", title="macro F1 by subgroup", title_justify="left")
        groups.add_column("films", justify="right")
        groups.add_column("macro F1", justify="right")
        for group in evaluation.groups:
            name = f"{group.attribute} {group.value}"
            groups.add_row(name, str(group.num_films), format_estimate(group.macro_f1))
        console.print(groups)
    if (part := evaluation.faithfulness) is not None:
        pairs = Table(
            title=f"faithfulness: probability of a present finding, {part.num_pairs} films",
            title_justify="left",
            show_header=False,
        )
        for name, value in list_faithfulness(evaluation):
            pairs.add_row(name, value)
        console.print(pairs)
    console.print(DISCLAIMER, style="dim")

"""Loads and single requests → rows of the report of `cxr-reason bench serving`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from cxr_reason.benchmarks.comparison import Value, make_row
from cxr_reason.benchmarks.serving_load import Load
from cxr_reason.benchmarks.serving_readers import Answer

ENGINE = "engine in this process"
TRITON = "Triton, through the client"


def rows_of_cost(
    case: str,
    name: str,
    answers: Sequence[Answer],
    without: Sequence[Answer],
    *,
    baseline: str = ENGINE,
) -> list[dict[str, Any]]:
    """Return what Triton or the gateway adds, at the median, to the same request without it.

    Args:
        case: What was asked.
        name: Name of what is added.
        answers: Answers with it.
        without: Answers without it.
        baseline: Name of what gave the latter.
    """
    rows = []
    for metric, field in (
        ("time to first token", "time_to_first_token_s"),
        ("end to end", "end_to_end_s"),
    ):
        medians = [
            statistics.median([getattr(answer, field) * 1e3 for answer in group])
            for group in (answers, without)
        ]
        values = [Value(median, "ms", len(answers)) for median in medians]
        rows.append(make_row(case, f"{metric}, {name}", values[0], baseline, values[1]))
        added = Value(medians[0] - medians[1], "ms", len(answers))
        rows.append(make_row(case, f"{metric}, added by {name}", added, "", None))
    return rows


def rows_of_load(case: str, load: Load) -> list[dict[str, Any]]:
    """Return times, throughput, errors and wrong texts of many requests."""
    runs = len(load.answers)
    values = {
        "time to first token": Value(load.time_to_first_token_s, "s", runs),
        "end to end": Value(load.end_to_end_s, "s", runs),
        "throughput": Value(load.tokens_per_s, "tokens/s", runs),
        "errors": Value(sum(load.errors.values()), "requests", runs),
        "wrong texts": Value(load.wrong, "requests", runs),
    }
    rows = [make_row(case, metric, value, "", None) for metric, value in values.items()]
    if load.errors:
        rows[-2]["error"] = ", ".join(f"{code}: {n}" for code, n in sorted(load.errors.items()))
    return rows


def print_rows(console: Console, title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print the report as a table."""
    table = Table(title=title, title_justify="left")
    for name in ("", "metric", "unit"):
        table.add_column(name)
    for name in ("value", "without it"):
        table.add_column(name, justify="right")
    previous = None
    for row in rows:
        case = row["case"] if row["case"] != previous else ""
        previous = row["case"]
        cells = [
            "" if row[key] is None else f"{row[key]:.4g}" for key in ("ours", "baseline_value")
        ]
        table.add_row(case, row["metric"], row["unit"], *cells)
    console.print(table)
    for row in rows:
        if "error" in row:
            console.print(f"{row['case']}: {row['error']}", highlight=False, markup=False)

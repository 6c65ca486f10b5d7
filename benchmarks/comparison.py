"""Measurements of several contenders → the table and the rows of a report."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Value:
    """A median.

    Attributes:
        value: In `unit`.
        unit: "s", "ms", "GiB", "tokens/s" or "GB/s".
        runs: Number of runs that it is the median of.
    """

    value: float
    unit: str
    runs: int

    @property
    def more_is_better(self) -> bool:
        """Whether it is a rate."""
        return self.unit.endswith("/s")


@dataclass(frozen=True)
class Measured:
    """What was measured of one contender.

    Attributes:
        name: The contender.
        is_ours: It is this package.
        values: By metric.
        prompt_tokens: As it counts them; 0 if it never got that far.
        error: Why it did not run, or not to the end; empty if it did.
    """

    name: str
    is_ours: bool
    values: dict[str, Value] = field(default_factory=dict)
    prompt_tokens: int = 0
    error: str = ""


def median(values: Iterable[float | None], unit: str) -> Value | None:
    """Return the median of what was measured, None of nothing."""
    known = [value for value in values if value is not None]
    return Value(statistics.median(known), unit, len(known)) if known else None


def find_ratio(ours: Value, baseline: Value) -> float:
    """Return how far we are ahead: above 1, whether less is better or more."""
    if ours.more_is_better:
        return ours.value / baseline.value
    return baseline.value / ours.value


def make_rows(case: str, measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Compare each of ours with each peer; without a peer, a value has no baseline.

    A contender that failed gets a row with its error.
    """
    rows = []
    peers = [one for one in measured if not one.is_ours]
    for ours in (one for one in measured if one.is_ours):
        for metric, value in ours.values.items():
            rivals = [peer for peer in peers if metric in peer.values]
            pairs: list[tuple[str, Value | None]]
            pairs = [(peer.name, peer.values[metric]) for peer in rivals]
            rows += [
                make_row(f"{ours.name}: {case}", metric, value, name, baseline)
                for name, baseline in pairs or [("", None)]
            ]
    return rows + [
        {
            **make_row(case, "run", None, one.name, None),
            "error": one.error,
        }
        for one in measured
        if one.error
    ]


def make_row(
    case: str, metric: str, ours: Value | None, baseline: str, other: Value | None
) -> dict[str, Any]:
    """Return one row of a report."""
    return {
        "case": case,
        "metric": metric,
        "unit": ours.unit if ours else "",
        "ours": round(ours.value, 4) if ours else None,
        "baseline": baseline,
        "baseline_value": round(other.value, 4) if other else None,
        "ratio": round(find_ratio(ours, other), 3) if ours and other else None,
        "runs": ours.runs if ours else 0,
    }


def print_table(console: Console, title: str, measured: Sequence[Measured]) -> None:
    """Print a row for each metric and a column for each contender, then what failed."""
    shown = [one for one in measured if one.values]
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for one in shown:
        table.add_column(one.name, justify="right")
    metrics = dict.fromkeys(metric for one in shown for metric in one.values)
    for metric in metrics:
        values = [one.values.get(metric) for one in shown]
        unit = next(value.unit for value in values if value)
        cells = [f"{value.value:.4g}" if value else "" for value in values]
        table.add_row(f"{metric}, {unit}", *cells)
    console.print(table)
    for one in measured:
        if one.error:
            console.print(f"[red]{one.name}: failed[/red]")
            console.print(one.error, highlight=False, markup=False)
    counts = {one.prompt_tokens for one in measured if one.prompt_tokens}
    if len(counts) > 1:
        listed = ", ".join(f"{one.name} {one.prompt_tokens}" for one in shown)
        console.print(f"[yellow]note: prompt tokens differ: {listed}[/yellow]")

"""The statement labeller compared with people: Open-I's gold labels and the NegEx sentences.

    python -m cxr_reason.benchmarks.labeller DATA_DIR

`openi_reports/` holds 3,851 chest reports (Open-I, Indiana University) and their gold labels with
a published test split (NegBio, Peng et al. 2018). The gold labels come from the manual indexing of
findings and impression, so only these two sections are read; a label counts where it is present,
not where it is uncertain. The column Hernia of the gold file is empty although reports name
hernias; it counts against precision all the same. `normal` is no finding, so there is a total with
and one without it; here it means that nothing abnormal is stated, devices included.

`text/negex/` holds 2,376 clinical sentences, each with a condition that it negates or affirms
(Chapman et al. 2001); the key has no third answer, so a doubted condition counts as affirmed.

Baseline: every label that is mentioned is present; every condition is affirmed. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_reason.evaluation.result_line import describe_machine, make_report
from cxr_reason.findings import NO_FINDING
from cxr_reason.statements import (
    NIH_LABELS,
    Statement,
    assess,
    collect_labels,
    find_statements,
)

NORMAL = "normal"
TOTAL = "all 14 findings"
TOTAL_WITH_NORMAL = "findings and normal"


@dataclass(frozen=True)
class Report:
    """A report with its gold labels, what it states, and whether it is in the test split."""

    gold: frozenset[str]
    statements: tuple[Statement, ...]
    is_test: bool


def read_reports(folder: Path) -> list[Report]:
    """Read and label the reports that have gold labels."""
    with (folder / "indiana_reports.csv").open(encoding="utf-8", newline="") as file:
        texts = {f"CXR{row['uid']}": row for row in csv.DictReader(file)}
    test = set((folder / "negbio_openi-testset.txt").read_text(encoding="utf-8").split())
    reports = []
    with (folder / "negbio_openi_gld_std14.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name = row.pop("filename")
            text = f"FINDINGS: {texts[name]['findings']}\n\nIMPRESSION: {texts[name]['impression']}"
            gold = frozenset(label for label, value in row.items() if value == "1")
            reports.append(Report(gold, find_statements(text), name in test))
    return reports


def predict(statements: Sequence[Statement]) -> set[str]:
    """Return the labels that are present, and `normal`."""
    labels = collect_labels(statements, "nih")
    found = {label for label in NIH_LABELS if labels.get(label) == "present"}
    others = (one for one in statements if one.finding != NO_FINDING)
    return found if any(one.polarity != "absent" for one in others) else found | {NORMAL}


def predict_baseline(statements: Sequence[Statement]) -> set[str]:
    """Return every label that is mentioned."""
    found = {*collect_labels(statements, "nih")} - {NO_FINDING}
    return found or {NORMAL}


def score(pairs: Iterable[tuple[frozenset[str], set[str]]]) -> dict[str, Counter[str]]:
    """Count true positives, false positives and false negatives for each label, and in total."""
    totals = (TOTAL, TOTAL_WITH_NORMAL)
    counts = {label: Counter[str]() for label in (*NIH_LABELS, NORMAL, *totals)}
    for gold, found in pairs:
        for label in (*NIH_LABELS, NORMAL):
            kind = {(True, True): "tp", (False, True): "fp", (True, False): "fn"}.get(
                (label in gold, label in found), "tn"
            )
            for name in (label, *(totals if label != NORMAL else totals[1:])):
                counts[name][kind] += 1
    return counts


def rates(count: Mapping[str, int]) -> dict[str, float]:
    """Return precision, recall and F1; 0 where one has no denominator."""
    tp, fp, fn = count["tp"], count["fp"], count["fn"]
    return {
        "precision": tp / (tp + fp or 1),
        "recall": tp / (tp + fn or 1),
        "F1": 2 * tp / (2 * tp + fp + fn or 1),
    }


def make_row(case: str, metric: str, ours: float, baseline: float, runs: int) -> dict[str, Any]:
    """Return one row of the report."""
    return {
        "case": case,
        "metric": metric,
        "unit": "1",
        "ours": round(ours, 4),
        "baseline": "every mention counts",
        "baseline_value": round(baseline, 4),
        "ratio": round(ours / baseline, 3) if baseline else None,
        "runs": runs,
    }


def run_openi(reports: Sequence[Report], split: str) -> list[dict[str, Any]]:
    """Score one split, print its table and return its rows."""
    ours = score((report.gold, predict(report.statements)) for report in reports)
    base = score((report.gold, predict_baseline(report.statements)) for report in reports)
    print(f"\nOpen-I, {split}: {len(reports)} reports")
    print(f"{'label':20} {'precision':>9} {'recall':>9} {'F1':>9} {'tp':>6} {'fp':>5} {'fn':>5}")
    rows = []
    for label, count in ours.items():
        values = rates(count)
        print(
            f"{label:20} "
            + " ".join(f"{value:9.3f}" for value in values.values())
            + f" {count['tp']:6} {count['fp']:5} {count['fn']:5}"
        )
        for metric, value in values.items():
            case = f"Open-I {split}, {label}"
            row = make_row(case, metric, value, rates(base[label])[metric], len(reports))
            rows.append(row | {key: count[key] for key in ("tp", "fp", "fn")})
    return rows


def run_negex(path: Path) -> list[dict[str, Any]]:
    """Score the NegEx sentences, print the accuracy and return its row."""
    with path.open(encoding="utf-8") as file:
        next(file)
        lines = [line.rstrip("\r\n").split("\t") for line in file]
    gold = [line[3] == "Negated" for line in lines]
    found = [assess(line[2], line[1]) == "negated" for line in lines]
    accuracy = sum(a == b for a, b in zip(gold, found, strict=True)) / len(gold)
    baseline = gold.count(False) / len(gold)
    print(f"\nNegEx: {len(gold)} sentences, accuracy {accuracy:.4f}; all affirmed {baseline:.4f}")
    return [make_row("NegEx, negated or affirmed", "accuracy", accuracy, baseline, len(gold))]


def main() -> None:
    """Score both data sets, print tables and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with openi_reports/ and text/negex/")
    arguments = parser.parse_args()
    print(f"machine: {describe_machine()}")
    start_s = time.perf_counter()
    reports = read_reports(arguments.data / "openi_reports")
    seconds = time.perf_counter() - start_s
    print(f"{seconds / len(reports) * 1e3:.2f} ms a report")
    rows = []
    rows += run_openi(reports, "all")
    rows += run_openi([report for report in reports if report.is_test], "test split")
    rows += run_openi([report for report in reports if not report.is_test], "rest")
    rows += run_negex(arguments.data / "text" / "negex" / "rsAnnotations-1-120-random.txt")
    print(make_report("labeller", ("cxr-reason",), rows))


if __name__ == "__main__":
    main()
